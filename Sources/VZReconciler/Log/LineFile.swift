internal import Glibc
internal import Logging
internal import Synchronization
internal import VZKernel

/// A file that lines are added to, by several processes at once if need be, and that is put aside as NAME.1 when it grows too long;
/// one such old file is kept.
///
/// Each line is one write(2) with O_APPEND, so that lines never mix. A line that only half fits on a full disk is followed by a line
/// break once there is room again: readers lose that line alone. A failure to write is told in the log once, until the next success,
/// and stops nobody. The directory and the file belong to root and to the group of those who may look (modes 0750 and 0640).
final class LineFile: Sendable {
    private struct State {
        var file: Descriptor?
        var hasToldFailure = false
        var hasToldWay = false
    }

    let path: String
    private let limit: Int
    private let ownsDirectory: Bool
    private let group: ReaderGroup
    private let log: Logger
    private let state = Mutex(State())

    /// Nothing is touched before the first line.
    /// - Parameters:
    ///   - limit: in bytes; a line that would make the file longer goes to a new one.
    ///   - ownsDirectory: the file's directory is shared as a whole, and not only passed through.
    init(_ path: String, limit: Int, ownsDirectory: Bool, group: ReaderGroup, log: Logger) {
        self.path = path
        self.ownsDirectory = ownsDirectory
        self.limit = limit
        self.group = group
        self.log = log
    }

    /// Adds a line; `text` has no line break in it.
    func append(_ text: [UInt8]) {
        state.withLock { state in
            do throws(KernelError) {
                try add(text, &state)
                state.hasToldFailure = false
            } catch {
                state.file = nil
                if !state.hasToldFailure { log.error("\(error); told once, what happens meanwhile is lost to that file") }
                state.hasToldFailure = true
            }
        }
    }

    private func add(_ text: [UInt8], _ state: inout State) throws(KernelError) {
        let line = text + [UInt8(ascii: "\n")]
        let (file, size) = try current(line.count, &state)
        var last = UInt8(ascii: "\n")
        if size > 0 { _ = pread(file.raw, &last, 1, size - 1) }
        // The last line may be half of one.
        let bytes = last == UInt8(ascii: "\n") ? line : [UInt8(ascii: "\n")] + line
        var done: Int
        repeat { done = Glibc.write(file.raw, bytes, bytes.count) } while done < 0 && errno == EINTR
        guard done >= 0 else { throw KernelError("write \"\(path)\"", errno: errno) }
        guard done == bytes.count else { throw KernelError("write \"\(path)\"", errno: ENOSPC, detail: "only half a line fits") }
    }

    /// The file that the next line goes to, and how long it is.
    private func current(_ length: Int, _ state: inout State) throws(KernelError) -> (Descriptor, off_t) {
        var attempts = 0
        while true {
            let file = if let known = state.file { known } else { try open(&state) }
            var ours = stat()
            var there = stat()
            guard fstat(file.raw, &ours) == 0 else { throw KernelError("look at \"\(path)\"", errno: errno) }
            attempts += 1
            // Another process may have put it aside, or somebody removed it.
            let isThere = stat(path, &there) == 0 && there.st_ino == ours.st_ino && there.st_dev == ours.st_dev
            let fits = ours.st_size == 0 || Int(ours.st_size) + length <= limit
            if attempts == 3 || (isThere && (fits || !rotate(ours.st_ino))) { return (file, ours.st_size) }
            state.file = nil
        }
    }

    private func open(_ state: inout State) throws(KernelError) -> Descriptor {
        let directory = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        if ownsDirectory { _ = try group.open(directory) } else { try Descriptor.makeDirectories(directory) }
        let file = try Descriptor.open(path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, mode: 0o600)
        var info = stat()
        guard fstat(file.raw, &info) == 0 else { throw KernelError("look at \"\(path)\"", errno: errno) }
        guard info.st_mode & S_IFMT == S_IFREG, info.st_uid == geteuid() else {
            throw KernelError("open \"\(path)\"", errno: EPERM, detail: "expected a regular file of owner \(geteuid())")
        }
        group.share(file, mode: 0o640)
        let way = ownsDirectory ? directory.lastIndex(of: "/").map { String(directory[..<$0]) } ?? "." : directory
        if !state.hasToldWay, let reason = group.openWay(through: way) {
            log.warning("\(reason)")
            state.hasToldWay = true
        }
        state.file = file
        return file
    }

    /// Puts the file aside, if it is still that one. `false`: somebody else is about to, or it cannot be; then it grows on.
    private func rotate(_ inode: ino_t) -> Bool {
        // A lock of its own, closed to readers: whoever can open a file for reading can lock it.
        guard let lock = try? FileLock.tryLock(path + ".lock") else { return false }
        defer { withExtendedLifetime(lock) {} }
        var there = stat()
        guard stat(path, &there) == 0, there.st_ino == inode else { return true }
        return rename(path, path + ".1") == 0
    }

    /// All lines, the latest first, the file that was put aside included.
    /// - Throws: `KernelError`; `EACCES` when the caller may not look. A file that does not exist has none.
    static func lines(of path: String, limit: Int) throws(KernelError) -> [ArraySlice<UInt8>] {
        var lines: [ArraySlice<UInt8>] = []
        for name in [path, path + ".1"] {
            do throws(KernelError) {
                // Twice the limit: a file that could not be put aside has grown on.
                let file = try Descriptor.open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
                let bytes = try file.readAll(limit: 2 * limit + (1 << 20), named: name)
                lines += bytes.split(separator: UInt8(ascii: "\n")).reversed()
            } catch {
                if error.errno != ENOENT { throw error }
            }
        }
        return lines
    }
}
