public import VZKernel
internal import VZPlan

/// What this host can hold, looked at once: plain data, that can be saved and asked on another machine.
public struct HostCapabilities: Equatable, Sendable {
    /// What this host calls each setting of a control group, and whether it has it. By `ControlGroupTree.Setting.rawValue`, so that
    /// what a later version saved can be read by this one.
    private var settings: [String: Ability]
    /// What the kernel takes as a weight of CPU time.
    public let cpuWeightScale: ControlGroupTree.WeightScale
    /// What the kernel takes as a number of processes.
    public let pidsMaxRange: ClosedRange<Int64>
    /// Bytes of RAM; `nil`: nobody looked.
    public let ram: Int64?
    /// Why nothing can be swapped out here, and what mends it; `nil` when it can.
    public let noSwapSpace: String?
    /// Why no process can be spared when memory runs out, and what mends it; `nil` when it can.
    public let noSparing: String?

    private struct Ability: Equatable, Codable {
        var name: String
        /// Why it cannot be used here, and what mends it; `nil` when it can.
        var unsupported: String?
    }

    /// Makes the parent group when it is missing: only below it does the kernel show what it has.
    public init(preparing tree: ControlGroupTree) throws(KernelError) {
        try tree.prepareParent()
        self.init(tree)
    }

    /// Looks without making anything.
    public init(_ tree: ControlGroupTree) {
        settings = [:]
        for setting in ControlGroupTree.Setting.allCases {
            settings[setting.rawValue] = Ability(name: tree.name(of: setting), unsupported: tree.unsupported(setting))
        }
        // cgroup v1 holds the sum of both; what is compared and shown is swap alone.
        let swap = ControlGroupTree.Setting.swapMax.rawValue
        if let sum = settings[swap]?.name, sum.contains("memsw") { settings[swap]?.name = "\(sum) less RAM" }
        cpuWeightScale = tree.cpuWeightScale
        pidsMaxRange = tree.pidsMaxRange
        ram = (try? HostMemory.now())?.total
        noSwapSpace = VSwapMechanism.ofThisHost(VSwap(controlGroup: tree.parent)).refusal
        noSparing = OOMScore.refusal
    }

    public func supports(_ setting: ControlGroupTree.Setting) -> Bool { unsupported(setting) == nil }

    private func unsupported(_ setting: ControlGroupTree.Setting) -> String? {
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
            field: field, value: value, kernelName: settings[setting.rawValue]?.name ?? setting.rawValue, kernelValue: kernelValue)
    }
}

extension HostCapabilities: Codable {
    private enum Key: String, CodingKey {
        case settings
        case cpuWeight = "cpu_weight"
        case pidsMax = "pids_max"
        case ram
        case noSwapSpace = "no_swap_space"
        case noSparing = "no_sparing"
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
        let weight = cpuWeightScale
        try container.encode(
            Scale(min: weight.range.lowerBound, max: weight.range.upperBound, default: weight.default), forKey: .cpuWeight)
        try container.encode(Scale(min: pidsMaxRange.lowerBound, max: pidsMaxRange.upperBound), forKey: .pidsMax)
        try container.encodeIfPresent(ram, forKey: .ram)
        try container.encodeIfPresent(noSwapSpace, forKey: .noSwapSpace)
        try container.encodeIfPresent(noSparing, forKey: .noSparing)
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        func range(_ scale: Scale, _ key: Key) throws -> ClosedRange<Int64> {
            guard scale.min <= scale.max else {
                throw DecodingError.dataCorruptedError(forKey: key, in: container, debugDescription: "expected min ≤ max")
            }
            return scale.min...scale.max
        }
        settings = try container.decode([String: Ability].self, forKey: .settings)
        let weight = try container.decode(Scale.self, forKey: .cpuWeight)
        // It is multiplied by cpuunits, and divided by.
        guard let one = weight.default, (1...1 << 32).contains(one) else {
            throw DecodingError.dataCorruptedError(
                forKey: .cpuWeight, in: container, debugDescription: "expected a default of 1…\(1 << 32)")
        }
        cpuWeightScale = ControlGroupTree.WeightScale(range: try range(weight, .cpuWeight), default: one)
        pidsMaxRange = try range(try container.decode(Scale.self, forKey: .pidsMax), .pidsMax)
        ram = try container.decodeIfPresent(Int64.self, forKey: .ram)
        noSwapSpace = try container.decodeIfPresent(String.self, forKey: .noSwapSpace)
        noSparing = try container.decodeIfPresent(String.self, forKey: .noSparing)
    }
}
