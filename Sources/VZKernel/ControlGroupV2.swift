internal import Glibc

/// Settings on cgroup v2 (admin-guide/cgroup-v2.rst).
enum ControlGroupV2 {
    static let cpuWeight = "cpu.weight"
    static let cpuQuota = "cpu.max"
    /// That of iocost, and that of the scheduler BFQ; each may be missing.
    static let ioWeights = ["io.weight", "io.bfq.weight"]
    static let memoryMax = "memory.max"
    static let swapMax = "memory.swap.max"
    static let memoryLow = "memory.low"
    static let memoryMin = "memory.min"

    static func cpuQuota(of group: ControlGroup, in hierarchy: ControlGroupTree.Hierarchy) throws(KernelError) -> CPUQuota? {
        let value = try group.read(cpuQuota, in: hierarchy, parseCPUMax)
        return value.quota == ControlGroupText.unlimited ? nil : value
    }

    /// `max 100000` or `25000 100000`.
    static func parseCPUMax(_ text: inout ControlGroupText) -> CPUQuota? {
        guard let quota = text.limit(), let period = text.number() else { return nil }
        return CPUQuota(quota: quota, period: period)
    }

    static func setCPUQuota(
        _ quota: CPUQuota?, of group: ControlGroup, in hierarchy: ControlGroupTree.Hierarchy
    ) throws(KernelError) {
        try group.write(
            quota.map { "\($0.quota) \($0.period)" } ?? "max 100000", to: cpuQuota, in: hierarchy,
            expected: "expected a quota of 1000 or more and a period of 1000…1000000 µs")
    }

    static func memory(of group: ControlGroup, in hierarchy: ControlGroupTree.Hierarchy) throws(KernelError) -> MemoryLimits {
        MemoryLimits(max: try limit(memoryMax, of: group, in: hierarchy), swap: try swap(of: group, in: hierarchy))
    }

    /// Both are always written. Where swap grows, it does so before RAM shrinks, and where it shrinks, after: what is pushed out of
    /// RAM then finds room, and nothing is ended for want of it.
    static func setMemory(
        _ limits: MemoryLimits, of group: ControlGroup, in hierarchy: ControlGroupTree.Hierarchy
    ) throws(KernelError) {
        let counted = try group.has(swapMax, in: hierarchy)
        if !counted, limits.swap != nil { throw group.unsupported(.swapMax) }
        let before = counted ? try limit(swapMax, of: group, in: hierarchy) : nil
        let grows = (limits.swap ?? .max) > (before ?? .max)
        // Swap that shrinks beside RAM goes first: what RAM gives up must not go where there will be no room for it. Where RAM grows it
        // goes last, when what was in it has found room.
        let ram = try limit(memoryMax, of: group, in: hierarchy) ?? .max
        let goesFirst = counted && !grows && (limits.max ?? .max) < ram
        if counted, !grows { try refuseTooMuch(limits, of: group, in: hierarchy) }
        if grows || goesFirst, counted { try write(limits.swap, to: swapMax, of: group, in: hierarchy) }
        do throws(KernelError) {
            try setMax(limits.max, of: group, in: hierarchy)
        } catch {
            if counted, grows || goesFirst { try? write(before, to: swapMax, of: group, in: hierarchy) }
            throw error
        }
        if counted, !grows, !goesFirst { try write(limits.swap, to: swapMax, of: group, in: hierarchy) }
    }

    /// Refuses limits that do not hold what can only be in RAM or swap.
    private static func refuseTooMuch(
        _ limits: MemoryLimits, of group: ControlGroup, in hierarchy: ControlGroupTree.Hierarchy
    ) throws(KernelError) {
        guard let max = limits.max, let swap = limits.swap else { return }
        let used = try group.read("memory.stat", in: hierarchy) { ($0.value(of: "anon") ?? 0) + ($0.value(of: "shmem") ?? 0) }
        let swapped = try group.read("memory.swap.current", in: hierarchy) { $0.number() }
        guard used + swapped > max.addingReportingOverflow(swap).partialValue, max <= .max - swap else { return }
        throw KernelError(
            "write \"\(max)\" to \"\(memoryMax)\" and \"\(swap)\" to \"\(swapMax)\" of cgroup /\(group.path)", errno: EBUSY,
            detail:
                "\(used + swapped) bytes are in use that only RAM and swap can hold; the old limit stays; end processes, or set a "
                + "higher limit or more swap")
    }

    /// The kernel ends processes when memory.max is written and what is above it cannot be freed: so that is done before.
    private static func setMax(
        _ max: Int64?, of group: ControlGroup, in hierarchy: ControlGroupTree.Hierarchy
    ) throws(KernelError) {
        guard let max, max < (try limit(memoryMax, of: group, in: hierarchy) ?? .max),
            max < (try group.read("memory.current", in: hierarchy) { $0.number() }) + slack
        else { return try write(max, to: memoryMax, of: group, in: hierarchy) }
        try ControlGroupReclaim(group, to: max, in: hierarchy).whileLow { () throws(KernelError) in
            try write(max, to: memoryMax, of: group, in: hierarchy)
        }
    }

    /// What a group may take between a look at it and a write, bytes: so close to what is in use a limit is lowered with care.
    private static let slack: Int64 = 64 << 20

    private static func swap(of group: ControlGroup, in hierarchy: ControlGroupTree.Hierarchy) throws(KernelError) -> Int64? {
        do throws(KernelError) {
            return try limit(swapMax, of: group, in: hierarchy)
        } catch  where error.errno == EOPNOTSUPP {
            return nil
        }
    }

    static func limit(
        _ file: String, of group: ControlGroup, in hierarchy: ControlGroupTree.Hierarchy
    ) throws(KernelError) -> Int64? {
        let value = try group.read(file, in: hierarchy) { $0.limit() }
        return value == ControlGroupText.unlimited ? nil : value
    }

    static func write(
        _ limit: Int64?, to file: String, of group: ControlGroup, in hierarchy: ControlGroupTree.Hierarchy
    ) throws(KernelError) {
        try group.write(limit.map(String.init) ?? "max", to: file, in: hierarchy)
    }
}
