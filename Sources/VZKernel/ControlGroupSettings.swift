internal import Glibc

extension ControlGroupTree {
    /// The settings of a group that can be read and changed while processes run in it.
    public enum Setting: String, CaseIterable, Sendable {
        case cpuWeight, cpuQuota, cpus, memoryNodes, ioWeight, ioBytes, ioOperations, memoryMax, swapMax, memoryLow, memoryMin,
            pidsMax

        /// The controller that it belongs to.
        public var controller: Controller {
            switch self {
            case .cpuWeight, .cpuQuota: .cpu
            case .cpus, .memoryNodes: .cpuset
            case .ioWeight, .ioBytes, .ioOperations: .io
            case .memoryMax, .swapMax, .memoryLow, .memoryMin: .memory
            case .pidsMax: .pids
            }
        }
    }

    /// The name of the file that holds a setting on this host, for messages: `cpu.weight` or `cpu.shares`.
    public func name(of setting: Setting) -> String {
        let hierarchy = hierarchy(of: setting.controller)
        let files = files(of: setting, version: hierarchy?.version ?? (unified == nil ? .v1 : .v2))
        guard let hierarchy, files.count > 1 else { return files[0] }
        return files.first { hierarchy.has($0, in: parent) } ?? files[0]
    }

    /// Why a setting cannot be used on this host, and what mends it; `nil` when it can. Call it after `prepareParent`: what the
    /// kernel has shows only in a group that is not the topmost one.
    public func unsupported(_ setting: Setting) -> String? {
        guard let hierarchy = hierarchy(of: setting.controller) else { return missing(setting.controller) }
        let controller = setting.controller.rawValue
        if hierarchy.version == .v2, hierarchy.has("cgroup.procs", in: parent),
            !hierarchy.enabled(below: parent).contains(setting.controller)
        {
            return "the controller \(controller) is not enabled below cgroup /\(parent); write +\(controller) to "
                + "\(hierarchy.mountPoint)/cgroup.subtree_control, then to \(hierarchy.mountPoint)/\(parent)/cgroup.subtree_control"
        }
        let files = files(of: setting, version: hierarchy.version)
        if hierarchy.version == .v1, setting == .memoryLow || setting == .memoryMin {
            return
                "\(files[0]): cgroup v1 guarantees no memory (its soft limit only says from whom to take first); boot with cgroup v2: "
                + "systemd.unified_cgroup_hierarchy=1"
        }
        if !hierarchy.has("cgroup.procs", in: parent) || files.contains(where: { hierarchy.has($0, in: parent) }) { return nil }
        let mend =
            switch setting {
            case .swapMax: "boot with swapaccount=1, or a kernel that counts swap (CONFIG_SWAP)"
            case .cpuQuota: "boot a kernel with CONFIG_CFS_BANDWIDTH"
            case .ioWeight: "load the scheduler bfq, or boot a kernel with CONFIG_BLK_CGROUP_IOCOST"
            case .ioBytes, .ioOperations: "boot a kernel with CONFIG_BLK_DEV_THROTTLING"
            case .cpuWeight, .cpus, .memoryNodes, .memoryMax, .memoryLow, .memoryMin, .pidsMax: "boot a kernel with this controller"
            }
        return "the kernel has no \(files.joined(separator: " or ")); \(mend)"
    }

    /// The files that may hold a setting, the preferred one first.
    private func files(of setting: Setting, version: Version) -> [String] {
        switch (setting, version) {
        case (.cpuWeight, .v1): [ControlGroupV1.cpuWeight]
        case (.cpuWeight, .v2): [ControlGroupV2.cpuWeight]
        case (.cpuQuota, .v1): [ControlGroupV1.cpuQuota]
        case (.cpuQuota, .v2): [ControlGroupV2.cpuQuota]
        case (.cpus, _): [ControlGroup.cpusFile]
        case (.memoryNodes, _): [ControlGroup.memoryNodesFile]
        case (.ioWeight, .v1): ControlGroupV1.ioWeights
        case (.ioWeight, .v2): ControlGroupV2.ioWeights
        case (.ioBytes, .v1): ["blkio.throttle.read_bps_device"]
        case (.ioOperations, .v1): ["blkio.throttle.read_iops_device"]
        case (.ioBytes, .v2), (.ioOperations, .v2): ["io.max"]
        case (.memoryMax, .v1): [ControlGroupV1.memoryMax]
        case (.memoryMax, .v2): [ControlGroupV2.memoryMax]
        case (.swapMax, .v1): [ControlGroupV1.memoryAndSwapMax]
        case (.swapMax, .v2): [ControlGroupV2.swapMax]
        case (.memoryLow, _): [ControlGroupV2.memoryLow]
        case (.memoryMin, _): [ControlGroupV2.memoryMin]
        case (.pidsMax, _): ["pids.max"]
        }
    }

