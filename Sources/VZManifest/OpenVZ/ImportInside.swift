internal import VZModel

// The keys about the network and about what a container may do inside.
extension ConfImporter {
    static let insideHandlers: [String: Handler] = [
        "NAMESERVER": resolver(\.nameserver, .address, "spec.nameserver"),
        "SEARCHDOMAIN": resolver(\.searchdomain, .domain, "spec.searchdomain"),
        "IP_ADDRESS": { importer, assignment throws(ConfProblem) in
            importer.spec.network.venet = try importer.addresses(assignment)
            return "spec.network.venet"
        },
        "NETIF": { importer, assignment throws(ConfProblem) in
            importer.spec.network.veth = try importer.interfaces(assignment)
            return "spec.network.veth"
        },
        "NETFILTER": { importer, assignment throws(ConfProblem) in
            guard let mode = NetfilterMode(rawValue: assignment.value) else {
                let modes = NetfilterMode.allCases.map(\.rawValue).joined(separator: ", ")
                throw .refused("expected one of \(modes), got \(Quoting.shown(assignment.value))")
            }
            importer.spec.netfilter = mode
            return "spec.netfilter"
        },
        "CAPABILITY": { importer, assignment throws(ConfProblem) in
            importer.takeCapabilities(assignment)
            return "spec.capabilities"
        },
        "FEATURES": { importer, assignment throws(ConfProblem) in
            importer.takeFeatures(assignment)
            return "spec.features"
        },
        "DEVICES": { importer, assignment throws(ConfProblem) in
            importer.takeDevices(assignment)
            return "spec.devices"
        },
        "DEVNODES": { importer, assignment throws(ConfProblem) in
            let before = importer.spec.features
            importer.takeDeviceNodes(assignment)
            return importer.spec.features != before || words(assignment).isEmpty ? "spec.features" : ""
        },
    ]

    // MARK: - Network

    private static func resolver(
        _ place: any WritableKeyPath<ContainerSpec, ResolverList?> & Sendable, _ rule: TextRule, _ field: String
    ) -> Handler {
        { importer, assignment throws(ConfProblem) in
            if assignment.value == "inherit" {
                importer.spec[keyPath: place] = .inherit
                return field
            }
            var list: [String] = []
            for word in words(assignment) {
                guard let text = rule.read(word) else {
                    throw .refused(
                        "expected inherit or a list with blanks between, each \(rule.expectation), got \(Quoting.shown(word))")
                }
                if !list.contains(text) { list.append(text) }
            }
            if list.isEmpty { throw .refused("expected inherit or a list, got nothing") }
            importer.spec[keyPath: place] = .list(list)
            return field
        }
    }

    private mutating func addresses(_ assignment: ConfAssignment) throws(ConfProblem) -> [String] {
        var list: [String] = []
        for word in Self.words(assignment) {
            if ["0.0.0.0", "::"].contains(word.prefix { $0 != "/" }) {
                note(assignment, "\(word) means no address")
                continue
            }
            guard let text = TextRule.addressWithOrWithoutPrefix.read(word) else {
                throw .refused(
                    "expected a list with blanks between, each \(TextRule.addressWithOrWithoutPrefix.expectation), got \(Quoting.shown(word))"
                )
            }
            if list.contains(text) { note(assignment, "\(text) is given twice; once is enough") } else { list.append(text) }
        }
        return list
    }

    /// `ifname=eth0,mac=…;ifname=eth1,…`
    private mutating func interfaces(_ assignment: ConfAssignment) throws(ConfProblem) -> [EthernetInterface] {
        var interfaces: [EthernetInterface] = []
        for part in assignment.value.split(separator: ";") {
            let interface = try interface(String(part), assignment)
            if interfaces.contains(where: { $0.name == interface.name }) {
                throw .refused("expected each interface once, got \(interface.name) twice")
            }
            interfaces.append(interface)
        }
        return interfaces
    }

    private mutating func interface(_ text: String, _ assignment: ConfAssignment) throws(ConfProblem) -> EthernetInterface {
        var interface = EthernetInterface(name: "")
        for pair in text.split(separator: ",") {
            guard let equals = pair.firstIndex(of: "=") else {
                throw .refused("expected ifname=NAME and other KEY=VALUE with commas between, got \(Quoting.shown(String(pair)))")
            }
            let key = String(pair[..<equals]).filter { $0 != " " }
            let value = String(pair[pair.index(after: equals)...])
            func read(_ rule: TextRule) throws(ConfProblem) -> String {
                if let text = rule.read(value) { return text }
                throw .refused("\(key): expected \(rule.expectation), got \(Quoting.shown(value))")
            }
            switch key {
            case "ifname": interface.name = try read(.interfaceName)
            case "bridge": interface.bridge = try read(.hostInterfaceName)
            case "mac": interface.mac = try read(.mac)
            case "host_ifname": interface.hostName = try read(.hostInterfaceName)
            case "host_mac": interface.hostMAC = try read(.mac)
            case "ipadd": interface.address.append(try read(.addressWithPrefix))
            case "mac_filter":
                guard value == "on" || value == "off" else {
                    throw .refused("mac_filter: expected on or off, got \(Quoting.shown(value))")
                }
                interface.macFilter = value == "on"
            case "gw", "gw6", "dhcp", "dhcp6", "network", "nettype", "vport", "configure_mode":
                note(
                    assignment,
                    "\(key)=\(Quoting.visible(value)): a manifest has no place for it; set it up inside the container or on the bridge"
                )
            default: note(assignment, "\(Quoting.shown(key)) is not known to OpenVZ either")
            }
        }
        if interface.name.isEmpty { throw .refused("expected ifname=NAME in each part, got \(Quoting.shown(text))") }
        return interface
    }

