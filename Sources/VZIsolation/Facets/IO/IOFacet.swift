internal import VZKernel
internal import VZModel
internal import VZPlan

/// `ioprio`, the container's share of a disk (`openvz.md` section 2).
struct IOFacet: Facet {
    let fields = ["ioprio"]
    /// The weight of each priority 0…7, as OpenVZ set it.
    static let weights: [Int64] = [320, 365, 410, 460, 500, 550, 600, 640]

    func wish(for spec: ContainerSpec, on host: HostCapabilities) -> Wish {
        guard Self.weights.indices.contains(spec.ioprio) else { return Wish() }
        return host.wish(
            .ioWeight, field: "ioprio", value: String(spec.ioprio), kernelValue: .number(Self.weights[spec.ioprio]),
            isDefault: spec.ioprio == ContainerSpec.defaultIOPriority)
    }

    func observe(_ container: ContainerHandle) throws(KernelError) -> [Setting] {
        guard container.host.supports(.ioWeight), let weight = try container.group.ioWeight() else { return [] }
        return [
            container.host.setting(.ioWeight, field: "ioprio", value: Self.ioprio(weight: weight), kernelValue: .number(weight))
        ]
    }

    func apply(_ settings: [Setting], to container: ContainerHandle) throws(KernelError) {
        for setting in settings {
            guard let weight = setting.kernelValue.number else { continue }
            try container.group.setIOWeight(weight)
        }
    }

    /// The priority that a weight stands for; a weight of nobody's table is shown as such.
    static func ioprio(weight: Int64) -> String { weights.firstIndex(of: weight).map(String.init) ?? "weight \(weight)" }
}
