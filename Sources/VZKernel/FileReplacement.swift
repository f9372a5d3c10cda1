internal import Glibc
internal import Synchronization

extension KernelFile {
    private static let counter = Atomic<UInt64>(0)

    /// Makes a file hold `bytes`, whole or not at all: temporary file beside it, fsync, rename, fsync of the directory.
    ///
    /// The temporary file's name begins with a dot; it is not left behind by an error, but may be by a crash, until the next replacement.
    /// - Parameter mode: permissions of the file.
    public static func replace(_ path: String, with bytes: [UInt8], mode: UInt32 = 0o644) throws(KernelError) {
        let slash = path.lastIndex(of: "/")
        let parent = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let name = slash.map { String(path[path.index(after: $0)...]) } ?? path
        let directory = try Descriptor.open(parent, O_RDONLY | O_DIRECTORY)
        directory.removeLeftovers { Self.writer(of: name, temporary: $0) }
        let temporary = ".\(name).\(getpid()).\(counter.add(1, ordering: .relaxed).newValue)"
        do throws(KernelError) {
            let file = try Descriptor.open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600, at: directory)
            try file.writeAll(bytes, named: path)
            guard fchmod(file.raw, mode_t(mode)) == 0, fsync(file.raw) == 0 else {
                throw KernelError("write \(path)", errno: errno)
            }
            guard renameat(directory.raw, temporary, directory.raw, name) == 0 else {
                throw KernelError("rename \(temporary) to \(path)", errno: errno)
            }
        } catch {
            unlinkat(directory.raw, temporary, 0)
            throw error
        }
        guard fsync(directory.raw) == 0 else { throw KernelError("sync \(parent)", errno: errno) }
    }

    /// The process id in the name of a temporary file for `name`.
    private static func writer(of name: String, temporary: String) -> Int32? {
        guard temporary.hasPrefix(".\(name).") else { return nil }
        let numbers = temporary.dropFirst(name.utf8.count + 2).split(separator: ".", omittingEmptySubsequences: false)
        return numbers.count == 2 && UInt64(numbers[1]) != nil ? Int32(numbers[0]) : nil
    }

    /// Whether an error says that there is no such file.
    public static func isMissing(_ error: KernelError) -> Bool { error.errno == ENOENT }

    /// Removes a file; one that is not there is removed already.
    public static func remove(_ path: String) throws(KernelError) {
        if unlink(path) != 0 && errno != ENOENT { throw KernelError("remove \(path)", errno: errno) }
    }
}

extension Descriptor {
    /// Removes the files in this directory whose writers were killed before they gave them their names. Best effort.
    /// - Parameter writer: the process id that a file's name tells; `nil`: it is none of those.
    public func removeLeftovers(_ writer: (String) -> Int32?) {
        for name in (try? names()) ?? [] {
            guard let writer = writer(name), writer > 0, writer != getpid() else { continue }
            if kill(writer, 0) != 0, errno == ESRCH { unlinkat(raw, name, 0) }
        }
    }
}
