internal import VZKernel
internal import VZModel
internal import VZPlan

/// `features: [lxcfs]`: whether a container sees its own numbers in /proc/meminfo and its like, or the host's.
///
/// Where the host has lxcfs that is so unless the manifest says `lxcfs:off`.
struct LxcfsFacet: Facet {
    let fields = ["features"]
    static let feature = "lxcfs"
    static let off = "lxcfs:off"
    static let kernelName = LxcfsService.type

    func wish(for spec: ContainerSpec, on host: HostCapabilities) -> Wish {
        let isAsked = spec.features.contains(Self.feature)
        guard let lxcfs = host.lxcfs else {
            let reason = "the version of vz that looked at the host did not know it; look with this one"
            return isAsked ? Wish(unsupported: [Unsupported(field: "features", value: Self.feature, reason: reason)]) : Wish()
        }
        if spec.features.contains(Self.off) { return Wish(settings: [Self.setting(LxcfsView.none)]) }
        if let device = lxcfs.device { return Wish(settings: [Self.setting(device)]) }
        // What it left in a container when it ended cannot be read any more: the kernel's own files are better than that.
        let told = Unsupported(field: "features", value: Self.feature, reason: lxcfs.unsupported ?? "lxcfs cannot be used")
        return Wish(settings: [Self.setting(LxcfsView.none)], unsupported: isAsked ? [told] : [])
    }

    func observe(_ container: ContainerHandle) throws(KernelError) -> [Setting] {
        guard container.host.lxcfs != nil, let process = container.process else { return [] }
        // What cannot be read is asked for again at the next look.
        let text = try container.views.text(of: container.ctid, process) {
            (try? Labels.lastSet(on: container.group))?[Self.kernelName] == .text($0)
        }
        return [Self.setting(text)]
    }

    func apply(_ settings: [Setting], to container: ContainerHandle) throws(KernelError) {
        guard let process = container.process, let lxcfs = container.host.lxcfs,
            let setting = settings.last(where: { $0.kernelName == Self.kernelName })
        else { return }
        container.views.forget(container.ctid)
        let mounts = setting.kernelValue == .text(LxcfsView.none) ? nil : try lxcfs.mounts()
        try Launcher.perform(try LxcfsView(of: process).steps(showing: mounts, in: process))
    }

    static func isWanted(by wish: Wish) -> Bool {
        wish.settings.contains { $0.kernelName == kernelName && $0.kernelValue != .text(LxcfsView.none) }
    }

    /// - Parameter device: `LxcfsView.text`.
    private static func setting(_ device: String) -> Setting {
        let isPart = device.contains(" ")
        return Setting(
            field: "features", value: device == LxcfsView.none ? off : isPart ? "\(feature) in part" : feature,
            kernelName: kernelName, kernelValue: .text(device),
            phase: .process)
    }
}
