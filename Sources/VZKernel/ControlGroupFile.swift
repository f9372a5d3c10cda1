internal import Glibc

/// What a file of a group says, read where the kernel put it: no strings are made, so that a look at a setting costs little more
/// than its three system calls.
struct ControlGroupText {
    private let bytes: UnsafeRawBufferPointer
    private var position = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    /// Stands for "no limit" among the numbers of a group.
    static let unlimited = Int64.max

    /// The next number in decimal form, after blanks; `nil` when something else is there. What is too large for the type becomes
    /// its largest.
    mutating func number() -> Int64? {
        skipBlanks()
        var at = position
        let negative = at < bytes.count && bytes[at] == UInt8(ascii: "-")
        if negative { at += 1 }
        let start = at
        var value: Int64 = 0
        while at < bytes.count, (48...57).contains(bytes[at]) {
            let (product, tooLarge) = value.multipliedReportingOverflow(by: 10)
            let (sum, tooLarge2) = product.addingReportingOverflow(Int64(bytes[at] - 48))
            value = tooLarge || tooLarge2 ? .max : sum
            at += 1
        }
        if at == start { return nil }
        position = at
        return negative ? -value : value
    }

    /// The next number, or `unlimited` for the word `max`.
    mutating func limit() -> Int64? {
        word("max") ? Self.unlimited : number()
    }

    /// Passes over this word when it is the next one.
    mutating func word(_ word: StaticString) -> Bool {
        skipBlanks()
        let end = position + word.utf8CodeUnitCount
        guard end <= bytes.count, end == bytes.count || isBlank(end) || bytes[end] == UInt8(ascii: "\n"),
            (0..<word.utf8CodeUnitCount).allSatisfy({ bytes[position + $0] == word.utf8Start[$0] })
        else { return false }
        position = end
        return true
    }

    /// The number behind `key` at the start of a line.
    mutating func value(of key: StaticString) -> Int64? {
        while position < bytes.count {
            if word(key) { return number() }
            while position < bytes.count, bytes[position] != UInt8(ascii: "\n") { position += 1 }
            position += 1
        }
        return nil
    }

    /// All that is left.
    func rest() -> String { String(decoding: UnsafeRawBufferPointer(rebasing: bytes[position...]), as: UTF8.self) }

    private mutating func skipBlanks() {
        while position < bytes.count, isBlank(position) { position += 1 }
    }

    private func isBlank(_ at: Int) -> Bool { bytes[at] == UInt8(ascii: " ") || bytes[at] == UInt8(ascii: "\t") }
}

extension ControlGroup {
    /// Reads one of the group's files, its first 512 bytes, and takes a value out of it.
    /// - Throws: `ENOENT` when the group is not there (or went while it was read), `EOPNOTSUPP` when the kernel has no such file.
    func read<Value>(
        _ file: String, in hierarchy: ControlGroupTree.Hierarchy, _ take: (inout ControlGroupText) -> Value?
    ) throws(KernelError) -> Value {
        let value: Value?
        if let memory = tree.memory {
            let bytes = try memory.bytes(of: file, path, in: hierarchy) { () throws(KernelError) in
                try start(of: file, in: hierarchy) { Array($0) }
            }
            value = bytes.withUnsafeBytes { bytes in
                var text = ControlGroupText(bytes)
                return take(&text)
            }
        } else {
            value = try start(of: file, in: hierarchy) { bytes in
                var text = ControlGroupText(bytes)
                return take(&text)
            }
        }
        if let value { return value }
        throw KernelError("read \"\(file)\" of cgroup /\(path)", detail: "the kernel's answer was not understood")
    }

    private func start<Value>(
        of file: String, in hierarchy: ControlGroupTree.Hierarchy, _ take: (UnsafeRawBufferPointer) -> Value
    ) throws(KernelError) -> Value {
        let fd = openat(hierarchy.directory.raw, "\(path)/\(file)", O_RDONLY | O_CLOEXEC)
        if fd < 0 { throw failure("read", file, hierarchy, errno) }
        defer { close(fd) }
        var number: Int32 = 0
        let value = withUnsafeTemporaryAllocation(byteCount: 512, alignment: 8) { buffer -> Value? in
            var count: Int
            repeat { count = Glibc.read(fd, buffer.baseAddress, buffer.count) } while count < 0 && errno == EINTR
            if count < 0 {
                number = errno
                return nil
            }
            return take(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        }
        guard let value else { throw failure("read", file, hierarchy, number) }
        return value
    }

    /// Writes `text` to one of the group's files, in one system call.
    /// - Throws: as `read` does, else with the kernel's errno and `expected` in the message.
    func write(
        _ text: String, to file: String, in hierarchy: ControlGroupTree.Hierarchy, expected: String = ""
    ) throws(KernelError) {
        let fd = openat(hierarchy.directory.raw, "\(path)/\(file)", O_WRONLY | O_CLOEXEC)
        if fd < 0 { throw failure("write", file, hierarchy, errno) }
        defer { close(fd) }
        defer { tree.memory?.forget(path, in: hierarchy) }
        var text = text
        var count: Int
        repeat { count = text.withUTF8 { Glibc.write(fd, $0.baseAddress, $0.count) } } while count < 0 && errno == EINTR
        if count < 0 { throw failure("write \"\(text)\" to", file, hierarchy, errno, expected) }
    }

    /// Whether the group has this file.
    /// - Throws: `ENOENT` when the group is not there.
    func has(_ file: String, in hierarchy: ControlGroupTree.Hierarchy) throws(KernelError) -> Bool {
        do throws(KernelError) {
            _ = try read(file, in: hierarchy) { $0.limit() }
            return true
        } catch  where error.errno == EOPNOTSUPP {
            return false
        }
    }

    /// Tells a group that is not there from a file that this kernel does not have.
    private func failure(
        _ verb: String, _ file: String, _ hierarchy: ControlGroupTree.Hierarchy, _ number: Int32, _ expected: String = ""
    ) -> KernelError {
        let action = "\(verb) \"\(file)\" of cgroup /\(path)"
        guard number == ENOENT || number == ENODEV else { return KernelError(action, errno: number, detail: expected) }
        if number == ENOENT {
            if faccessat(hierarchy.directory.raw, path, F_OK, 0) == 0 {
                return KernelError(action, errno: EOPNOTSUPP, detail: "the kernel has no such file in \(hierarchy.name)")
            }
            if errno != ENOENT { return KernelError(action, errno: errno) }
        }
        return KernelError(action, errno: ENOENT, detail: "there is no such group")
    }
}
