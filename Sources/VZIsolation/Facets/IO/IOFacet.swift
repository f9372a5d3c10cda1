internal import VZKernel
internal import VZModel
internal import VZPlan

/// `ioprio`, the container's share of a disk, `iolimit` and `iopslimit`, its bounds (`openvz.md` section 2).
///
/// OpenVZ counts reads and writes together; the kernel has a bound for each direction, and each gets the whole.
struct IOFacet: Facet {
    let fields = ["ioprio", "iolimit", "iopslimit"]
    /// The weight of each priority 0…7, as OpenVZ set it.
    static let weights: [Int64] = [320, 365, 410, 460, 500, 550, 600, 640]

    func wish(for spec: ContainerSpec, on host: HostCapabilities) -> Wish {
        weightWish(for: spec, on: host)
            + limitWish(
                .ioBytes, field: "iolimit", spec.iolimit == 0 ? nil : spec.iolimit, asked: MemoryFacet.text(spec.iolimit), on: host)
            + limitWish(
                .ioOperations, field: "iopslimit", spec.iopslimit == 0 ? nil : Int64(spec.iopslimit), asked: "\(spec.iopslimit)",
                on: host)
    }

    private func weightWish(for spec: ContainerSpec, on host: HostCapabilities) -> Wish {
        guard Self.weights.indices.contains(spec.ioprio) else { return Wish() }
        let isDefault = spec.ioprio == ContainerSpec.defaultIOPriority
        let weight = host.wish(
            .ioWeight, field: "ioprio", value: String(spec.ioprio), kernelValue: .number(Self.weights[spec.ioprio]),
            isDefault: isDefault)
        // Nobody pays for sharing who does not ask for a share: it is switched on with the first that does.
        guard !isDefault, weight.unsupported.isEmpty, let storage = host.storage else { return weight }
        if case .nothing(let reason) = storage.sharing {
            return weight + Wish(unsupported: [Unsupported(field: "ioprio", value: String(spec.ioprio), reason: reason)])
        }
        guard let sharing = Sharing(storage.sharing) else { return weight }
        return weight + Wish(settings: [sharing.setting(sharing.devices)])
    }

    private func limitWish(
        _ setting: ControlGroupTree.Setting, field: String, _ limit: Int64?, asked: String, on host: HostCapabilities
    ) -> Wish {
        if let reason = host.storage.map(\.unlimited) ?? "what the root lies on was not looked at; look with this version of vz" {
            return limit == nil ? Wish() : Wish(unsupported: [Unsupported(field: field, value: asked, reason: reason)])
        }
        let value = Self.kernelValue(limit, setting)
        return host.wish(setting, field: field, value: Self.text(value, setting), kernelValue: value, isDefault: limit == nil)
    }

    /// The kernel's largest number of operations is its word for none.
    private static func kernelValue(_ limit: Int64?, _ setting: ControlGroupTree.Setting) -> Setting.Value {
        .init(bound: setting == .ioOperations && limit ?? 0 >= UInt32.max ? nil : limit)
    }

    /// Said with every plan: it is not OpenVZ's one budget.
    private static func text(_ value: Setting.Value, _ setting: ControlGroupTree.Setting) -> String {
        switch value {
        case .unlimited: "0"
        case .number(let n): "\(setting == .ioBytes ? MemoryFacet.text(n) : String(n)) each for reads and writes"
        case .text(let text): text
        }
    }

    func observe(_ container: ContainerHandle) throws(KernelError) -> [Setting] {
        let host = container.host.host(of: container.ctid.description)
        var settings: [Setting] = []
        if host.supports(.ioWeight), let weight = try container.group.ioWeight() {
            settings.append(
                host.setting(.ioWeight, field: "ioprio", value: Self.ioprio(weight: weight), kernelValue: .number(weight)))
        }
        guard let storage = host.storage else { return settings }
        if let sharing = Sharing(storage.sharing) {
            settings.append(sharing.setting(try sharing.active(container.group.tree)))
        }
        guard storage.unlimited == nil, host.supports(.ioBytes) else { return settings }
        let limits = try container.group.ioLimits()
        for (setting, field) in [(ControlGroupTree.Setting.ioBytes, "iolimit"), (.ioOperations, "iopslimit")]
        where host.supports(setting) {
            let value = Self.observed(setting, limits, on: storage.stack.tops)
            settings.append(host.setting(setting, field: field, value: Self.text(value, setting), kernelValue: value))
        }
        return settings
    }

    /// One number when every device of the root has it for both directions and no other device has any; else all that there is.
    static func observed(
        _ setting: ControlGroupTree.Setting, _ limits: [String: IOLimits], on devices: [BlockDevice]
    ) -> Setting.Value {
        func pair(_ limits: IOLimits?) -> [Int64?] {
            guard let limits else { return [nil, nil] }
            return setting == .ioBytes
                ? [limits.readBytes, limits.writeBytes] : [limits.readOperations, limits.writeOperations]
        }
        let numbers = devices.map(\.number)
        let elsewhere = limits.keys.filter { !numbers.contains($0) && pair(limits[$0]) != [nil, nil] }
        let values = Set(numbers.flatMap { pair(limits[$0]) })
        if elsewhere.isEmpty, values.count == 1, let one = values.first { return .init(bound: one) }
        let parts = (numbers + elsewhere).sorted().map { number in
            "\(number) " + pair(limits[number]).map { $0.map(String.init) ?? "max" }.joined(separator: "/")
        }
        return .text(parts.joined(separator: ", "))
    }

