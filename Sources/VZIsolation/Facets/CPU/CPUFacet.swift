internal import VZKernel
internal import VZModel
public import VZPlan

/// `cpuunits`, the relative share, `cpulimit` and `cpus`, the hard limit (`openvz.md` section 2).
struct CPUFacet: Facet {
    let fields = [Self.units, "cpulimit", "cpus"]
    private static let units = "cpuunits"

    func wish(for spec: ContainerSpec, on host: HostCapabilities) -> Wish {
        var share = host.wish(
            .cpuWeight, field: Self.units, value: String(spec.cpuunits),
            kernelValue: .number(host.cpuScale.weight(of: spec.cpuunits)),
            isDefault: spec.cpuunits == ContainerSpec.defaultCPUUnits)
        if !share.settings.isEmpty, let least = host.cpuScale.least(above: spec.cpuunits) {
            let reason =
                "\(host.name(of: .cpuWeight)) of \(host.cpuWeightScale.range.lowerBound)…\(host.cpuWeightScale.range.upperBound) cannot "
                + "hold \(spec.cpuunits) beside the greatest cpuunits of this node, \(host.cpuScale.units): it counts as \(least); "
                + "raise this one, or lower that"
            share.unsupported.append(Unsupported(field: Self.units, value: String(spec.cpuunits), reason: reason))
        }
        let percent = Self.percent(spec)
        let isFromCPUs = percent != spec.cpulimit
        let limit = host.wish(
            .cpuQuota, field: isFromCPUs && spec.cpulimit == 0 ? "cpus" : "cpulimit",
            value: isFromCPUs ? "\(percent), of cpus \(spec.cpus)" : String(percent),
            kernelValue: Self.quota(percent: percent).map(Self.text) ?? .unlimited, isDefault: percent == 0)
        return share + limit
    }

    func observe(_ container: ContainerHandle) throws(KernelError) -> [Setting] {
        let host = container.host
        var settings: [Setting] = []
        if host.supports(.cpuWeight) {
            let weight = try container.group.cpuWeight()
            let units = host.cpuScale.cpuunits(of: weight)
            settings.append(host.setting(.cpuWeight, field: Self.units, value: String(units), kernelValue: .number(weight)))
        }
        if host.supports(.cpuQuota) {
            let quota = try container.group.cpuQuota()
            let percent = quota.map { $0.quota * 100 / max($0.period, 1) } ?? 0
            settings.append(
                host.setting(.cpuQuota, field: "cpulimit", value: String(percent), kernelValue: quota.map(Self.text) ?? .unlimited))
        }
        return settings
    }

    func apply(_ settings: [Setting], to container: ContainerHandle) throws(KernelError) {
        for setting in settings {
            switch (setting.field, setting.kernelValue) {
            case (Self.units, .number(let weight)): try container.group.setCPUWeight(weight)
            case ("cpulimit", .unlimited), ("cpus", .unlimited): try container.group.setCPUQuota(nil)
            case ("cpulimit", .text(let text)), ("cpus", .text(let text)):
                try container.group.setCPUQuota(Self.quota(text: text))
            default: throw KernelError("set \(setting.field)", detail: "cannot understand \(setting.kernelValue)")
            }
        }
    }

    /// The hard limit in percent of one CPU, 0 for none: so many CPUs at a time are so many hundred percent. Which of the host's CPUs
    /// they are is for the kernel to say, from moment to moment; a choice of ours would crowd containers on the same ones.
    static func percent(_ spec: ContainerSpec) -> Int {
        [spec.cpulimit, spec.cpus * 100].filter { $0 > 0 }.min() ?? 0
    }

    /// Percent of one CPU in the kernel's default period of 100 ms. 1 % is 1000 µs, the least that the kernel takes.
    static func quota(percent: Int) -> CPUQuota? { percent == 0 ? nil : CPUQuota(quota: Int64(percent) * 1000) }

    private static func text(_ quota: CPUQuota) -> Setting.Value { .text("\(quota.quota)/\(quota.period)") }

    private static func quota(text: String) -> CPUQuota? {
        let parts = text.split(separator: "/").compactMap { Int64($0) }
        return parts.count == 2 ? CPUQuota(quota: parts[0], period: parts[1]) : nil
    }
}

extension Facets {
    /// Settings that were observed, with cpuunits as they are to be told on a node of this scale: a weight that we wrote ourselves is what
    /// was asked for then, whatever the scale was; any other is what it stands for now. Pure.
    public static func told(
        _ settings: [Setting], by scale: CPUScale, lastSet: () -> [String: Setting.Value]
    ) -> [Setting] {
        guard let index = settings.firstIndex(where: { $0.field == "cpuunits" }), let weight = settings[index].kernelValue.number
        else { return settings }
        var settings = settings
        let last = lastSet()
        let asked = last[settings[index].kernelName]?.number == weight ? last["cpuunits"]?.number : nil
        settings[index].value = String(asked ?? scale.cpuunits(of: weight))
        return settings
    }
}
