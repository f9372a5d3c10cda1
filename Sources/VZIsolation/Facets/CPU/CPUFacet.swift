internal import VZKernel
internal import VZModel
internal import VZPlan

/// `cpuunits`, the relative share, and `cpulimit`, the hard limit (`openvz.md` section 2).
struct CPUFacet: Facet {
    let fields = ["cpuunits", "cpulimit"]

    func wish(for spec: ContainerSpec, on host: HostCapabilities) -> Wish {
        let weight = Self.weight(cpuunits: spec.cpuunits, scale: host.cpuWeightScale)
        let share = host.wish(
            .cpuWeight, field: "cpuunits", value: String(spec.cpuunits), kernelValue: .number(weight),
            isDefault: spec.cpuunits == ContainerSpec.defaultCPUUnits)
        let limit = host.wish(
            .cpuQuota, field: "cpulimit", value: String(spec.cpulimit),
            kernelValue: Self.quota(cpulimit: spec.cpulimit).map(Self.text) ?? .unlimited, isDefault: spec.cpulimit == 0)
        return share + limit
    }

    func observe(_ container: ContainerHandle) throws(KernelError) -> [Setting] {
        let host = container.host
        var settings: [Setting] = []
        if host.supports(.cpuWeight) {
            let weight = try container.group.cpuWeight()
            let units = Self.cpuunits(weight: weight, scale: host.cpuWeightScale)
            settings.append(host.setting(.cpuWeight, field: "cpuunits", value: String(units), kernelValue: .number(weight)))
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
            case ("cpuunits", .number(let weight)): try container.group.setCPUWeight(weight)
            case ("cpulimit", .unlimited): try container.group.setCPUQuota(nil)
            case ("cpulimit", .text(let text)): try container.group.setCPUQuota(Self.quota(text: text))
            default: throw KernelError("set \(setting.field)", detail: "cannot understand \(setting.kernelValue)")
            }
        }
    }

    /// 1000 units are the kernel's default weight and everything else is in proportion, as far as the kernel's range goes.
    static func weight(cpuunits: Int, scale: ControlGroupTree.WeightScale) -> Int64 {
        let exact = (Int64(cpuunits) * scale.default + 500) / 1000
        return min(max(exact, scale.range.lowerBound), scale.range.upperBound)
    }

    /// The units that a weight stands for, to be shown.
    static func cpuunits(weight: Int64, scale: ControlGroupTree.WeightScale) -> Int64 {
        let one = scale.default
        return (weight * 1000 + one / 2) / one
    }

    /// Percent of one CPU in the kernel's default period of 100 ms. 1 % is 1000 µs, the least that the kernel takes.
    static func quota(cpulimit: Int) -> CPUQuota? { cpulimit == 0 ? nil : CPUQuota(quota: Int64(cpulimit) * 1000) }

    private static func text(_ quota: CPUQuota) -> Setting.Value { .text("\(quota.quota)/\(quota.period)") }

    private static func quota(text: String) -> CPUQuota? {
        let parts = text.split(separator: "/").compactMap { Int64($0) }
        return parts.count == 2 ? CPUQuota(quota: parts[0], period: parts[1]) : nil
    }
}
