internal import Glibc

/// A NULL-terminated array of C strings that stays at its place as long as this object lives.
final class CStrings: @unchecked Sendable {  // written in init alone
    private let storage: UnsafeMutablePointer<UnsafePointer<CChar>?>
    private let count: Int

    init(_ strings: [String]) {
        count = strings.count
        storage = .allocate(capacity: count + 1)
        for (i, string) in strings.enumerated() { storage[i] = UnsafePointer(strdup(string)) }
        storage[count] = nil
    }

    deinit {
        for i in 0..<count { free(UnsafeMutablePointer(mutating: storage[i])) }
        storage.deallocate()
    }

    var pointer: UnsafePointer<UnsafePointer<CChar>?> { UnsafePointer(storage) }
    subscript(i: Int) -> UnsafePointer<CChar>? { storage[i] }
}
