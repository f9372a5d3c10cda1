public import VZModel

/// Containers as OpenVZ's `CTID.conf`, in the form in which OpenVZ's own tools save it (`openvz.md`, appendix B).
///
/// `OpenVZImport` reads it back as the same spec, so far as OpenVZ can say it; what it cannot is told in the notes. Two spellings
/// of one thing become one: swap left out beside ram is written, and read back, as 0, and a bound that leaving it out means is not
/// read back.
public enum OpenVZExport {
    /// The text of a configuration, and what of the container it does not say.
    public struct Result: Sendable {
        /// The lines, each `KEY="value"`. The CTID is told by the name of the file alone.
        public var conf: String
        /// `spec.env: OpenVZ has no key for it`.
        public var notes: [String]
    }

    /// The text of the container's configuration.
    public static func conf(_ spec: ContainerSpec) -> String { export(spec).conf }

    /// The text of the container's configuration, with what it leaves out.
    public static func export(_ spec: ContainerSpec) -> Result {
        var writer = ConfWriter()
        writer.writeIdentity(spec)
        writer.writeMemory(spec)
        writer.writeCPU(spec)
        writer.writeDisk(spec)
        writer.writeNetwork(spec)
        writer.writeInside(spec)
        writer.tellTheRest(spec)
        return Result(conf: writer.lines.joined(separator: "\n") + "\n", notes: writer.notes)
    }
}

/// Gathers the lines of a configuration.
private struct ConfWriter {
    private(set) var lines: [String] = []
    private(set) var notes: [String] = []

    private mutating func put(_ key: String, _ value: String, _ field: String = "") {
        guard !value.contains("\"") else {
            note(field, "OpenVZ cannot quote a quotation mark; it is left out")
            return
        }
        lines.append("\(key)=\"\(value)\"")
    }

    private mutating func note(_ field: String, _ reason: String) { notes.append("\(field): \(reason)") }

    // MARK: - Identity

    mutating func writeIdentity(_ spec: ContainerSpec) {
        put("NAME", spec.name)
        if let hostname = spec.hostname { put("HOSTNAME", hostname) }
        if let description = spec.description { put("DESCRIPTION", description, "spec.description") }
        if let template = spec.template { put("OSTEMPLATE", template) }
        if let onboot = spec.onboot { put("ONBOOT", onboot ? "yes" : "no") }
        if let order = spec.bootorder { put("BOOTORDER", "\(order)") }
        if spec.stopTimeout != 120 { put("STOP_TIMEOUT", "\(spec.stopTimeout)") }
        if spec.state == .stopped { put("DISABLED", "yes") }
        if spec.state != .stopped, spec.state != .running {
            note("spec.state", "OpenVZ's file does not say that a container is \(spec.state.rawValue)")
        }
    }

    // MARK: - Memory

    mutating func writeMemory(_ spec: ContainerSpec) {
        for beancounter in Beancounter.allCases {
            if let bounds = bounds(of: beancounter, in: spec) { put(beancounter.rawValue.uppercased(), Self.text(bounds)) }
        }
        if let factor = spec.vmOvercommit {
            put("VM_OVERCOMMIT", Double(Int64(exactly: factor) ?? -1) == factor ? "\(Int64(factor))" : "\(factor)")
        }
    }

    /// What is written for a beancounter; without ram all 20, since OpenVZ does not start a container otherwise.
    private mutating func bounds(of beancounter: Beancounter, in spec: ContainerSpec) -> BarrierLimit? {
        guard let ram = spec.ram else {
            if let given = spec.beancounters[beancounter] { return given }
            return beancounter == .swappages ? nil : ConfImporter.leftOut(beancounter, withRAM: false)
        }
        switch beancounter {
        case .physpages:
            var pages = RuleOperands.pages(ram)
            if pages == RuleOperands.unlimited32 {
                pages += 1
                note("spec.ram", "\(RuleOperands.unlimited32) pages are unlimited to OpenVZ; one page more is written")
            }
            return BarrierLimit(barrier: 0, limit: pages)
        case .swappages:
            let swap = spec.swap ?? 0
            return BarrierLimit(barrier: 0, limit: swap >= Size.largest ? BarrierLimit.unlimited : RuleOperands.pages(swap))
        default: return spec.beancounters[beancounter]
        }
    }

    /// One number where both are alike.
    private static func text(_ bounds: BarrierLimit) -> String {
        bounds.barrier == bounds.limit ? RuleOperands.text(bounds.barrier) : RuleOperands.text(bounds)
    }

    // MARK: - CPU and disk

    mutating func writeCPU(_ spec: ContainerSpec) {
        put("CPUUNITS", "\(spec.cpuunits)")
        if spec.cpulimit != 0 { put("CPULIMIT", "\(spec.cpulimit)") }
        if spec.cpus != 0 { put("CPUS", "\(spec.cpus)") }
        // OpenVZ takes NODEMASK only beside CPUMASK.
        if spec.cpumask != .all || spec.nodemask != .all { put("CPUMASK", spec.cpumask.text) }
        if spec.nodemask != .all { put("NODEMASK", spec.nodemask.text) }
        if spec.ioprio != ContainerSpec.defaultIOPriority { put("IOPRIO", "\(spec.ioprio)") }
        if spec.iolimit != 0 { put("IOLIMIT", "\(spec.iolimit)") }
        if spec.iopslimit != 0 { put("IOPSLIMIT", "\(spec.iopslimit)") }
    }

