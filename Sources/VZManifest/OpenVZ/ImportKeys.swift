internal import VZModel

// The keys that a manifest has a place for (`openvz.md` 6.4 and 6.5).
extension ConfImporter {
    /// Other names that OpenVZ reads.
    static let aliases = ["DCACHE": "DCACHESIZE", "IPTENTRIES": "NUMIPTENT", "TCPSENDBUF": "TCPSNDBUF"]

    static let handlers: [String: Handler] = Dictionary(
        Beancounter.allCases.map { ($0.rawValue.uppercased(), beancounter($0)) }
    ) { first, _ in first }
    .merging(generalHandlers) { first, _ in first }
    .merging(resourceHandlers) { first, _ in first }
    .merging(insideHandlers) { first, _ in first }

    /// Keys of one container alone, which the node's own file has for other ends.
    static let neverFromGlobal: Set<String> = ["NAME", "HOSTNAME", "DESCRIPTION", "IP_ADDRESS", "NETIF", "OSTEMPLATE"]

    /// What OpenVZ does not copy from a sample (`openvz.md` 6.5), and a name, which is the sample's own.
    static let neverFromSample: Set<String> = [
        "NAME", "HOSTNAME", "IP_ADDRESS", "OSTEMPLATE", "TEMPLATE", "TEMPLATES", "VE_ROOT", "VE_PRIVATE", "NETIF", "VEID", "UUID",
        "DISTRIBUTION", "VEFORMAT", "VEFSTYPE", "TECHNOLOGIES", "PCI", "DISK",
    ]

    private static let generalHandlers: [String: Handler] = [
        "NAME": { importer, assignment throws(ConfProblem) in
            let label = TextRule.name.accepts(assignment.value) ? assignment.value : ConfFileName.label(assignment.value)
            if label.isEmpty || assignment.value.isEmpty { throw .refused("expected a name, got nothing") }
            if label != assignment.value {
                importer.note(assignment, "a manifest's name is a DNS label: \(Quoting.shown(assignment.value)) becomes \(label)")
            }
            importer.spec.name = label
            return "metadata.name"
        },
        "HOSTNAME": text(\.hostname, .hostname, "spec.hostname"),
        "DESCRIPTION": text(\.description, .description, "spec.description"),
        "OSTEMPLATE": { importer, assignment throws(ConfProblem) in
            // Virtuozzo marks a template of packages with a leading point.
            let name = assignment.value.hasPrefix(".") ? String(assignment.value.dropFirst()) : assignment.value
            guard TextRule.template.accepts(name) else {
                throw .refused("expected \(TextRule.template.expectation), got \(Quoting.shown(assignment.value))")
            }
            if name != assignment.value {
                importer.note(assignment, "the leading point marks a template of packages and is left out")
            }
            importer.spec.template = name
            return "spec.template"
        },
        "ONBOOT": { importer, assignment throws(ConfProblem) in
            importer.spec.onboot = assignment.value == "auto" ? nil : try yesOrNo(assignment, "yes, no or auto")
            return "spec.onboot"
        },
        "DISABLED": { importer, assignment throws(ConfProblem) in
            importer.spec.state = try yesOrNo(assignment) ? .stopped : .running
            return "spec.state"
        },
        "BOOTORDER": { importer, assignment throws(ConfProblem) in
            importer.spec.bootorder = try integer(assignment, "spec.bootorder")
            return "spec.bootorder"
        },
        "STOP_TIMEOUT": { importer, assignment throws(ConfProblem) in
            importer.spec.stopTimeout = try integer(assignment, "spec.stop_timeout")
            return "spec.stop_timeout"
        },
        "VEID": { importer, assignment throws(ConfProblem) in
            if importer.kind == .container, case .named = ConfFileName(path: importer.file),
                let ctid = ContainerID(text: assignment.value)
            {
                importer.spec.ctid = ctid
                return "spec.ctid"
            }
            let same = importer.spec.ctid.map { "\($0)" == assignment.value } ?? false
            throw .unmapped(same ? "the file's name says the same" : "the file's name tells the CTID, not this key")
        },
    ]

