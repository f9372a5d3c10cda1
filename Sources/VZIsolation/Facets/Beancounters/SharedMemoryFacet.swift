internal import VZKernel
internal import VZModel
internal import VZPlan

/// `shmpages`: System V shared memory by kernel.shmall of the container's IPC namespace, which a program in the kernel keeps the
/// container's root from changing; and the size of its /dev/shm. What else is shared or in a tmpfs counts as RAM alone.
struct SharedMemoryFacet: Facet {
    static let field = "beancounters.shmpages"
    static let kernelName = "kernel.shmall"
    let fields = [field]

    func wish(for spec: ContainerSpec, on host: HostCapabilities) -> Wish {
        let bound = spec.beancounters[.shmpages]?.barrier
        if host.beancounters.byPrograms(.shmpages).isEnforced {
            return Wish(settings: [.bound(.shmpages, bound, kernelName: Self.kernelName)])
        }
        guard let bound, bound != BarrierLimit.unlimited else { return Wish() }
        return Wish(unsupported: [
            Unsupported(field: Self.field, value: String(bound), reason: host.beancounters.reason(.shmpages))
        ])
    }

    func observe(_ container: ContainerHandle) throws(KernelError) -> [Setting] {
        guard let process = container.process, let slot = container.slot else { return [] }
        // What was never bound need not be asked for at every look.
        if slot[.shmpages].bounds.barrier == BarrierLimit.unlimited {
            return [.bound(.shmpages, nil, kernelName: Self.kernelName)]
        }
        let pages = Int64(try process.ipcControl("kernel/shmall")).flatMap { $0 < Self.unbound ? $0 : nil }
        return [.bound(.shmpages, pages, kernelName: Self.kernelName)]
    }

    /// What a new IPC namespace has (SHMALL of linux/shm.h), as a number with a sign; more than that is no bound.
    private static let unbound = Int64.max >> 1

    /// The text for a bound.
    static func text(_ pages: Int64) -> String { String(min(pages, unbound)) }

    func apply(_ settings: [Setting], to container: ContainerHandle) throws(KernelError) {
        guard let setting = settings.last else { return }
        let pages = setting.kernelValue.number ?? BarrierLimit.unlimited
        container.slot?.set(.shmpages, BarrierLimit(both: pages))
        guard let process = container.process else { return }
        try process.setIPCControl("kernel/shmall", to: Self.text(pages), root: try process.firstID())
        let root = try Descriptor.open("/proc/\(process.pid)/root", Descriptor.pathOnly)
        // The container may have unmounted it, or mounted something over it: that is RAM of its own then.
        guard let place = try? root.openInRoot("dev/shm", Descriptor.pathOnly) else { return }
        try? MountTree.reconfigure(place, [("size", ContainerDevices.sharedMemorySize(pages))])
    }
}
