internal import Glibc

/// Settings on cgroup v1 (admin-guide/cgroup-v1/, scheduler/sched-bwc.rst, block/bfq-iosched.rst).
enum ControlGroupV1 {
    static let cpuWeight = "cpu.shares"
    static let cpuQuota = "cpu.cfs_quota_us"
    static let cpuPeriod = "cpu.cfs_period_us"
    /// That of the scheduler BFQ, and that of CFQ before it (up to Linux 4.20); a kernel has one.
    static let ioWeights = ["blkio.bfq.weight", "blkio.weight"]
    static let memoryMax = "memory.limit_in_bytes"
    static let memoryAndSwapMax = "memory.memsw.limit_in_bytes"

    // MARK: - CPU

    static func cpuQuota(of group: ControlGroup, in hierarchy: ControlGroupTree.Hierarchy) throws(KernelError) -> CPUQuota? {
        let quota = try group.read(cpuQuota, in: hierarchy) { $0.number() }
        if quota < 0 { return nil }
        return CPUQuota(quota: quota, period: try group.read(cpuPeriod, in: hierarchy) { $0.number() })
    }

    /// Quota and period are two files: for the moment between, there is no limit rather than one that nobody asked for.
    static func setCPUQuota(
        _ quota: CPUQuota?, of group: ControlGroup, in hierarchy: ControlGroupTree.Hierarchy
    ) throws(KernelError) {
        let period = try group.read(cpuPeriod, in: hierarchy) { $0.number() }
        if let quota, quota.period != period {
            try group.write("-1", to: cpuQuota, in: hierarchy)
            try group.write(String(quota.period), to: cpuPeriod, in: hierarchy, expected: "expected 1000…1000000 µs")
        }
        // A negative quota would be taken for "no limit".
        let value = quota.map { max($0.quota, 0) } ?? -1
        try group.write(String(value), to: cpuQuota, in: hierarchy, expected: "expected 1000 µs or more")
    }

    // MARK: - Memory

    /// What the kernel shows for no limit: the largest number of whole pages.
    static let unlimitedMemory: Int64 = .max & ~0xfff

    /// The sum that the kernel knows, of what is asked for; no limit where there is none or the sum is too large.
    static func sum(_ limits: MemoryLimits) -> Int64? {
        guard let max = limits.max.map(wholePages), let swap = limits.swap.map(wholePages) else { return nil }
        let (sum, tooLarge) = max.addingReportingOverflow(swap)
        return tooLarge || sum >= unlimitedMemory ? nil : sum
    }

    private static func wholePages(_ bytes: Int64) -> Int64 { bytes - bytes % pageSize }
    private static let pageSize = Int64(sysconf(Int32(_SC_PAGESIZE)))

    static func memory(of group: ControlGroup, in hierarchy: ControlGroupTree.Hierarchy) throws(KernelError) -> MemoryLimits {
        let max = try limit(memoryMax, of: group, in: hierarchy)
        guard let max else { return MemoryLimits(max: nil, swap: nil) }  // then the sum is no limit either
        do throws(KernelError) {
            let sum = try limit(memoryAndSwapMax, of: group, in: hierarchy)
            return MemoryLimits(max: max, swap: sum.map { Swift.max($0 - max, 0) })
        } catch  where error.errno == EOPNOTSUPP {
            return MemoryLimits(max: max, swap: nil)
        }
    }

    /// The sum must never be below the limit of RAM, so the sum goes first when it grows, and last when it shrinks. Both orders are
    /// right for any change of RAM itself: the new limit of RAM is below the larger of the two sums.
    static func setMemory(
        _ limits: MemoryLimits, of group: ControlGroup, in hierarchy: ControlGroupTree.Hierarchy
    ) throws(KernelError) {
        guard try group.has(memoryAndSwapMax, in: hierarchy) else {
            if limits.swap != nil { throw group.unsupported(.swapMax) }
            return try set(memoryMax, to: limits.max, of: group, in: hierarchy)
        }
        if limits.max == nil, limits.swap != nil {
            throw KernelError(
                "limit swap of cgroup /\(group.path)", errno: EINVAL,
                detail: "cgroup v1 limits only the sum of RAM and swap; limit RAM too, or boot with cgroup v2")
        }
        let before = MemoryPair(
            max: try limit(memoryMax, of: group, in: hierarchy), sum: try limit(memoryAndSwapMax, of: group, in: hierarchy))
        let new = MemoryPair(max: limits.max, sum: sum(limits))
        guard try isClose(new, before, of: group, in: hierarchy) else {
            return try setMemory(new, before, of: group, in: hierarchy)
        }
        // A busy group would take back what is freed before the limit is there, and the kernel end a process of it. What is stopped takes
        // nothing.
        try group.whileFrozen(patience: ControlGroupReclaim.patience.standstill) { () throws(KernelError) in
            try setMemory(new, before, of: group, in: hierarchy)
        }
    }