    private static let resourceHandlers: [String: Handler] = [
        "AVNUMPROC": { importer, assignment throws(ConfProblem) in
            importer.avnumproc = try importer.number(assignment, .plain).barrier
            throw .unmapped(
                "it limits nothing: a number for planning, which the check of this file reckons with; a manifest's reckons with numproc / 2"
            )
        },
        "VM_OVERCOMMIT": { importer, assignment throws(ConfProblem) in
            importer.spec.vmOvercommit = try decimal(assignment, "spec.vm_overcommit")
            return "spec.vm_overcommit"
        },
        "SLMMEMORYLIMIT": { importer, assignment throws(ConfProblem) in
            importer.slmLimit = try importer.number(assignment, .bytes).limit
            return ""
        },
        "SLMMODE": { importer, assignment throws(ConfProblem) in
            guard ["slm", "ubc", "all"].contains(assignment.value) else {
                throw .refused("expected slm, ubc or all, got \(Quoting.shown(assignment.value))")
            }
            importer.slmMode = assignment.value
            throw .unmapped("it only says whether SLMMEMORYLIMIT is the container's RAM")
        },
        "CPUUNITS": { importer, assignment throws(ConfProblem) in
            importer.spec.cpuunits = try integer(assignment, "spec.cpuunits")
            return "spec.cpuunits"
        },
        "CPULIMIT": { importer, assignment throws(ConfProblem) in
            importer.spec.cpulimit = try importer.cpulimit(assignment)
            return "spec.cpulimit"
        },
        "CPUS": { importer, assignment throws(ConfProblem) in
            importer.spec.cpus = try integer(assignment, "spec.cpus")
            return "spec.cpus"
        },
        "CPUMASK": { importer, assignment throws(ConfProblem) in
            if assignment.value == "auto" {
                throw .unmapped("auto, the CPUs of the nodes in NODEMASK, depends on the host; write them as spec.cpumask")
            }
            importer.spec.cpumask = try numbers(assignment)
            return "spec.cpumask"
        },
        "NODEMASK": { importer, assignment throws(ConfProblem) in
            importer.spec.nodemask = try numbers(assignment)
            return "spec.nodemask"
        },
        "IOPRIO": { importer, assignment throws(ConfProblem) in
            importer.spec.ioprio = try integer(assignment, "spec.ioprio")
            return "spec.ioprio"
        },
        "IOLIMIT": { importer, assignment throws(ConfProblem) in
            if assignment.value.contains(".") {
                throw .refused("expected a whole number, with or without B K M G T or P, got \(Quoting.shown(assignment.value))")
            }
            let (rate, _) = try ConfNumber.number(assignment.value, .bytes)
            importer.spec.iolimit = rate == BarrierLimit.unlimited ? 0 : rate
            return "spec.iolimit"
        },
        "IOPSLIMIT": { importer, assignment throws(ConfProblem) in
            importer.spec.iopslimit = try integer(assignment, "spec.iopslimit")
            return "spec.iopslimit"
        },
        "DISK_QUOTA": { importer, assignment throws(ConfProblem) in
            importer.diskQuota = try yesOrNo(assignment)
            throw .unmapped("a manifest has a quota exactly where it gives diskspace or diskinodes")
        },
        "DISKSPACE": { importer, assignment throws(ConfProblem) in
            let blocks = try importer.number(assignment, .kibibytes)
            importer.spec.diskspace = BarrierLimit(barrier: bytes(blocks.barrier), limit: bytes(blocks.limit))
            return "spec.diskspace"
        },
        "DISKINODES": { importer, assignment throws(ConfProblem) in
            importer.spec.diskinodes = try importer.number(assignment, .scaled)
            return "spec.diskinodes"
        },
        "QUOTATIME": { importer, assignment throws(ConfProblem) in
            importer.spec.quotatime = try integer(assignment, "spec.quotatime")
            return "spec.quotatime"
        },
        "QUOTAUGIDLIMIT": { importer, assignment throws(ConfProblem) in
            importer.spec.quotaugidlimit = try integer(assignment, "spec.quotaugidlimit")
            return "spec.quotaugidlimit"
        },
        "VE_LAYOUT": { importer, assignment throws(ConfProblem) in
            let parts = assignment.value.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            switch (parts[0], parts.count > 1 ? parts[1] : nil) {
            case ("simfs", nil): importer.spec.layout = .dir
            case ("ploop", let mode) where [nil, "expanded", "plain", "raw"].contains(mode):
                importer.spec.layout = .image
                if let mode {
                    importer.note(assignment, "the mode \(mode) has no place in a manifest; OpenVZ does not keep it either")
                }
            default: throw .refused("expected simfs, ploop or ploop:expanded|plain|raw, got \(Quoting.shown(assignment.value))")
            }
            return "spec.layout"
        },
    ]

