public import VZKernel
public import VZModel
internal import VZPlan

/// What this host can hold, looked at once: plain data, that can be saved and asked on another machine.
public struct HostCapabilities: Equatable, Sendable {
    /// What this host calls each setting of a control group, and whether it has it. By `ControlGroupTree.Setting.rawValue`, so that
    /// what a later version saved can be read by this one.
    private var settings: [String: Ability]
    /// What the kernel takes as a weight of CPU time.
    public let cpuWeightScale: ControlGroupTree.WeightScale
    /// How cpuunits become weights: the standard scale, until `scaled` is told what all containers of the node have. Not saved, since it
    /// follows from them.
    public private(set) var cpuScale: CPUScale
    /// What the kernel takes as a number of processes.
    public let pidsMaxRange: ClosedRange<Int64>
    /// The CPUs that containers can have; `nil` when that is not known.
    public private(set) var cpus: NumberSet?
    /// The memory nodes that they can have; `nil` when that is not known.
    public private(set) var memoryNodes: NumberSet?
    /// Bytes of RAM; `nil`: nobody looked.
    public let ram: Int64?
    /// Why nothing can be swapped out here, and what mends it; `nil` when it can.
    public let noSwapSpace: String?
    /// Why no process can be spared when memory runs out, and what mends it; `nil` when it can.
    public let noSparing: String?

    /// The programs that count and refuse.
    public var beancounters = BeancounterSupport(tier: .none, programs: [])

    /// What the roots of this node lie on; `nil` when nobody looked.
    public var storage: RootStorage?
    /// The same of those containers whose roots lie elsewhere, by CTID.
    public var otherStorage: [String: RootStorage] = [:]
    /// What tells containers their own numbers; `nil` when nobody looked.
    public var lxcfs: LxcfsService?

    private struct Ability: Equatable, Codable {
        var name: String
        /// Why it cannot be used here, and what mends it; `nil` when it can.
        var unsupported: String?
    }

    /// Makes the parent group when it is missing: only below it does the kernel show what it has.
    public init(preparing tree: ControlGroupTree) throws(KernelError) {
        try tree.prepareParent()
        try self.init(tree)
    }

    /// Looks without making anything.
    public init(_ tree: ControlGroupTree) throws(KernelError) {
        settings = [:]
        for setting in ControlGroupTree.Setting.allCases {
            settings[setting.rawValue] = Ability(name: tree.name(of: setting), unsupported: tree.unsupported(setting))
        }
        // cgroup v1 holds the sum of both; what is compared and shown is swap alone.
        let swap = ControlGroupTree.Setting.swapMax.rawValue
        if let sum = settings[swap]?.name, sum.contains("memsw") { settings[swap]?.name = "\(sum) less RAM" }
        // Both directions are bound at once, and on v2 one file has all four numbers.
        for (setting, v2) in [(ControlGroupTree.Setting.ioBytes, "rbps,wbps"), (.ioOperations, "riops,wiops")] {
            guard let name = settings[setting.rawValue]?.name else { continue }
            settings[setting.rawValue]?.name = name == "io.max" ? "\(name) \(v2)" : name.replacing(".read_", with: ".{read,write}_")
        }
        cpuWeightScale = tree.cpuWeightScale
        cpuScale = CPUScale(tree.cpuWeightScale)
        pidsMaxRange = tree.pidsMaxRange
        ram = try HostMemory.now().total
        noSwapSpace = VSwapMechanism.ofThisHost(VSwap(controlGroup: tree.parent)).refusal
        noSparing = OOMScore.refusal
        try lookAtProcessors(tree)
    }

    /// Looks anew at what comes and goes: CPUs and memory nodes.
    mutating func lookAtProcessors(_ tree: ControlGroupTree) throws(KernelError) {
        cpus = try tree.available(.cpus).flatMap { NumberSet(text: $0) }
        memoryNodes = try tree.available(.memoryNodes).flatMap { NumberSet(text: $0) }
    }

    /// The same host, with one scale for containers of these cpuunits.
    public func scaled(for cpuunits: some Sequence<Int>) -> Self { scaled(by: CPUScale(for: cpuunits, on: cpuWeightScale)) }

    /// The same host, with this scale for all containers.
    public func scaled(by scale: CPUScale) -> Self {
        var host = self
        host.cpuScale = scale
        return host
    }

    /// What is told of the scale of cpuunits; `nil` when it is the standard one.
    public var cpuScaleNote: String? { cpuScale.note(name(of: .cpuWeight)) }

    public func supports(_ setting: ControlGroupTree.Setting) -> Bool { unsupported(setting) == nil }

    /// What this host calls a setting.
    func name(of setting: ControlGroupTree.Setting) -> String { settings[setting.rawValue]?.name ?? setting.rawValue }

