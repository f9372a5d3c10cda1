internal import CLinux
internal import Glibc

/// Files whose file system a process serves (FUSE). That process may have died or hang, and whoever opens or reads one of them waits for
/// it, deaf even to SIGKILL: a child waits in our place.
public enum ServedFiles {
    /// Opens files (O_PATH) once the first of them could be read.
    /// - Parameters:
    ///   - names: 1…16 paths below `directory`, none a symbolic link.
    ///   - milliseconds: how long to wait for the server.
    /// - Throws: `KernelError`; `ENOTCONN` when the server has died, `ETIMEDOUT` when it does not answer.
    public static func open(_ names: [String], below directory: String, milliseconds: Int32) throws(KernelError) -> [Descriptor] {
        let strings = CStrings(names)
        var raw = [Int32](repeating: -1, count: names.count)
        let answer = withExtendedLifetime(strings) {
            vz_open_aside(directory, strings.pointer, Int32(names.count), milliseconds, &raw)
        }
        if answer < 0 { throw KernelError("open \(names.joined(separator: ", ")) below \"\(directory)\"", errno: errno) }
        return raw.map(Descriptor.init(adopting:))
    }
}

extension Descriptor {
    /// What a file is mounted by. Asks no server of its file system.
    public struct Mounted: Equatable, Sendable {
        /// Of the file system, as in mountinfo: `0:41`.
        public var device: String
        /// Of the mount, as in mountinfo.
        public var id: UInt64
        /// Whether the file is the root of that mount.
        public var isRoot: Bool
    }

    public func mounted() throws(KernelError) -> Mounted {
        var answer = vz_mounted()
        if vz_look_at_mount(raw, &answer) < 0 { throw KernelError("look at a mount (statx)", errno: errno) }
        return Mounted(device: "\(answer.major):\(answer.minor)", id: answer.mount, isRoot: answer.is_root != 0)
    }
}