    /// OpenVZ counts disk space in KiB; the largest number of them is no limit.
    private static func bytes(_ blocks: Int64) -> Int64 {
        blocks >= Int64.max / 1024 ? BarrierLimit.unlimited : blocks * 1024
    }

    /// Percent of one CPU, from `150`, or from `25%` of all CPUs that the node had.
    private mutating func cpulimit(_ assignment: ConfAssignment) throws(ConfProblem) -> Int {
        let value = assignment.value
        if value.hasSuffix("%"), let share = Int(value.dropLast()), (0...100).contains(share) {
            guard let cpus = options.hostCPUs else {
                throw .refused(
                    "\(value) is of all CPUs of the node, whose number the file does not tell; give it, as in --host-cpus 4, or write "
                        + "spec.cpulimit in percent of one CPU")
            }
            note(assignment, "\(value) of the node's \(cpus) CPUs becomes \(share * cpus) percent of one CPU")
            return share * cpus
        }
        if value.lowercased().hasSuffix("m") || value.lowercased().hasSuffix("mhz") {
            throw .unmapped("a limit in MHz depends on the host; write spec.cpulimit in percent of one CPU")
        }
        if value == "unlimited" { throw .refused("expected a whole number of percent, got \"unlimited\"; 0 is no limit") }
        return try Self.integer(assignment, "spec.cpulimit")
    }

    // MARK: - Values

    static func text(_ place: any WritableKeyPath<ContainerSpec, String?> & Sendable, _ rule: TextRule, _ field: String) -> Handler
    {
        { importer, assignment throws(ConfProblem) in
            guard let text = rule.read(assignment.value) else {
                throw .refused("expected \(rule.expectation), got \(Quoting.shown(assignment.value))")
            }
            importer.spec[keyPath: place] = text
            return field
        }
    }

    static func yesOrNo(_ assignment: ConfAssignment, _ words: String = "yes or no") throws(ConfProblem) -> Bool {
        switch assignment.value {
        case "yes": return true
        case "no": return false
        default: throw .refused("expected \(words), got \(Quoting.shown(assignment.value))")
        }
    }

    /// A whole number that the field of the manifest can have.
    static func integer(_ assignment: ConfAssignment, _ field: String) throws(ConfProblem) -> Int {
        let (number, isTruncated) = try ConfNumber.number(assignment.value)
        let range = FieldTable.byPath[field].flatMap { if case .integer(let range) = $0.type { range } else { nil } } ?? 0...Int.max
        guard range.contains(Int(number)), !isTruncated else {
            let bound = range.upperBound == Int.max ? "from \(range.lowerBound)" : "\(range.lowerBound)…\(range.upperBound)"
            throw .refused("expected an integer \(bound), got \(Quoting.shown(assignment.value))")
        }
        return Int(number)
    }

    /// A decimal fraction from 0.
    static func decimal(_ assignment: ConfAssignment, _ field: String) throws(ConfProblem) -> Double {
        let value = assignment.value
        let isDecimal = value.utf8.allSatisfy { (48...57).contains($0) || $0 == UInt8(ascii: ".") }
        let range = FieldTable.byPath[field].flatMap { if case .decimal(let range) = $0.type { range } else { nil } } ?? 0...1000
        guard isDecimal, value.utf8.contains(where: { $0 != UInt8(ascii: ".") }), let number = Double(value), range.contains(number)
        else {
            throw .refused("expected a factor \(range.lowerBound)…\(range.upperBound), such as 1.5, got \(Quoting.shown(value))")
        }
        return number
    }

    static func numbers(_ assignment: ConfAssignment) throws(ConfProblem) -> NumberSet {
        guard let set = NumberSet(text: assignment.value) else {
            throw .refused("expected \(TextRule.numbers.expectation), got \(Quoting.shown(assignment.value))")
        }
        return set
    }

    /// The words of a list.
    static func words(_ assignment: ConfAssignment) -> [String] {
        assignment.value.split { $0 == " " || $0 == "\t" }.map(String.init)
    }
}