    /// What the kernel takes as a weight, and what a new group has.
    public struct WeightScale: Hashable, Sendable {
        public let range: ClosedRange<Int64>
        public let `default`: Int64

        public init(range: ClosedRange<Int64>, default: Int64) {
            self.range = range
            self.`default` = `default`
        }
    }

    /// The scale of `cpuWeight` on this host: 2…262144, default 1024 (v1 `cpu.shares`), or 1…10000, default 100 (v2 `cpu.weight`).
    public var cpuWeightScale: WeightScale {
        hierarchy(of: .cpu)?.version == .v1
            ? WeightScale(range: 2...262_144, default: 1024) : WeightScale(range: 1...10_000, default: 100)
    }

    /// The scale of `ioWeight`, the same on every host: what both BFQ and iocost take.
    public var ioWeightScale: WeightScale { WeightScale(range: 1...1000, default: 100) }

    /// What the kernel takes as `pidsMax`, beside no limit: up to its largest process id (threads(7)).
    public var pidsMaxRange: ClosedRange<Int64> { 0...4_194_304 }
}

/// How much CPU time a group may use: `quota` in every `period`, both in microseconds.
///
/// Kernel: quota 1000 or more, period 1000…1000000 (scheduler/sched-bwc.rst).
public struct CPUQuota: Hashable, Sendable {
    public var quota: Int64
    public var period: Int64

    public init(quota: Int64, period: Int64 = 100_000) {
        self.quota = quota
        self.period = period
    }
}

/// How much memory a group may use, in bytes; `nil` is no limit. The kernel rounds down to pages.
public struct MemoryLimits: Hashable, Sendable {
    /// RAM.
    public var max: Int64?
    /// Swap beside the RAM. Always `nil` where swap is not counted (`unsupported(.swapMax)`).
    public var swap: Int64?

    public init(max: Int64?, swap: Int64?) {
        self.max = max
        self.swap = swap
    }
}

// Every getter reads the kernel. Getters and setters throw `ENOENT` when the group is not there, and `EOPNOTSUPP` when this host
// does not have the setting.
extension ControlGroup {
    /// The share of CPU time against the neighbours', in the kernel's own numbers (`ControlGroupTree.cpuWeightScale`).
    public func cpuWeight() throws(KernelError) -> Int64 {
        let hierarchy = try hierarchy(for: .cpuWeight)
        return try read(hierarchy.version == .v1 ? ControlGroupV1.cpuWeight : ControlGroupV2.cpuWeight, in: hierarchy) {
            $0.number()
        }
    }

    /// - Parameter weight: within `ControlGroupTree.cpuWeightScale`; v1 takes any other for the nearest, v2 refuses it with
    ///   `ERANGE`.
    public func setCPUWeight(_ weight: Int64) throws(KernelError) {
        let hierarchy = try hierarchy(for: .cpuWeight)
        let range = tree.cpuWeightScale.range
        try write(
            String(weight), to: hierarchy.version == .v1 ? ControlGroupV1.cpuWeight : ControlGroupV2.cpuWeight, in: hierarchy,
            expected: "expected \(range.lowerBound)…\(range.upperBound)")
    }

    /// The limit of CPU time; `nil` when there is none.
    public func cpuQuota() throws(KernelError) -> CPUQuota? {
        let hierarchy = try hierarchy(for: .cpuQuota)
        return switch hierarchy.version {
        case .v1: try ControlGroupV1.cpuQuota(of: self, in: hierarchy)
        case .v2: try ControlGroupV2.cpuQuota(of: self, in: hierarchy)
        }
    }

    /// - Parameter quota: `nil` takes the limit away. Outside of the kernel's range: `EINVAL`.
    public func setCPUQuota(_ quota: CPUQuota?) throws(KernelError) {
        let hierarchy = try hierarchy(for: .cpuQuota)
        switch hierarchy.version {
        case .v1: try ControlGroupV1.setCPUQuota(quota, of: self, in: hierarchy)
        case .v2: try ControlGroupV2.setCPUQuota(quota, of: self, in: hierarchy)
        }
    }

    /// The share of disk time against the neighbours' (`ControlGroupTree.ioWeightScale`); `nil` when the kernel holds more than one
    /// (v2: `io.weight` for iocost, `io.bfq.weight` for BFQ) and they differ.
    public func ioWeight() throws(KernelError) -> Int64? {
        let hierarchy = try hierarchy(for: .ioWeight)
        let weights = try ioWeights(hierarchy)
        return weights.allSatisfy { $0 == weights.first } ? weights.first : nil
    }

