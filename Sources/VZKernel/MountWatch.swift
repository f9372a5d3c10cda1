internal import CLinux
internal import Glibc

/// Tells when something is mounted or unmounted in our mount namespace (proc_pid_mounts(5)).
public struct MountWatch: Sendable {
    private let table: Descriptor
    private let stopRead: Descriptor
    private let stopWrite: Descriptor

    /// Watches from now on.
    public init() throws(KernelError) {
        table = try Descriptor.open("/proc/self/mountinfo", O_RDONLY)
        var ends: [Int32] = [0, 0]
        guard vz_pipe(&ends) == 0 else { throw KernelError("make a pipe", errno: errno) }
        (stopRead, stopWrite) = (Descriptor(adopting: ends[0]), Descriptor(adopting: ends[1]))
    }

    /// Blocks until the mounts are not as they were at the last call; `false` after `stop`.
    public func wait() -> Bool {
        var requests = [
            pollfd(fd: table.raw, events: Int16(POLLPRI), revents: 0), pollfd(fd: stopRead.raw, events: Int16(POLLIN), revents: 0),
        ]
        while true {
            let ready = poll(&requests, 2, -1)
            if ready < 0 && errno != EINTR || requests[1].revents != 0 { return false }
            if ready > 0 { return true }
        }
    }

    /// Makes `wait` end.
    public func stop() { _ = try? stopWrite.writeAll([0], named: "pipe") }
}
