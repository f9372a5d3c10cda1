internal import Glibc

/// Settings on cgroup v2 (admin-guide/cgroup-v2.rst).
enum ControlGroupV2 {
    static let cpuWeight = "cpu.weight"
    static let cpuQuota = "cpu.max"
    /// That of iocost, and that of the scheduler BFQ; each may be missing.
    static let ioWeights = ["io.weight", "io.bfq.weight"]
    static let memoryMax = "memory.max"
    static let swapMax = "memory.swap.max"

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
        let grows = (limits.swap ?? .max) > (counted ? try limit(swapMax, of: group, in: hierarchy) ?? .max : .max)
        if counted, grows { try write(limits.swap, to: swapMax, of: group, in: hierarchy) }
        try write(limits.max, to: memoryMax, of: group, in: hierarchy)
        if counted, !grows { try write(limits.swap, to: swapMax, of: group, in: hierarchy) }
    }

    private static func swap(of group: ControlGroup, in hierarchy: ControlGroupTree.Hierarchy) throws(KernelError) -> Int64? {
        do throws(KernelError) {
            return try limit(swapMax, of: group, in: hierarchy)
        } catch  where error.errno == EOPNOTSUPP {
            return nil
        }
    }

    private static func limit(
        _ file: String, of group: ControlGroup, in hierarchy: ControlGroupTree.Hierarchy
    ) throws(KernelError) -> Int64? {
        let value = try group.read(file, in: hierarchy) { $0.limit() }
        return value == ControlGroupText.unlimited ? nil : value
    }

    private static func write(
        _ limit: Int64?, to file: String, of group: ControlGroup, in hierarchy: ControlGroupTree.Hierarchy
    ) throws(KernelError) {
        try group.write(limit.map(String.init) ?? "max", to: file, in: hierarchy)
    }
}