    /// Why it cannot be used here, and what mends it; `nil` when it can.
    func unsupported(_ setting: ControlGroupTree.Setting) -> String? {
        guard let ability = settings[setting.rawValue] else {
            return "the version of vz that looked at the host did not know it; look with this one"
        }
        return ability.unsupported
    }

    /// A setting of a control group as a wish, or, when this host lacks it, the reason. A manifest that asks for nothing (`isDefault`)
    /// is not told about what it does not miss.
    func wish(
        _ setting: ControlGroupTree.Setting, field: String, value: String, kernelValue: Setting.Value, isDefault: Bool
    ) -> Wish {
        if let reason = unsupported(setting) {
            return isDefault ? Wish() : Wish(unsupported: [Unsupported(field: field, value: value, reason: reason)])
        }
        return Wish(settings: [self.setting(setting, field: field, value: value, kernelValue: kernelValue)])
    }

    func setting(_ setting: ControlGroupTree.Setting, field: String, value: String, kernelValue: Setting.Value) -> Setting {
        Setting(
            field: field, value: value, kernelName: name(of: setting), kernelValue: kernelValue)
    }
}

extension HostCapabilities: Codable {
    private enum Key: String, CodingKey {
        case settings, storage
        case otherStorage = "other_storage"
        case cpuWeight = "cpu_weight"
        case pidsMax = "pids_max"
        case cpus
        case memoryNodes = "memory_nodes"
        case ram
        case noSwapSpace = "no_swap_space"
        case noSparing = "no_sparing"
        case lxcfs
        case beancounters
    }

    /// A range of whole numbers, and what a new group has.
    private struct Scale: Codable {
        var min: Int64
        var max: Int64
        var `default`: Int64?
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        try container.encode(settings, forKey: .settings)
        try container.encodeIfPresent(storage, forKey: .storage)
        if !otherStorage.isEmpty { try container.encode(otherStorage, forKey: .otherStorage) }
        let weight = cpuWeightScale
        try container.encode(
            Scale(min: weight.range.lowerBound, max: weight.range.upperBound, default: weight.default), forKey: .cpuWeight)
        try container.encode(Scale(min: pidsMaxRange.lowerBound, max: pidsMaxRange.upperBound), forKey: .pidsMax)
        try container.encodeIfPresent(cpus?.text, forKey: .cpus)
        try container.encodeIfPresent(memoryNodes?.text, forKey: .memoryNodes)
        try container.encodeIfPresent(ram, forKey: .ram)
        try container.encodeIfPresent(noSwapSpace, forKey: .noSwapSpace)
        try container.encodeIfPresent(noSparing, forKey: .noSparing)
        try container.encodeIfPresent(lxcfs, forKey: .lxcfs)
        try container.encode(beancounters, forKey: .beancounters)
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        func range(_ scale: Scale, _ key: Key) throws -> ClosedRange<Int64> {
            guard scale.min <= scale.max else {
                throw DecodingError.dataCorruptedError(forKey: key, in: container, debugDescription: "expected min ≤ max")
            }
            return scale.min...scale.max
        }
        func numbers(_ key: Key) throws -> NumberSet? {
            guard let text = try container.decodeIfPresent(String.self, forKey: key) else { return nil }
            guard let numbers = NumberSet(text: text) else {
                throw DecodingError.dataCorruptedError(forKey: key, in: container, debugDescription: "expected numbers and ranges")
            }
            return numbers
        }
        settings = try container.decode([String: Ability].self, forKey: .settings)
        storage = try container.decodeIfPresent(RootStorage.self, forKey: .storage)
        otherStorage = try container.decodeIfPresent([String: RootStorage].self, forKey: .otherStorage) ?? [:]
        let weight = try container.decode(Scale.self, forKey: .cpuWeight)
        // It is multiplied by cpuunits, and divided by.
        guard let one = weight.default, (1...1 << 32).contains(one), (1...1 << 32).contains(weight.max) else {
            throw DecodingError.dataCorruptedError(
                forKey: .cpuWeight, in: container, debugDescription: "expected a default and a greatest of 1…\(1 << 32)")
        }
        cpuWeightScale = ControlGroupTree.WeightScale(range: try range(weight, .cpuWeight), default: one)
        cpuScale = CPUScale(cpuWeightScale)
        (cpus, memoryNodes) = (try numbers(.cpus), try numbers(.memoryNodes))
        pidsMaxRange = try range(try container.decode(Scale.self, forKey: .pidsMax), .pidsMax)
        ram = try container.decodeIfPresent(Int64.self, forKey: .ram)
        noSwapSpace = try container.decodeIfPresent(String.self, forKey: .noSwapSpace)
        noSparing = try container.decodeIfPresent(String.self, forKey: .noSparing)
        lxcfs = try container.decodeIfPresent(LxcfsService.self, forKey: .lxcfs)
        beancounters = try container.decodeIfPresent(BeancounterSupport.self, forKey: .beancounters) ?? .unknown
    }
}
