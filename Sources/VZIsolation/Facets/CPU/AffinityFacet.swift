internal import VZKernel
internal import VZModel
internal import VZPlan

/// `cpumask` and `nodemask`: the CPUs that the container runs on, and the NUMA nodes of its memory (`openvz.md` section 2).
struct AffinityFacet: Facet {
    let fields = ["cpumask", "nodemask"]
    /// All that the host has now or ever gets: a word, so that it stays true when a CPU comes or goes.
    private static let all = Setting.Value.text("all")
    /// What a host without NUMA has.
    private static let onlyNode = NumberSet(text: "0")

    func wish(for spec: ContainerSpec, on host: HostCapabilities) -> Wish {
        Self.wish(.cpus, "cpumask", spec.cpumask, of: host.cpus, "CPUs", on: host)
            + Self.wish(.memoryNodes, "nodemask", spec.nodemask, of: host.memoryNodes, "NUMA nodes", on: host)
    }

    /// A mask with something that the host lacks is no wish at all: a container that runs keeps the mask that it has.
    private static func wish(
        _ setting: ControlGroupTree.Setting, _ field: String, _ mask: NumberSet, of available: NumberSet?, _ what: String,
        on host: HostCapabilities
    ) -> Wish {
        if host.supports(setting), mask != .all, let available, !mask.isSubset(of: available) {
            let reason = "this host has the \(what) \(available.text): \(field) stays as it is; name only those, or all"
            return Wish(unsupported: [Unsupported(field: field, value: mask.text, reason: reason)])
        }
        let isAll = mask == .all || mask == available
        return host.wish(
            setting, field: field, value: mask.text, kernelValue: isAll ? all : .text(mask.text), isDefault: mask == .all)
    }

    func observe(_ container: ContainerHandle) throws(KernelError) -> [Setting] {
        func setting(
            _ setting: ControlGroupTree.Setting, _ field: String, _ list: String?, of available: NumberSet?
        ) -> Setting {
            // The kernel's own spelling of a list differs from OpenVZ's in nothing, or is shown as it is.
            let set = list.flatMap { NumberSet(text: $0) }
            let text = set != nil && set == available ? nil : set?.text ?? list
            return container.host.setting(
                setting, field: field, value: text ?? "all", kernelValue: text.map(Setting.Value.text) ?? Self.all)
        }
        var settings: [Setting] = []
        if container.host.supports(.cpus) {
            settings.append(setting(.cpus, "cpumask", try container.group.cpus(), of: container.host.cpus))
        }
        if container.host.supports(.memoryNodes) {
            let nodes = container.host.memoryNodes
            // Of one node there is nothing to choose.
            let list = nodes != nil && nodes == Self.onlyNode ? nil : try container.group.memoryNodes()
            settings.append(setting(.memoryNodes, "nodemask", list, of: nodes))
        }
        return settings
    }

    func apply(_ settings: [Setting], to container: ContainerHandle) throws(KernelError) {
        for setting in settings {
            guard case .text(let text) = setting.kernelValue else {
                throw KernelError("set \(setting.field)", detail: "cannot understand \(setting.kernelValue)")
            }
            let list = setting.kernelValue == Self.all ? nil : text
            if setting.field == "cpumask" {
                try container.group.setCPUs(list)
            } else {
                try container.group.setMemoryNodes(list)
            }
        }
    }
}
