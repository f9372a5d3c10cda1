internal import Glibc

/// A mount as a process sees it (proc_pid_mountinfo(5)).
public struct ProcessMount: Equatable, Sendable {
    public var id: UInt64
    /// The mount that this one is on.
    public var parent: UInt64
    /// Of the file system: `0:41`.
    public var device: String
    /// What of the file system is mounted.
    public var root: String
    /// Seen from the process' root; blanks are written as `\040`.
    public var point: String
    public var type: String

    /// The mounts of some types, or on some points, in the mount namespace of a process, in the order in which they were made.
    ///
    /// Nothing is looked up there: the kernel's own list is read. A container may make it as long as the kernel lets it
    /// (fs.mount-max), so that it is read in pieces.
    /// - Throws: `KernelError`, when the process has ended with `ESRCH`, `ENOENT` or `EINVAL`.
    public static func list(
        of process: PidFD, types: Set<String>, points: Set<String> = []
    ) throws(KernelError) -> [Self] {
        let mounts = try list(in: "/proc/\(process.pid)/mountinfo", types, points)
        // Else it may have been another process' by then.
        guard process.isRunning else { throw KernelError("read the mounts of process \(process.pid)", errno: ESRCH) }
        return mounts
    }

    /// The mounts of some types that we see ourselves.
    public static func own(types: Set<String>) throws(KernelError) -> [Self] { try list(in: "/proc/self/mountinfo", types, []) }

    private static func list(in path: String, _ types: Set<String>, _ points: Set<String>) throws(KernelError) -> [Self] {
        let file = try Descriptor.open(path, O_RDONLY)
        var found: [Self] = []
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16384)
        while true {
            let count = read(file.raw, &chunk, chunk.count)
            if count < 0 {
                if errno == EINTR { continue }
                throw KernelError("read \"\(path)\"", errno: errno)
            }
            if count == 0 { return found }
            bytes += chunk[..<count]
            let used = take(from: bytes, types, points, into: &found)
            bytes.removeFirst(used)
        }
    }

    /// Takes the whole lines; how many bytes they are.
    private static func take(
        from bytes: [UInt8], _ types: Set<String>, _ points: Set<String>, into found: inout [Self]
    ) -> Int {
        bytes.withUnsafeBufferPointer { buffer in
            var start = 0
            while let end = buffer[start...].firstIndex(of: 10) {
                let line = UnsafeBufferPointer(rebasing: buffer[start..<end])
                if types.contains(type(in: line)) || points.contains(point(in: line)),
                    let mount = Self(String(decoding: line, as: UTF8.self))
                {
                    found.append(mount)
                }
                start = end + 1
            }
            return start
        }
    }

    /// What stands behind the one dash between two blanks.
    private static func type(in line: UnsafeBufferPointer<UInt8>) -> String {
        var dash = 0
        while dash + 2 < line.count, line[dash] != 32 || line[dash + 1] != 45 || line[dash + 2] != 32 { dash += 1 }
        return String(decoding: line.dropFirst(dash + 3).prefix { $0 != 32 }, as: UTF8.self)
    }

    /// The fifth word.
    private static func point(in line: UnsafeBufferPointer<UInt8>) -> String {
        var (blanks, i) = (0, 0)
        while i < line.count, blanks < 4 {
            if line[i] == 32 { blanks += 1 }
            i += 1
        }
        return String(decoding: line[i...].prefix { $0 != 32 }, as: UTF8.self)
    }

    /// From a line of mountinfo.
    init?(_ line: String) {
        let fields = line.split(separator: " ")
        guard fields.count >= 10, let dash = fields.dropFirst(6).firstIndex(of: "-"), fields.count > dash + 1,
            let id = UInt64(fields[0]), let parent = UInt64(fields[1])
        else { return nil }
        (self.id, self.parent, device) = (id, parent, String(fields[2]))
        (root, point, type) = (String(fields[3]), String(fields[4]), String(fields[dash + 1]))
    }
}
