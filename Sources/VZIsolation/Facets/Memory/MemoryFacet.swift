internal import VZKernel
internal import VZModel
internal import VZPlan

/// `ram` and `swap`: VSwap's two sizes (`openvz.md` section 3).
struct MemoryFacet: Facet {
    let fields = ["ram", "swap"]

    func wish(for spec: ContainerSpec, on host: HostCapabilities) -> Wish {
        // Without ram there is no VSwap and no bound; beside ram, swap that is left out is none.
        var swap = spec.ram == nil ? nil : spec.swap ?? 0
        var told = Wish()
        if let wanted = swap, wanted > 0, let reason = host.noSwapSpace {
            told = Wish(unsupported: [Unsupported(field: "swap", value: Self.text(wanted), reason: reason)])
            swap = 0
        }
        return host.wish(
            .memoryMax, field: "ram", value: Self.text(spec.ram), kernelValue: .init(bound: spec.ram), isDefault: spec.ram == nil)
            + host.wish(
                .swapMax, field: "swap", value: Self.text(swap), kernelValue: .init(bound: swap), isDefault: (swap ?? 0) == 0)
            + told
    }

    func observe(_ container: ContainerHandle) throws(KernelError) -> [Setting] {
        guard container.host.supports(.memoryMax) else { return [] }
        let limits = try container.group.memory()
        var settings = [
            container.host.setting(.memoryMax, field: "ram", value: Self.text(limits.max), kernelValue: .init(bound: limits.max))
        ]
        if container.host.supports(.swapMax) {
            settings.append(
                container.host.setting(
                    .swapMax, field: "swap", value: Self.text(limits.swap), kernelValue: .init(bound: limits.swap)))
        }
        return settings
    }

    /// Both at once: on cgroup v1 the order of the two writes depends on both (`openvz.md` 3.3).
    func apply(_ settings: [Setting], to container: ContainerHandle) throws(KernelError) {
        guard !settings.isEmpty else { return }
        var limits = try container.group.memory()
        for setting in settings {
            switch setting.field {
            case "ram": limits.max = setting.kernelValue.number
            default: limits.swap = setting.kernelValue.number
            }
        }
        try container.group.setMemory(max: limits.max, swap: limits.swap)
        container.slot?.note(memory: limits.max, swap: limits.swap)
    }

    /// A size as people write it: the largest unit that leaves it whole.
    static func text(_ bytes: Int64?) -> String {
        guard let bytes else { return "unlimited" }
        for (unit, size) in [("T", Int64(1) << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)]
        where bytes >= size && bytes % size == 0 {
            return "\(bytes / size)\(unit)"
        }
        return String(bytes)
    }
}