    // MARK: - Inside

    private mutating func takeCapabilities(_ assignment: ConfAssignment) {
        for word in Self.words(assignment) {
            let parts = word.split(separator: ":", omittingEmptySubsequences: false)
            let name = parts[0].lowercased()
            guard parts.count == 2, parts[1] == "on" || parts[1] == "off", OpenVZNames.capabilities.contains(name) else {
                let known =
                    OpenVZNames.capabilities.contains(name) || parts.count != 2
                    ? "NAME:on or NAME:off" : "a name that OpenVZ knows, without CAP_"
                refuse(assignment, "expected \(known), got \(Quoting.shown(word))")
                continue
            }
            guard let capability = TextRule.capability.read(name) else {
                note(assignment, "\(word): Linux has no such capability")
                continue
            }
            if parts[1] == "on" {
                spec.capabilities.add.append(capability)
            } else {
                spec.capabilities.drop.append(capability)
            }
        }
        func ordered(_ names: [String]) -> [String] { OpenVZNames.capabilities.filter(names.contains) }
        spec.capabilities.add = ordered(spec.capabilities.add)
        spec.capabilities.drop = ordered(spec.capabilities.drop)
        for both in spec.capabilities.add where spec.capabilities.drop.contains(both) {
            refuse(assignment, "expected each capability once, got \(both) on and off")
            spec.capabilities.add.removeAll { $0 == both }
        }
    }

    private mutating func takeFeatures(_ assignment: ConfAssignment) {
        for word in assignment.value.split(whereSeparator: { $0 == " " || $0 == "\t" || $0 == "," }) {
            let parts = word.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 2, parts[1] == "on" || parts[1] == "off", OpenVZNames.features.contains(parts[0]) else {
                refuse(
                    assignment,
                    "expected NAME:on or NAME:off with a NAME of \(OpenVZNames.features.joined(separator: " ")), got \(Quoting.shown(String(word)))"
                )
                continue
            }
            // What is not listed is off.
            spec.features.removeAll { $0 == parts[0] }
            if parts[1] == "on" { spec.features.append(parts[0]) }
        }
        spec.features = OpenVZNames.ordered(features: spec.features)
    }

    private mutating func takeDevices(_ assignment: ConfAssignment) {
        for word in Self.words(assignment) {
            var parts = word.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
            if parts.count == 4, parts[3] != "none" { parts[3] = Self.mode(parts[3]) ?? parts[3] }
            guard let device = TextRule.device.read(parts.joined(separator: ":")) else {
                refuse(assignment, "expected \(TextRule.device.expectation), got \(Quoting.shown(word))")
                continue
            }
            if parts[3] == "none" {
                note(assignment, "\(word): what is not listed may not be used anyway")
            } else if !spec.devices.contains(device) {
                spec.devices.append(device)
            }
        }
    }

    /// The letters of a mode in their one order; `nil` when it has others.
    private static func mode(_ text: String) -> String? {
        text.isEmpty || !text.allSatisfy { "rwq".contains($0) } ? nil : "rwq".filter { text.contains($0) }
    }

    private mutating func takeDeviceNodes(_ assignment: ConfAssignment) {
        for word in Self.words(assignment) {
            guard let colon = word.lastIndex(of: ":"), colon != word.startIndex else {
                refuse(assignment, "expected NAME:MODE, such as fuse:rw, got \(Quoting.shown(word))")
                continue
            }
            let name = String(word[..<colon])
            let mode = String(word[word.index(after: colon)...])
            guard mode == "none" || Self.mode(mode) != nil else {
                refuse(assignment, "expected a mode of r w q, or none, got \(Quoting.shown(word))")
                continue
            }
            if mode == "none" {
                note(assignment, "\(Quoting.visible(word)): what is not listed may not be used anyway")
            } else if let feature = OpenVZNames.nodes[name] {
                if Self.mode(mode) != "rw" { note(assignment, "\(word): the feature \(feature) gives the mode rw") }
                if !spec.features.contains(feature) { spec.features.append(feature) }
            } else {
                note(
                    assignment,
                    "\(Quoting.visible(word)): a manifest names devices by number, which this file does not tell; add c:MAJOR:MINOR:\(mode), as "
                        + "ls -l /dev/\(Quoting.visible(name)) shows them, to spec.devices")
            }
        }
        spec.features = OpenVZNames.ordered(features: spec.features)
    }
}

/// Names that OpenVZ gives to what Linux has (`openvz.md` 6.4).
enum OpenVZNames {
    /// In the order in which OpenVZ writes them, which is the kernel's.
    static let capabilities = [
        "chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap", "linux_immutable",
        "net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner", "sys_module", "sys_rawio",
        "sys_chroot",
        "sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time", "sys_tty_config", "mknod",
        "lease",
        "audit_write", "ve_admin", "setfcap", "fs_mask",
    ]

    /// In the order in which OpenVZ writes them.
    static let features = ["sysfs", "nfs", "sit", "ipip", "ppp", "ipgre", "bridge", "nfsd", "time"]

    /// Nodes below /dev that a manifest's feature stands for.
    static let nodes = ["net/tun": "tun", "fuse": "fuse"]

    /// Features of a manifest in one order: those of the nodes first.
    static func ordered(features: [String]) -> [String] {
        (["tun", "fuse"] + Self.features).filter(features.contains)
    }
}
