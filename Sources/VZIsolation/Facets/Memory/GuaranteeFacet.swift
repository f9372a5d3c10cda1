internal import VZKernel
internal import VZModel
internal import VZPlan

/// `vmguarpages` and `oomguarpages`, what a container keeps when the host is short of memory (`openvz.md` sections 1.2 and 1.3).
///
/// Both count pages of 4096 bytes, and only by their barriers. What is guaranteed to be allocated is taken last (memory.low); what is
/// guaranteed to survive is never taken (memory.min), and is deducted where the kernel looks for a process to end (oom_score_adj).
struct GuaranteeFacet: Facet {
    private static let allocation = "beancounters.vmguarpages"
    private static let survival = "beancounters.oomguarpages"
    let fields = [allocation, survival]

    func wish(for spec: ContainerSpec, on host: HostCapabilities) -> Wish {
        let low = Self.bytes(spec.beancounters[.vmguarpages])
        let min = Self.bytes(spec.beancounters[.oomguarpages])
        var spared = Wish()
        if let reason = host.noSparing {
            if min != 0 { spared.unsupported = [Unsupported(field: Self.survival, value: Self.text(min), reason: reason)] }
        } else if let score = Self.oomScore(guaranteed: min, ram: host.ram) {
            spared.settings = [Self.setting(score: score, Self.text(min))]
        }
        return host.wish(
            .memoryLow, field: Self.allocation, value: Self.text(low), kernelValue: .init(bound: low), isDefault: low == 0)
            + host.wish(
                .memoryMin, field: Self.survival, value: Self.text(min), kernelValue: .init(bound: min), isDefault: min == 0)
            + spared
    }

    func observe(_ container: ContainerHandle) throws(KernelError) -> [Setting] {
        let host = container.host
        var settings: [Setting] = []
        if host.supports(.memoryMin), host.supports(.memoryLow) {
            let held = try container.group.memoryGuarantee()
            settings = [
                host.setting(.memoryLow, field: Self.allocation, value: Self.text(held.low), kernelValue: .init(bound: held.low)),
                host.setting(.memoryMin, field: Self.survival, value: Self.text(held.min), kernelValue: .init(bound: held.min)),
            ]
        }
        if host.noSparing == nil, let process = container.process, let score = try OOMScore.of(process) {
            settings.append(Self.setting(score: score, Self.text(guaranteed: score, ram: host.ram)))
        }
        return settings
    }

    func apply(_ settings: [Setting], to container: ContainerHandle) throws(KernelError) {
        let held = settings.filter { $0.kernelName != OOMScore.name }
        if !held.isEmpty {
            var guarantee = try container.group.memoryGuarantee()
            for setting in held {
                if setting.field == Self.allocation { guarantee.low = setting.kernelValue.number }
                if setting.field == Self.survival { guarantee.min = setting.kernelValue.number }
            }
            try container.group.setMemoryGuarantee(guarantee)
            container.slot?.note(low: guarantee.low, min: guarantee.min)
        }
        if let score = settings.last(where: { $0.kernelName == OOMScore.name })?.kernelValue.number,
            let process = container.process,
            let old = try OOMScore.of(process)
        {
            try OOMScore.change(from: old, to: score, in: container.group)
        }
    }

    /// Bytes of a guarantee; `nil` is all.
    private static func bytes(_ bounds: BarrierLimit?) -> Int64? {
        guard let pages = bounds?.barrier else { return 0 }
        let (bytes, tooMany) = pages.multipliedReportingOverflow(by: 4096)
        return tooMany ? nil : bytes
    }

    /// The part of the host's RAM that is guaranteed, in thousandths, is deducted from what a process has. Never all: a process that
    /// cannot be chosen at all would keep a container from its own limit.
    static func oomScore(guaranteed: Int64?, ram: Int64?) -> Int64? {
        guard let ram, ram > 0 else { return nil }
        guard let guaranteed, guaranteed < ram else { return -999 }
        // Without overflow: the guarantee is below RAM, and that below 2^53.
        return -min((guaranteed * 1000 + ram - 1) / ram, 999)
    }

    private static func setting(score: Int64, _ value: String) -> Setting {
        Setting(field: survival, value: value, kernelName: OOMScore.name, kernelValue: .number(score), phase: .process)
    }

    private static func text(_ bytes: Int64?) -> String {
        guard let bytes else { return "unlimited" }
        return bytes == 0 ? "0" : "\(bytes / 4096):unlimited"
    }

    /// What a score stands for; there are many guarantees for one score.
    private static func text(guaranteed score: Int64, ram: Int64?) -> String {
        guard score < 0, let ram else { return score == 0 ? "0" : "\(OOMScore.name) \(score)" }
        return "about \(ram / 1000 * -score / 4096):unlimited"
    }
}
