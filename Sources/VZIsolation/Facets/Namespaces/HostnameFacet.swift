internal import VZKernel
internal import VZModel
internal import VZPlan

/// `hostname`, held by the container's UTS namespace. A manifest that does not name one leaves it to the container.
struct HostnameFacet: Facet {
    let fields = ["hostname"]
    private static let kernelName = "kernel.hostname"

    func wish(for spec: ContainerSpec, on host: HostCapabilities) -> Wish {
        guard let name = spec.hostname else { return Wish() }
        return Wish(settings: [Self.setting(name)])
    }

    func observe(_ container: ContainerHandle) throws(KernelError) -> [Setting] {
        guard let process = container.process else { return [] }
        return [Self.setting(try process.hostname())]
    }

    func apply(_ settings: [Setting], to container: ContainerHandle) throws(KernelError) {
        guard let process = container.process, let name = settings.last?.value else { return }
        try process.setHostname(name)
    }

    private static func setting(_ name: String) -> Setting {
        Setting(field: "hostname", value: name, kernelName: kernelName, kernelValue: .text(name), phase: .process)
    }
}