    /// As the kernel has them.
    private struct MemoryPair {
        var max: Int64?
        var sum: Int64?
    }

    private static func setMemory(
        _ new: MemoryPair, _ before: MemoryPair, of group: ControlGroup, in hierarchy: ControlGroupTree.Hierarchy
    ) throws(KernelError) {
        let grows = (new.sum ?? .max) > (before.sum ?? .max)
        do throws(KernelError) {
            if grows { try set(memoryAndSwapMax, to: new.sum, of: group, in: hierarchy) }
            try set(memoryMax, to: new.max, of: group, in: hierarchy)
            if !grows { try set(memoryAndSwapMax, to: new.sum, of: group, in: hierarchy) }
        } catch {
            // Back to what was: the sum first when the other has been lowered, last when it has grown. What has meanwhile come above
            // an old sum stays.
            for file in grows ? [memoryMax, memoryAndSwapMax] : [memoryAndSwapMax, memoryMax] {
                let old = file == memoryMax ? before.max : before.sum
                try? group.write(old.map(String.init) ?? "-1", to: file, in: hierarchy)
            }
            throw error
        }
    }

    /// Whether a limit goes down to what is in use, or may have by the time that it is written.
    private static func isClose(
        _ new: MemoryPair, _ before: MemoryPair, of group: ControlGroup, in hierarchy: ControlGroupTree.Hierarchy
    ) throws(KernelError) -> Bool {
        for (new, before, usage) in [(new.max, before.max, memoryUsage), (new.sum, before.sum, memoryAndSwapUsage)] {
            guard let new, new < before ?? .max else { continue }
            let used = try group.read(usage, in: hierarchy) { $0.number() }
            // Nobody is in a group that is being made.
            if used > 0, used > new - slack { return true }
        }
        return false
    }

    /// What a group may take between a look at it and a write, bytes: so close to what is in use a limit is lowered with care.
    private static let slack: Int64 = 64 << 20
    private static let memoryUsage = "memory.usage_in_bytes"
    private static let memoryAndSwapUsage = "memory.memsw.usage_in_bytes"

    private static func limit(
        _ file: String, of group: ControlGroup, in hierarchy: ControlGroupTree.Hierarchy
    ) throws(KernelError) -> Int64? {
        let value = try group.read(file, in: hierarchy) { $0.number() }
        return value >= unlimitedMemory ? nil : value
    }

    private static func set(
        _ file: String, to limit: Int64?, of group: ControlGroup, in hierarchy: ControlGroupTree.Hierarchy
    ) throws(KernelError) {
        guard let limit, limit < unlimitedMemory else { return try group.write("-1", to: file, in: hierarchy) }
        let usage = file == memoryMax ? memoryUsage : memoryAndSwapUsage
        // Where nothing must be freed it is one write.
        if try group.read(usage, in: hierarchy, { $0.number() }) <= limit,
            try write(limit, to: file, of: group, in: hierarchy)
        {
            return
        }
        try ControlGroupReclaim(group, to: limit, in: hierarchy).lower(file, usage: usage)
    }

    /// - Returns: false when the kernel cannot free enough.
    static func write(
        _ limit: Int64, to file: String, of group: ControlGroup, in hierarchy: ControlGroupTree.Hierarchy
    ) throws(KernelError) -> Bool {
        do throws(KernelError) {
            try group.write(String(limit), to: file, in: hierarchy)
            return true
        } catch  where error.errno == EBUSY {
            return false
        }
    }
}
