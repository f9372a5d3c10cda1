internal import VZKernel
internal import VZModel
internal import VZPlan

/// The user beancounters (`openvz.md` section 1): numproc, by the pids controller.
struct BeancounterFacet: Facet {
    let fields = ["beancounters.numproc"]

    func wish(for spec: ContainerSpec, on host: HostCapabilities) -> Wish {
        // numproc is enforced at its barrier, which equals its limit.
        let bound = spec.beancounters[.numproc].flatMap { $0.barrier == BarrierLimit.unlimited ? nil : $0.barrier }
        // More processes than the kernel has numbers for are no bound at all.
        let kernel = bound.map { min($0, host.pidsMaxRange.upperBound) }
        return host.wish(
            .pidsMax, field: fields[0], value: bound.map(String.init) ?? "unlimited", kernelValue: .init(bound: kernel),
            isDefault: bound == nil)
    }

    func observe(_ container: ContainerHandle) throws(KernelError) -> [Setting] {
        guard container.host.supports(.pidsMax) else { return [] }
        let bound = try container.group.pidsMax()
        return [
            container.host.setting(
                .pidsMax, field: fields[0], value: bound.map(String.init) ?? "unlimited", kernelValue: .init(bound: bound))
        ]
    }

    func apply(_ settings: [Setting], to container: ContainerHandle) throws(KernelError) {
        for setting in settings { try container.group.setPIDsMax(setting.kernelValue.number) }
    }
}
