internal import CLinux
internal import Glibc

/// Waits for any of many descriptors to become readable (epoll(7)). A pidfd is readable when its process has ended.
public struct ReadyPoll: Sendable {
    private let poll: Descriptor
    private let stopRead: Descriptor
    private let stopWrite: Descriptor

    public init() throws(KernelError) {
        let raw = vz_poll_create()
        if raw < 0 { throw KernelError("make an epoll descriptor", errno: errno) }
        poll = Descriptor(adopting: raw)
        var ends: [Int32] = [0, 0]
        guard vz_pipe(&ends) == 0 else { throw KernelError("make a pipe", errno: errno) }
        (stopRead, stopWrite) = (Descriptor(adopting: ends[0]), Descriptor(adopting: ends[1]))
        try add(stopRead)
    }

    public func add(_ descriptor: Descriptor) throws(KernelError) {
        if vz_poll_add(poll.raw, descriptor.raw) != 0 { throw KernelError("watch a descriptor (epoll_ctl)", errno: errno) }
    }

    public func remove(_ rawDescriptor: Int32) { _ = vz_poll_remove(poll.raw, rawDescriptor) }

    /// Blocks until some are readable and answers which; `nil` after `stop`.
    public func wait() -> [Int32]? {
        var ready = [Int32](repeating: -1, count: 64)
        while true {
            let count = vz_poll_wait(poll.raw, &ready, Int32(ready.count))
            if count < 0 && errno != EINTR { return nil }
            let found = ready.prefix(max(0, Int(count)))
            if found.contains(stopRead.raw) { return nil }
            if !found.isEmpty { return Array(found) }
        }
    }

    /// Makes `wait` end.
    public func stop() { _ = try? stopWrite.writeAll([0], named: "pipe") }
}
