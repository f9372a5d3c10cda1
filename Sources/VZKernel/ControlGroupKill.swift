internal import Glibc

extension ControlGroup {
    /// Sends SIGKILL to every process in the group and the groups nested in it, also to those forked meanwhile. Does not wait for
    /// their end, beyond the moment that it takes to see whether any was missed.
    ///
    /// By `cgroup.kill` where there is a unified hierarchy (Linux 5.14); what is left, or all of it on v1 alone, one by one while
    /// the group is frozen, so that none can fork and no id can pass to a stranger. A group that is not there is no error. A
    /// process that sleeps in the kernel (state D) ends when it wakes: `waitUntilEmpty` tells.
    public func killAll() throws(KernelError) {
        if let unified = tree.unified {
            do throws(KernelError) {
                try write("1", to: "cgroup.kill", in: unified)
                if try waitUntilEmpty(deadline: .now + .milliseconds(50)) { return }
            } catch  where error.errno == ENOENT || error.errno == EOPNOTSUPP {}
        }
        for _ in 1...5 {
            if try processes().isEmpty { return }
            try whileFrozen(patience: .milliseconds(50)) { () throws(KernelError) in
                for process in try processes() { kill(process, SIGKILL) }
            }
        }
    }

    /// Waits until no process is in the group or a group nested in it, or until the deadline.
    ///
    /// Woken by the kernel (`cgroup.events`) where there is a unified hierarchy, else by looking every few milliseconds.
    /// - Returns: whether the group is empty. One that is not there is.
    public func waitUntilEmpty(deadline: ContinuousClock.Instant) throws(KernelError) -> Bool {
        let unified = tree.unified
        let events = unified.flatMap { try? Descriptor.open("\(path)/cgroup.events", O_RDONLY, at: $0.directory) }
        while true {
            // Reading arms the event, so it is read before the question and waited for after it.
            var byte: UInt8 = 0
            if let events { pread(events.raw, &byte, 1, 0) }
            if try !isPopulated() { return true }
            let left = ControlGroupWait.milliseconds(until: deadline)
            if left <= 0 { return false }
            if let events, let unified, try isPopulated(in: unified) {
                var entry = pollfd(fd: events.raw, events: Int16(POLLPRI), revents: 0)
                poll(&entry, 1, left)
            } else {
                ControlGroupWait.pause(milliseconds: min(left, 5))
            }
        }
    }
}

/// Blocking waits of known length.
enum ControlGroupWait {
    static func pause(milliseconds: Int32) {
        poll(nil, 0, milliseconds)
    }

    /// From now to the deadline, rounded up; at most a minute.
    static func milliseconds(until deadline: ContinuousClock.Instant) -> Int32 {
        let left = ContinuousClock.now.duration(to: deadline)
        if left <= .zero { return 0 }
        let (seconds, attoseconds) = left.components
        return seconds >= 60 ? 60_000 : Int32(seconds * 1000 + attoseconds / 1_000_000_000_000_000 + 1)
    }
}