    /// Sets every I/O weight that the kernel has, so that it holds whichever of them the disk's scheduler looks at.
    /// - Parameter weight: within `ControlGroupTree.ioWeightScale`, else `ERANGE` or `EINVAL`.
    public func setIOWeight(_ weight: Int64) throws(KernelError) {
        let hierarchy = try hierarchy(for: .ioWeight)
        let range = tree.ioWeightScale.range
        var written = 0
        for file in hierarchy.version == .v1 ? ControlGroupV1.ioWeights : ControlGroupV2.ioWeights {
            do throws(KernelError) {
                try write(String(weight), to: file, in: hierarchy, expected: "expected \(range.lowerBound)…\(range.upperBound)")
                written += 1
            } catch  where error.errno == EOPNOTSUPP {}
        }
        if written == 0 { throw unsupported(.ioWeight) }
    }

    private func ioWeights(_ hierarchy: ControlGroupTree.Hierarchy) throws(KernelError) -> [Int64] {
        var weights: [Int64] = []
        for file in hierarchy.version == .v1 ? ControlGroupV1.ioWeights : ControlGroupV2.ioWeights {
            do throws(KernelError) {
                weights.append(try read(file, in: hierarchy, Self.parseIOWeight))
                // A kernel has one of those of v1.
                if hierarchy.version == .v1 { break }
            } catch  where error.errno == EOPNOTSUPP {}
        }
        if weights.isEmpty { throw unsupported(.ioWeight) }
        return weights
    }

    /// `default 100` and a line per device, or on v1 the number alone.
    static func parseIOWeight(_ text: inout ControlGroupText) -> Int64? {
        _ = text.word("default")
        return text.number()
    }

    /// The limits of RAM and swap.
    public func memory() throws(KernelError) -> MemoryLimits {
        let hierarchy = try hierarchy(for: .memoryMax)
        return switch hierarchy.version {
        case .v1: try ControlGroupV1.memory(of: self, in: hierarchy)
        case .v2: try ControlGroupV2.memory(of: self, in: hierarchy)
        }
    }

    /// Changes the limits of RAM and swap together, in the order that the kernel takes and that never asks for less than the new
    /// limits allow (openvz.md 3.3).
    ///
    /// Below what is in use it is reclaimed first, in bounded time (`ControlGroupReclaim.patience`); nothing is ended. What cannot be
    /// reclaimed leaves both limits as they were.
    /// - Parameters:
    ///   - max: bytes of RAM; `nil` is no limit.
    ///   - swap: bytes of swap beside it; `nil` is no limit, and the only value where swap is not counted. v1 knows only the sum of
    ///     both, so that a limit of swap needs one of RAM there, else `EINVAL`.
    /// - Throws: `EBUSY` when too much is in use; `EINVAL` for negative numbers.
    public func setMemory(max: Int64?, swap: Int64?) throws(KernelError) {
        if (max ?? 0) < 0 || (swap ?? 0) < 0 {
            throw KernelError("limit memory of cgroup /\(path)", errno: EINVAL, detail: "expected bytes, 0 or more")
        }
        let hierarchy = try hierarchy(for: .memoryMax)
        switch hierarchy.version {
        case .v1: try ControlGroupV1.setMemory(MemoryLimits(max: max, swap: swap), of: self, in: hierarchy)
        case .v2: try ControlGroupV2.setMemory(MemoryLimits(max: max, swap: swap), of: self, in: hierarchy)
        }
    }

    /// How many processes and threads there may be; `nil` when there is no limit.
    public func pidsMax() throws(KernelError) -> Int64? {
        let value = try read("pids.max", in: hierarchy(for: .pidsMax)) { $0.limit() }
        return value == ControlGroupText.unlimited ? nil : value
    }

    /// Lowering it below what is there ends nothing; only new ones are refused, with `EAGAIN` (pids.rst).
    /// - Parameter max: within `ControlGroupTree.pidsMaxRange`, else `EINVAL`; `nil` takes the limit away.
    public func setPIDsMax(_ max: Int64?) throws(KernelError) {
        let range = tree.pidsMaxRange
        try write(
            max.map(String.init) ?? "max", to: "pids.max", in: hierarchy(for: .pidsMax),
            expected: "expected \(range.lowerBound)…\(range.upperBound) or max")
    }

    /// The hierarchy that holds a setting.
    func hierarchy(for setting: ControlGroupTree.Setting) throws(KernelError) -> ControlGroupTree.Hierarchy {
        guard let hierarchy = tree.hierarchy(of: setting.controller) else { throw unsupported(setting) }
        return hierarchy
    }

    func unsupported(_ setting: ControlGroupTree.Setting) -> KernelError {
        KernelError(
            "use \"\(tree.name(of: setting))\" of cgroup /\(path)", errno: EOPNOTSUPP,
            detail: tree.unsupported(setting) ?? "no such file")
    }
}