    func apply(_ settings: [Setting], to container: ContainerHandle) throws(KernelError) {
        let host = container.host.host(of: container.ctid.description)
        guard let storage = host.storage else { return try setWeights(settings, container.group) }
        try setWeights(settings, container.group)
        try setLimits(settings.filter { $0.field != "ioprio" }, storage.stack.tops.map(\.number), container.group)
        // Last: a disk may take some seconds to measure.
        if let sharing = Sharing(storage.sharing), settings.contains(where: { $0.kernelName == sharing.kernelName }) {
            try sharing.switchOn(container.group.tree, container.paths, measuring: try Self.place(of: container))
        }
    }

    /// A directory on the disks that a container shares: another file system than vz' own state, as often as not.
    private static func place(of container: ContainerHandle) throws(KernelError) -> String {
        let (paths, ctid) = (container.paths, container.ctid.description)
        return try container.host.otherStorage[ctid] == nil
            ? BlockDeviceReader.nearest(paths.containers) : "\(paths.containers)/\(ctid)/root"
    }

    private func setWeights(_ settings: [Setting], _ group: ControlGroup) throws(KernelError) {
        for setting in settings where setting.field == "ioprio" {
            if let weight = setting.kernelValue.number { try group.setIOWeight(weight) }
        }
    }

    private func setLimits(_ settings: [Setting], _ numbers: [String], _ group: ControlGroup) throws(KernelError) {
        if settings.isEmpty { return }
        let limits = try group.ioLimits()
        for setting in settings {
            let isBytes = setting.field == "iolimit"
            // What an earlier device of the root was given is taken away. A new group has no limits, and needs no words for it.
            for number in Set(limits.keys).union(numbers) {
                let limit = numbers.contains(number) ? setting.kernelValue.number : nil
                let now = limits[number] ?? IOLimits()
                let pair = isBytes ? [now.readBytes, now.writeBytes] : [now.readOperations, now.writeOperations]
                if pair != [limit, limit] { try Self.limit(limit, isBytes, on: number, group) }
            }
        }
    }

    private static func limit(_ limit: Int64?, _ isBytes: Bool, on number: String, _ group: ControlGroup) throws(KernelError) {
        if isBytes { try group.setIOBytes(limit, on: number) } else { try group.setIOOperations(limit, on: number) }
    }

    /// The priority that a weight stands for; a weight of nobody's table is shown as such.
    static func ioprio(weight: Int64) -> String { weights.firstIndex(of: weight).map(String.init) ?? "weight \(weight)" }
}

/// What makes weights act, as a setting of each container that asks for a share: drift of it is put back like any other.
private struct Sharing {
    let devices: [BlockDevice]
    let isIOCost: Bool
    var kernelName: String { isIOCost ? "io.cost.qos" : "bfq strict_guarantees" }

    init?(_ sharing: RootStorage.Sharing) {
        switch sharing {
        case .ioCost(let devices): (self.devices, isIOCost) = (devices, true)
        case .bfq(let devices): (self.devices, isIOCost) = (devices, false)
        case .nothing: return nil
        }
    }

    func setting(_ active: [BlockDevice]) -> Setting {
        let names = active.map(\.name).joined(separator: ",")
        return Setting(
            field: "ioprio", value: names.isEmpty ? "weights act nowhere" : "weights act on \(names)", kernelName: kernelName,
            kernelValue: .text(names.isEmpty ? "off" : "\(names) on"))
    }

    /// Those of the devices on which it is switched on.
    func active(_ tree: ControlGroupTree) throws(KernelError) -> [BlockDevice] {
        if !isIOCost { return devices.filter { BFQ.keepsToWeights(on: $0) == true } }
        let numbers = try tree.ioCostDevices()
        return devices.filter { numbers.contains($0.number) }
    }

    /// - Parameter place: a directory on the disks.
    func switchOn(_ tree: ControlGroupTree, _ paths: NodePaths, measuring place: String) throws(KernelError) {
        let active = try active(tree)
        for device in devices where !active.contains(device) {
            guard isIOCost else {
                try BFQ.keepToWeights(on: device)
                continue
            }
            let file = IOCostFile(path: paths.ioCost)
            var model = try file.model(of: device)
            if model == nil {
                // A little below it: where the disk comes to its end before the model does, its own queue shares it, and not the weights.
                let measured = try DiskMeasurement.run(in: place).scaled(by: 0.9)
                try file.add(measured, of: device)
                model = measured
            }
            if let model { try tree.enableIOCost(on: device, model: model) }
        }
    }
}
