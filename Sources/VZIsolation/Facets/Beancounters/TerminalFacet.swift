internal import VZKernel
internal import VZModel
internal import VZPlan

/// `numpty`, held by the devpts that a container is given at its start (its option `max`).
struct TerminalFacet: Facet {
    static let field = "beancounters.numpty"
    static let kernelName = "devpts.max"
    let fields = [field]

    func wish(for spec: ContainerSpec, on host: HostCapabilities) -> Wish {
        let setting = Setting.bound(.numpty, spec.beancounters[.numpty]?.barrier, kernelName: Self.kernelName)
        // Where nobody looked for it, what is not bound needs not to be unbound.
        if host.beancounters == .unknown && setting.kernelValue == .unlimited { return Wish() }
        return Wish(settings: [setting])
    }

    func observe(_ container: ContainerHandle) throws(KernelError) -> [Setting] {
        guard let process = container.process else { return [] }
        // What was never bound need not be asked for at every look.
        if let slot = container.slot, slot[.numpty].bounds.barrier == BarrierLimit.unlimited {
            return [.bound(.numpty, nil, kernelName: Self.kernelName)]
        }
        return [.bound(.numpty, try Self.most(in: process), kernelName: Self.kernelName)]
    }

    func apply(_ settings: [Setting], to container: ContainerHandle) throws(KernelError) {
        guard let most = settings.last?.kernelValue.number ?? settings.last.map({ _ in BarrierLimit.unlimited }) else { return }
        container.slot?.set(.numpty, BarrierLimit(both: most))
        guard let process = container.process else { return }
        let root = try Descriptor.open("/proc/\(process.pid)/root", Descriptor.pathOnly)
        let place = try root.openInRoot("dev/pts", Descriptor.pathOnly)
        try MountTree.reconfigure(place, ContainerDevices.terminalOptions(base: try process.firstID(), most: most))
        // Something mounted over it would have been changed instead.
        let now = try Self.most(in: process) ?? BarrierLimit.unlimited
        if now != most && most <= ContainerDevices.mostTerminals {
            throw KernelError(
                "set max=\(most) of devpts of CT \(container.ctid)",
                detail: "the container has mounted something over its /dev/pts; unmount that, or restart the container")
        }
    }

    /// The bound of the devpts that was mounted first: the one that we gave it.
    private static func most(in process: PidFD) throws(KernelError) -> Int64? {
        let mounts = MountEntry.list(try KernelFile.read("/proc/\(process.pid)/mountinfo"))
        let ours = mounts.first { $0.type == "devpts" && $0.mountPoint == "/dev/pts" }
        return ours?.options.compactMap { $0.hasPrefix("max=") ? Int64($0.dropFirst(4)) : nil }.first
    }
}

extension Setting {
    /// A beancounter that the kernel holds by one number: unlimited it is set by the start itself, and not worth a line in its plan.
    static func bound(_ beancounter: Beancounter, _ bound: Int64?, kernelName: String) -> Setting {
        let bound = bound == BarrierLimit.unlimited ? nil : bound
        return Setting(
            field: "beancounters.\(beancounter.rawValue)", value: bound.map(String.init) ?? "unlimited", kernelName: kernelName,
            kernelValue: .init(bound: bound), phase: bound == nil ? .process : .group)
    }
}

extension PidFD {
    /// The host's number of user 0 of the process' user namespace.
    func firstID() throws(KernelError) -> UInt32 {
        let map = try KernelFile.read("/proc/\(pid)/uid_map").split { $0 == " " || $0 == "\n" }
        guard map.count >= 3, map[0] == "0", let first = UInt32(map[1]), isRunning else {
            throw KernelError("read the user ids of process \(pid)", detail: "it has ended, or maps no user 0")
        }
        return first
    }
}
