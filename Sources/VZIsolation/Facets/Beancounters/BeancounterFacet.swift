internal import VZKernel
internal import VZModel
internal import VZPlan

/// The user beancounters (`openvz.md` section 1), but for those that are guarantees: numproc by the pids controller, the others by
/// programs in the kernel that charge the table, and lockedpages by vz-keeper.
struct BeancounterFacet: Facet {
    /// Those that programs hold, where they can.
    static let charged: [Beancounter] = [
        .kmemsize, .privvmpages, .numtcpsock, .numflock, .numsiginfo, .tcpsndbuf, .tcprcvbuf, .othersockbuf, .dgramrcvbuf,
        .numothersock, .numfile, .numiptent, .lockedpages,
    ]
    /// Those that are only told of.
    private static let told: [Beancounter] = [.dcachesize]
    private static let numproc = "beancounters.numproc"

    let fields = [numproc] + (charged + told).map { "beancounters.\($0.rawValue)" }

    func wish(for spec: ContainerSpec, on host: HostCapabilities) -> Wish {
        // numproc is enforced at its barrier, which equals its limit.
        let bound = spec.beancounters[.numproc].flatMap { $0.barrier == BarrierLimit.unlimited ? nil : $0.barrier }
        // More processes than the kernel has numbers for are no bound at all.
        let kernel = bound.map { min($0, host.pidsMaxRange.upperBound) }
        var wish = host.wish(
            .pidsMax, field: Self.numproc, value: bound.map(String.init) ?? "unlimited", kernelValue: .init(bound: kernel),
            isDefault: bound == nil)
        for beancounter in Self.charged + Self.told {
            let bounds = Self.bounds(of: beancounter, in: spec)
            if host.beancounters.byPrograms(beancounter).isEnforced {
                wish.settings.append(Self.setting(beancounter, bounds))
            } else if bounds != Self.free {
                let (field, value) = Self.words(beancounter, bounds, in: spec)
                wish.unsupported.append(Unsupported(field: field, value: value, reason: host.beancounters.reason(beancounter)))
            }
        }
        return wish
    }

    private static let free = BarrierLimit(both: BarrierLimit.unlimited)

    /// What a manifest says of a beancounter, itself or by vm_overcommit.
    static func bounds(of beancounter: Beancounter, in spec: ContainerSpec) -> BarrierLimit {
        if let bounds = spec.beancounters[beancounter] { return bounds }
        guard beancounter == .privvmpages, let factor = spec.vmOvercommit, factor > 0, let ram = spec.ram else { return free }
        let pages = Double(ram + (spec.swap ?? 0)) * factor / 4096
        return pages < 0x1p62 ? BarrierLimit(both: Int64(pages)) : free
    }

    /// The field that asked for it, and its value.
    private static func words(_ beancounter: Beancounter, _ bounds: BarrierLimit, in spec: ContainerSpec) -> (String, String) {
        if spec.beancounters[beancounter] == nil, let factor = spec.vmOvercommit { return ("vm_overcommit", "\(factor)") }
        return ("beancounters.\(beancounter.rawValue)", bounds.text)
    }

    func observe(_ container: ContainerHandle) throws(KernelError) -> [Setting] {
        var settings: [Setting] = []
        if container.host.supports(.pidsMax) {
            let bound = try container.group.pidsMax()
            settings.append(
                container.host.setting(
                    .pidsMax, field: Self.numproc, value: bound.map(String.init) ?? "unlimited", kernelValue: .init(bound: bound)))
        }
        guard let slot = container.slot else { return settings }
        for beancounter in Self.charged where container.host.beancounters.byPrograms(beancounter).isEnforced {
            var bounds = slot[beancounter].bounds
            // What nobody holds is no bound.
            if beancounter == .lockedpages, bounds != Self.free, container.process != nil, try !container.isKept {
                bounds = Self.free
            }
            settings.append(Self.setting(beancounter, bounds))
        }
        return settings
    }

    func apply(_ settings: [Setting], to container: ContainerHandle) throws(KernelError) {
        var slot = container.slot
        if slot == nil, container.process != nil, settings.contains(where: { $0.field != Self.numproc }) {
            slot = try container.adopt()
        }
        for setting in settings {
            if setting.field == Self.numproc {
                try container.group.setPIDsMax(setting.kernelValue.number)
                slot?.set(.numproc, BarrierLimit(both: setting.kernelValue.number ?? BarrierLimit.unlimited))
            } else if let beancounter = Beancounter(rawValue: String(setting.kernelName.dropFirst(Self.prefix.count))) {
                slot?.set(beancounter, Self.bounds(setting.kernelValue))
                if beancounter == .lockedpages, let slot, container.process != nil { try container.rebalanceLockedPages(slot) }
            }
        }
    }

    // MARK: In the kernel's terms

    private static let prefix = "ubc."

    /// What is unlimited is set by the start itself, and not worth a line in its plan.
    private static let unlimited = Dictionary(
        uniqueKeysWithValues: charged.map { beancounter in
            (
                beancounter,
                Setting(
                    field: "beancounters.\(beancounter.rawValue)", value: "unlimited", kernelName: prefix + beancounter.rawValue,
                    kernelValue: .unlimited, phase: .process)
            )
        })

    private static func setting(_ beancounter: Beancounter, _ bounds: BarrierLimit) -> Setting {
        if bounds == free, let setting = unlimited[beancounter] { return setting }
        return Setting(
            field: "beancounters.\(beancounter.rawValue)", value: bounds.text, kernelName: prefix + beancounter.rawValue,
            kernelValue: .text("\(bounds.barrier):\(bounds.limit)"))
    }

    private static func bounds(_ value: Setting.Value) -> BarrierLimit {
        guard case .text(let text) = value else { return free }
        let numbers = text.split(separator: ":").compactMap { Int64($0) }
        return numbers.count == 2 ? BarrierLimit(barrier: numbers[0], limit: numbers[1]) : free
    }
}

extension BarrierLimit {
    /// As a manifest has it: one number where both are alike.
    var text: String {
        func number(_ value: Int64) -> String { value == Self.unlimited ? "unlimited" : String(value) }
        return barrier == limit ? number(limit) : "\(number(barrier)):\(number(limit))"
    }
}
