internal import Glibc

/// Bringing down what a group has in RAM, so that a lower limit can be set without anything being ended.
///
/// Both versions: the time is bounded, and when it is over the limits are what they were.
struct ControlGroupReclaim {
    let group: ControlGroup
    let hierarchy: ControlGroupTree.Hierarchy
    /// What the group is to come down to, bytes.
    let target: Int64
    /// How long it may take in all, and how long without getting on.
    static let patience = (all: Duration.seconds(15), standstill: Duration.seconds(2))

    private let deadline = ContinuousClock.now + Self.patience.all

    init(_ group: ControlGroup, to target: Int64, in hierarchy: ControlGroupTree.Hierarchy) {
        (self.group, self.hierarchy, self.target) = (group, hierarchy, target)
    }

    /// Looks at what is in use, and pushes, until it is at the target or no longer gets on.
    /// - Parameter push: tries to free so many bytes; how far it came is of no interest.
    /// - Returns: whether it is at the target.
    private func push(_ usage: String, _ push: (Int64) throws(KernelError) -> Void) throws(KernelError) -> Bool {
        var least = Int64.max
        var seen = ContinuousClock.now
        while true {
            let used = try group.read(usage, in: hierarchy) { $0.number() }
            if used <= target { return true }
            let now = ContinuousClock.now
            // Some pages more or less are noise.
            if used < least - 1 << 16 { (least, seen) = (used, now) }
            if now > deadline || now - seen > Self.patience.standstill { return false }
            try push(used - target)
        }
    }

    // MARK: v2

    /// Below the target, held there while `body` runs by memory.high, which slows and never ends anything (cgroup-v2.rst). Nobody else
    /// sets it: afterwards there is none.
    func whileLow(_ body: () throws(KernelError) -> Void) throws(KernelError) {
        guard let release = WriteAtEnd("max", to: "\(group.path)/memory.high", at: hierarchy.directory) else {
            throw KernelError(
                "start a process that takes memory.high of cgroup /\(group.path) back", errno: EAGAIN, detail: "the old limit stays"
            )
        }
        try release.after { () throws(KernelError) in try lower(body) }
    }

    private func lower(_ body: () throws(KernelError) -> Void) throws(KernelError) {
        // Nothing new comes above it; the write itself frees what it can.
        try group.write(String(target), to: "memory.high", in: hierarchy)
        let isLow = try push("memory.current") { bytes throws(KernelError) in
            do throws(KernelError) {
                try group.write(String(bytes), to: "memory.reclaim", in: hierarchy)
            } catch  where error.errno == EAGAIN {
                // Less than asked for.
                ControlGroupWait.pause(milliseconds: 2)
            } catch  where error.errno == EOPNOTSUPP {
                // Before Linux 5.19.
                try group.write(String(target), to: "memory.high", in: hierarchy)
            }
        }
        guard isLow else { throw try refusal("memory.max", usage: "memory.current") }
        try body()
    }

    // MARK: v1

    /// Takes a limit down in steps that each hold, so that what was freed does not come back should any of the group run after all. The
    /// kernel refuses what it cannot free (`EBUSY`), and ends nothing.
    func lower(_ file: String, usage: String) throws(KernelError) {
        // What runs takes back what is freed before the limit is there: the more it does, the smaller the steps.
        var step = Int64.max
        let lowered = try push(usage) { bytes throws(KernelError) in
            step = max(min(step, bytes), min(bytes, 16 << 10))
            let isHeld = try ControlGroupV1.write(target + bytes - step, to: file, of: group, in: hierarchy)
            step = isHeld ? step * 2 : step / 4
        }
        guard lowered, try ControlGroupV1.write(target, to: file, of: group, in: hierarchy) else {
            throw try refusal(file, usage: usage)
        }
    }

    private func refusal(_ file: String, usage: String) throws(KernelError) -> KernelError {
        let used = try group.read(usage, in: hierarchy) { $0.number() }
        return KernelError(
            "write \"\(target)\" to \"\(file)\" of cgroup /\(group.path)", errno: EBUSY,
            detail: "\(used) bytes are in use and cannot be reclaimed in time; the old limit stays; end processes, or set a higher "
                + "limit or more swap")
    }
}