    mutating func writeDisk(_ spec: ContainerSpec) {
        put("VE_LAYOUT", spec.layout == .dir ? "simfs" : "ploop")
        put("DISK_QUOTA", spec.diskspace == nil && spec.diskinodes == nil ? "no" : "yes")
        if let space = spec.diskspace {
            put("DISKSPACE", "\(blocks(space.barrier)):\(blocks(space.limit))")
            if [space.barrier, space.limit].contains(where: { $0 != BarrierLimit.unlimited && $0 % 1024 != 0 }) {
                note("spec.diskspace", "OpenVZ counts in KiB; it is rounded up")
            }
        } else if spec.diskinodes != nil, spec.layout == .dir {
            put("DISKSPACE", "\(blocks(BarrierLimit.unlimited)):\(blocks(BarrierLimit.unlimited))")
        }
        if let inodes = spec.diskinodes { put("DISKINODES", "\(inodes.barrier):\(inodes.limit)") }
        put("QUOTATIME", "\(spec.quotatime)")
        if spec.quotaugidlimit != 0 { put("QUOTAUGIDLIMIT", "\(spec.quotaugidlimit)") }
    }

    /// KiB. The largest number of them is no limit: there is no word for that.
    private func blocks(_ bytes: Int64) -> Int64 {
        bytes > Int64.max - 1024 ? Int64.max / 1024 : (bytes + 1023) / 1024
    }

    // MARK: - Network

    mutating func writeNetwork(_ spec: ContainerSpec) {
        for (key, field, list) in [
            ("NAMESERVER", "spec.nameserver", spec.nameserver), ("SEARCHDOMAIN", "spec.searchdomain", spec.searchdomain),
        ] {
            switch list {
            case .inherit: put(key, "inherit")
            case .list([]): note(field, "OpenVZ has no word for an empty list")
            case .list(let words): put(key, words.joined(separator: " "))
            case nil: break
            }
        }
        if !spec.network.venet.isEmpty { put("IP_ADDRESS", spec.network.venet.joined(separator: " ")) }
        if !spec.network.veth.isEmpty { put("NETIF", spec.network.veth.map(Self.text).joined(separator: ";")) }
        if spec.network.veth.contains(where: { !$0.address.isEmpty }) {
            note("spec.network.veth", "ipadd, the addresses, is read by Virtuozzo only; OpenVZ legacy passes over it")
        }
        if spec.network.veth.contains(where: { $0.mac == nil }) {
            note("spec.network.veth", "OpenVZ gives an interface without a MAC address a new one whenever it reads the file")
        }
    }

    private static func text(_ interface: EthernetInterface) -> String {
        var parts = ["ifname=\(interface.name)"]
        if let bridge = interface.bridge { parts.append("bridge=\(bridge)") }
        if let mac = interface.mac { parts.append("mac=\(mac.uppercased())") }
        if let name = interface.hostName { parts.append("host_ifname=\(name)") }
        if let mac = interface.hostMAC { parts.append("host_mac=\(mac.uppercased())") }
        if !interface.macFilter { parts.append("mac_filter=off") }
        return (parts + interface.address.map { "ipadd=\($0)" }).joined(separator: ",")
    }

    // MARK: - Inside

    mutating func writeInside(_ spec: ContainerSpec) {
        put("NETFILTER", spec.netfilter.rawValue)
        let changes = spec.capabilities.add.map { ($0, "on") } + spec.capabilities.drop.map { ($0, "off") }
        let words = OpenVZNames.capabilities.flatMap { name in
            changes.filter { $0.0 == name }.map { "\(name.uppercased()):\($0.1)" }
        }
        if !words.isEmpty { put("CAPABILITY", words.joined(separator: " ")) }
        for (name, _) in changes where !OpenVZNames.capabilities.contains(name) {
            note("spec.capabilities", "OpenVZ does not know \(name)")
        }
        let features = OpenVZNames.features.filter(spec.features.contains).map { "\($0):on" }
        if !features.isEmpty { put("FEATURES", features.joined(separator: " ")) }
        for feature in spec.features where feature.hasPrefix("lxcfs") {
            note("spec.features", "OpenVZ does not know \(feature): its kernel shows a container its own numbers always")
        }
        if !spec.devices.isEmpty { put("DEVICES", spec.devices.joined(separator: " ")) }
        let nodes = OpenVZNames.nodes.sorted { $0.value > $1.value }.filter { spec.features.contains($0.value) }.map {
            "\($0.key):rw"
        }
        if !nodes.isEmpty { put("DEVNODES", nodes.joined(separator: " ")) }
    }

    // MARK: - What OpenVZ cannot say

    mutating func tellTheRest(_ spec: ContainerSpec) {
        let standard = ContainerSpec(name: spec.name)
        let noKey = "OpenVZ has no key for it"
        if spec.`init` != standard.`init` { note("spec.init", noKey) }
        if spec.env != standard.env { note("spec.env", noKey) }
        if spec.mounts != standard.mounts { note("spec.mounts", "OpenVZ has no key for it; a script 101.mount can do it") }
        if spec.lifecycle != standard.lifecycle { note("spec.lifecycle", noKey) }
    }
}
