import Testing
import VZModel

@testable import VZManifest

func imported(_ conf: String, file: String = "777.conf", options: OpenVZImport.Options = .init()) -> ImportResult {
    OpenVZImport.parse(Array(conf.utf8), file: file, options: options)
}

/// Virtuozzo's samples, with the verdict of OpenVZ's vzcfgvalidate on each (`openvz.md`, appendix A).
struct Sample: Sendable, CustomTestStringConvertible {
    var path: String
    var name: String { path.split(separator: "/").last.map(String.init) ?? "" }
    var testDescription: String { name }

    static let all = Repository.files(in: Repository.tests + "/OpenVZSamples").map { Sample(path: $0) }

    /// The rule and the field that an entry such as `E:physpages.bar` stands for.
    static let entries: [String: Set<String>] = [
        "E:physpages.bar": ["error vswap-physpages-barrier-zero physpages"],
        "E:physpages": ["error ubc-physpages-unlimited physpages"],
        "E:vmguarpages": ["error ubc-guarantee-limit-unlimited vmguarpages"],
        "E:oomguarpages": ["error ubc-guarantee-limit-unlimited oomguarpages"],
        "E:othersockbuf.lim-othersockbuf.bar": ["error ubc-othersockbuf-gap othersockbuf"],
        "R:dgramrcvbuf.bar": ["advice ubc-datagram-buffer-advised dgramrcvbuf"],
        "R:othersockbuf.bar": ["advice ubc-datagram-buffer-advised othersockbuf"],
    ]
}

@Suite struct OpenVZSampleTests {
    @Test func thereAreSamples() { #expect(Sample.all.count == 17) }

    @Test(arguments: Sample.all)
    func hasTheVerdictOfTheRealValidator(sample: Sample) throws {
        let bytes = try Repository.bytes(sample.path)
        let notes = String(decoding: bytes, as: UTF8.self).split(separator: "\n").filter { $0.hasPrefix("#= ") }.map {
            $0.dropFirst(3)
        }
        let result = OpenVZImport.parse(bytes, file: sample.path)
        #expect(notes.first == "exit \(result.validatorExit)")
        let expected = try notes.dropFirst().reduce(into: Set<String>()) { $0.formUnion(try #require(Sample.entries[String($1)])) }
        let found = result.verdict.map { "\($0.severity.rawValue) \($0.rule) \($0.field.dropFirst("spec.beancounters.".count))" }
        #expect(Set(found) == expected)
        #expect(found.count == expected.count)
    }

    /// Only a real mistake is left: what Virtuozzo writes without a meaning is mended.
    @Test(arguments: Sample.all)
    func becomesAProfile(sample: Sample) throws {
        let bytes = try Repository.bytes(sample.path)
        let result = OpenVZImport.parse(bytes, file: sample.path)
        #expect(result.kind == .profile)
        #expect(result.diagnostics.isEmpty)
        let broken = sample.name.hasPrefix("vps.vzpkgtools") ? ["ubc-othersockbuf-gap"] : []
        #expect(result.remaining.filter { $0.severity == .error }.map(\.rule) == broken)
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n").count { !$0.hasPrefix("#") }
        #expect(Set(result.mapped.map(\.location) + result.notes.map(\.location)).count == lines)
    }

    @Test func takesTheNumbers() throws {
        func sample(_ name: String) throws -> ImportResult {
            OpenVZImport.parse(try Repository.bytes(Repository.tests + "/OpenVZSamples/" + name), file: name)
        }
        let vswap = try sample("ve-vswap.2048MB.conf-sample").spec
        #expect(vswap.name == "vswap-2048mb")
        #expect(vswap.ram == 2 << 30)
        #expect(vswap.swap == 0)
        #expect(vswap.diskspace == BarrierLimit(both: 10 << 30))
        #expect(vswap.diskinodes == BarrierLimit(both: 655_360))
        #expect(vswap.netfilter == .full)
        #expect(vswap.onboot == true)
        #expect(vswap.beancounters.isEmpty)

        let slm = try sample("ve-slm.1024MB.conf-sample.x86_64").spec
        #expect(slm.ram == 1 << 30)
        #expect(slm.beancounters[.numproc] == BarrierLimit(both: 32567))
        #expect(slm.beancounters[.kmemsize] == nil)

        let ubc = try sample("ve-vps.256MB.conf-sample").spec
        #expect(ubc.ram == nil)
        #expect(ubc.beancounters[.vmguarpages] == BarrierLimit(barrier: 33792, limit: .max))
        #expect(ubc.beancounters[.tcpsndbuf] == BarrierLimit(barrier: 1_720_320, limit: 2_703_360))
        #expect(ubc.beancounters[.physpages] == nil)
        #expect(ubc.beancounters.count == 19)
    }
}

@Suite struct OpenVZImportTests {
    /// A node's defaults may say otherwise: what the file says is said.
    @Test func aValueThatIsTheDefaultIsKept() {
        let manifest = imported("CPUUNITS=\"1000\"\nIOPRIO=\"4\"\n").manifest ?? ""
        #expect(manifest.contains("  cpuunits: 1000\n") && manifest.contains("  ioprio: 4\n"))
        #expect(!manifest.contains("cpulimit"))
    }

    @Test func readsAContainer() {
        let result = imported(
            """
            # A container
            ONBOOT="yes"
            PHYSPAGES="0:512M"
            SWAPPAGES="0:1G"
            HOSTNAME="web.example.org"
            IP_ADDRESS="10.0.0.101 2001:DB8::101"
            NETIF="ifname=eth0,bridge=vmbr0,mac=00:18:51:AA:BB:CC,mac_filter=off"
            FEATURES="nfs:on"
            DEVNODES="net/tun:rw"
            NAMESERVER="inherit"
            """, file: "/etc/vz/conf/101.conf")
        #expect(result.kind == .container)
        #expect(result.isClean)
        #expect(result.spec.name == "ct101")
        #expect(result.spec.ctid == ContainerID(101))
        #expect(result.spec.ram == 512 << 20)
        #expect(result.spec.swap == 1 << 30)
        #expect(result.spec.network.venet == ["10.0.0.101", "2001:db8::101"])
        #expect(result.spec.network.veth.map(\.mac) == ["00:18:51:aa:bb:cc"])
        #expect(result.spec.network.veth.map(\.macFilter) == [false])
        #expect(result.spec.features == ["tun", "nfs"])
        #expect(result.spec.nameserver == .inherit)
        #expect(result.notes.isEmpty)
    }

    @Test(
        arguments: [
            ("/etc/vz/conf/101.conf", ManifestKind.container, "ct101", 101), ("1000.conf", .container, "ct1000", 1000),
            ("50.conf", .container, "ct50", nil), ("/etc/vz/vz.conf", .defaults, "", nil),
            ("ve-basic.conf-sample", .profile, "basic", nil), ("ve-light.conf-sample.x86_64", .profile, "light-x86-64", nil),
            ("/vz/private/9A1F0F5E-11CB-4D0B-9E4E-AAB0E3A14D9E/ve.conf", .container, "9a1f0f5e-11cb-4d0b-9e4e-aab0e3a14d9e", nil),
            ("fuzz", .container, "fuzz", nil), ("", .container, "ct", nil),
            ("123456789012345678901234567890.conf", .container, "ct123456789012345678901234567890", nil),
        ] as [(String, ManifestKind, String, Int?)])
    func fileNamesTell(file: String, kind: ManifestKind, name: String, ctid: Int?) {
        let result = imported("", file: file)
        #expect(result.kind == kind)
        #expect(result.spec.name == name)
        #expect(result.spec.ctid?.number == ctid)
    }

    @Test func theHostIsNoContainer() {
        let result = imported("ONBOOT=\"no\"", file: "0.conf")
        #expect(result.manifest == nil)
        #expect(result.diagnostics.map(\.message) == ["0.conf is the host's own configuration in OpenVZ, not a container's"])
    }

    /// Every key of `openvz.md` 6.4 and 6.5 is known: it has a handler or a reason.
    @Test func knowsEveryKey() {
        let keys = """
            KMEMSIZE LOCKEDPAGES PRIVVMPAGES SHMPAGES NUMPROC PHYSPAGES VMGUARPAGES OOMGUARPAGES NUMTCPSOCK NUMFLOCK NUMPTY \
            NUMSIGINFO TCPSNDBUF TCPRCVBUF OTHERSOCKBUF DGRAMRCVBUF NUMOTHERSOCK NUMFILE DCACHESIZE NUMIPTENT SWAPPAGES DCACHE \
            IPTENTRIES AVNUMPROC VM_OVERCOMMIT MEMINFO CPUUNITS CPUUWEIGHT CPULIMIT CPUS CPUMASK NODEMASK IOPRIO IOLIMIT \
            IOPSLIMIT DISK_QUOTA DISKSPACE DISKINODES QUOTATIME QUOTAUGIDLIMIT VE_LAYOUT VE_ROOT VE_PRIVATE TEMPLATE MOUNT_OPTS \
            OSTEMPLATE DEF_OSTEMPLATE ORIGIN_SAMPLE CONFIGFILE NAME HOSTNAME DESCRIPTION NAMESERVER SEARCHDOMAIN IP_ADDRESS IPV6 \
            NETDEV NETIF VETH DEVICES DEVNODES PCI CAPABILITY FEATURES NETFILTER IPTABLES ONBOOT BOOTORDER STOP_TIMEOUT DISABLED \
            LOCAL_UID LOCAL_GID VEID LOCKDIR DUMPDIR LOGGING LOGFILE LOG_LEVEL VERBOSE VIRTUOZZO VE0CPUUNITS VZFASTBOOT \
            NEIGHBOUR_DEVS ERROR_ON_ARPFAIL VZWDOG IPTABLES_MODULES IP6TABLES CONFIG_CUSTOMIZED VE_STOP_MODE SKIP_SYSCTL_SETUP \
            SKIP_ARPDETECT VE_PARALLEL MODULES_DISABLED VE_ROUTE_SRC_DEV FORCE_ROUTE TEMPLATES DISK ROOT_DISK TOTVMPAGES \
            IPCSHMPAGES ANONSHPAGES RSSPAGES OOMGUAR NUMSOCK UNIXSOCKBUF SOCKRCVBUF NUMUNIXSOCK TCPSENDBUF JOURNALED_QUOTA \
            CPULIMIT_MHZ CPUWEIGHT DISTRIBUTION TECHNOLOGIES AUTOSTOP AUTOSTOPSTOP VE_TYPE UUID APPLY_IPONLY OSRELEASE \
            USE_NET_RPS HA_ENABLE HA_PRIO BINDMOUNT VE_ENVIRONMENT NOATIME AUTOCOMPACT SLMMEMORYLIMIT SLMMODE BURST_CPU_AVG_USAGE \
            BURST_CPULIMIT TRAFFIC_SHAPING TOTALRATE RATE RATEBOUND MEMGUARANTEE MEMGUARANTEE_BYTES PAGECACHE_ISOLATION \
            NUMMEMORYSUBGROUPS NUMNETIF VERSION PLATFORM VEFORMAT VEFSTYPE VE_CGROUP_SLICE
            """.split(separator: " ").map(String.init)
        for key in keys {
            let name = ConfImporter.aliases[key] ?? key
            #expect(ConfImporter.handlers[name] != nil || ConfImporter.unmapped[name] != nil, "\(key)")
            #expect(ConfImporter.handlers[name] == nil || ConfImporter.unmapped[name] == nil, "\(key) twice")
        }
    }

    /// The table of fields tells where a key goes.
    @Test(arguments: [
        "ONBOOT=yes", "HOSTNAME=a", "DESCRIPTION=a", "OSTEMPLATE=a", "BOOTORDER=1", "STOP_TIMEOUT=1", "CPUUNITS=8", "CPULIMIT=1",
        "CPUS=1",
        "CPUMASK=0", "NODEMASK=0", "IOPRIO=1", "IOLIMIT=1", "IOPSLIMIT=1", "DISKSPACE=1", "DISKINODES=1", "QUOTATIME=1",
        "QUOTAUGIDLIMIT=1",
        "VE_LAYOUT=simfs", "NAMESERVER=10.0.0.1", "SEARCHDOMAIN=a", "IP_ADDRESS=10.0.0.1", "NETIF=ifname=eth0", "NETFILTER=full",
        "FEATURES=nfs:on", "DEVICES=c:1:1:r", "NAME=a", "KMEMSIZE=1", "NUMPROC=1", "PHYSPAGES=0:1", "LOCKEDPAGES=1",
    ])
    func agreesWithTheTableOfFields(line: String) throws {
        let result = imported(line)
        let mapped = try #require(result.mapped.first)
        #expect(FieldTable.field(mapped.field)?.openVZKey == mapped.key)
    }

    // MARK: - An account of every line

    @Test func tellsWhatItCannotTake() {
        let result = imported(
            """
            NUMPROC="240"
            NUMPROC="250"
            numproc="1"
            export IOPRIO="1"
            CPUUNIT="1000"
            VE_ROOT="/vz/root/$VEID"
            CPULIMIT="25%"
            IPTABLES="ip_tables ipt_LOG"
            DEVNODES="sda1:r"
            """)
        #expect(
            result.notes.map(\.description) == [
                "777.conf:2:1: note: NUMPROC: given before at 777.conf:1:1; the first one counts",
                "777.conf:3:1: note: numproc: OpenVZ does not read this: expected NUMPROC in capital letters",
                "777.conf:4:1: note: export IOPRIO: OpenVZ does not read this: expected IOPRIO=\"value\" without blanks or words before it",
                "777.conf:5:1: note: CPUUNIT: OpenVZ does not know this key, nor does vz; did you mean CPUUNITS?",
                "777.conf:6:1: note: VE_ROOT: vz keeps the roots of containers at a place of its own; move or copy the data there",
                "777.conf:8:1: note: IPTABLES: NETFILTER took its place: choose spec.netfilter by hand, full being all of them",
                "777.conf:9:1: note: DEVNODES: sda1:r: a manifest names devices by number, which this file does not tell; "
                    + "add c:MAJOR:MINOR:r, as ls -l /dev/sda1 shows them, to spec.devices",
            ])
        #expect(result.diagnostics.map(\.location.line) == [7])
        #expect(imported("CPULIMIT=\"25%\"", options: .init(hostCPUs: 4)).spec.cpulimit == 100)
    }

    /// No line of any file is lost in silence: it is mapped, noted or refused.
    @Test func accountsForEveryLine() {
        var random = Pseudorandom(state: 42)
        let keys = ConfImporter.handlers.keys.sorted() + ConfImporter.unmapped.keys.sorted() + ["FOO", "numproc", "A B", ""]
        let values = [
            "1", "0:1", "unlimited", "-1", "", "yes", "10.0.0.1", "ifname=eth0", "c:1:3:rw", "c:1:3:none", "fuse:rw", "a b c",
            "nfs:on", "nfs",
            "SYS_TIME:on", "VE_ADMIN:on", "inherit", "0.0.0.0", "ploop", "2G:1G", "auto", "99999999999999999999", "full", "slm",
            ";", ",", ":", " ",
        ]
        for _ in 0..<400 {
            var lines: [String] = []
            for _ in 0..<20 {
                let key = keys.randomElement(using: &random) ?? ""
                lines.append("\(key)=\"\(values.randomElement(using: &random) ?? "")\"")
            }
            let file = ["101.conf", "ve-a.conf-sample", "vz.conf"].randomElement(using: &random) ?? ""
            let result = imported(lines.joined(separator: "\n"), file: file)
            let told = Set(
                result.mapped.map(\.location.line) + result.notes.map(\.location.line) + result.diagnostics.map(\.location.line))
            for (index, line) in lines.enumerated() { #expect(told.contains(index + 1), "\(file): \(line)") }
        }
    }

    /// No input makes it fail otherwise than with a message.
    @Test func survivesAnything() throws {
        var random = Pseudorandom(state: 7)
        let seed = try Repository.bytes(Repository.tests + "/OpenVZSamples/ve-confixx.conf-sample")
        for _ in 0..<300 {
            var bytes = seed
            for _ in 0..<Int.random(in: 1...40, using: &random) {
                let place = Int.random(in: bytes.indices, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.insert(contentsOf: Array("9:=\"\n".utf8).shuffled(using: &random), at: place)
                case 2: bytes.replaceSubrange(place..<min(place + 20, bytes.count), with: [])
                default: bytes.insert(contentsOf: [UInt8](repeating: bytes[place], count: 30), at: place)
                }
            }
            let result = OpenVZImport.parse(bytes, file: "101.conf")
            #expect(result.manifest != nil)
        }
        let long = OpenVZImport.parse(Array(String(repeating: "X=\n", count: 200_000).utf8), file: "101.conf")
        #expect(long.manifest == nil)
        #expect(long.notes.count + long.diagnostics.count == InputBounds.mistakes + 1)
    }

    // MARK: - Modes of memory

    @Test(
        arguments: [
            ("PHYSPAGES=\"65536\"\nSWAPPAGES=\"0:131072\"", 65536 * 4096, 131_072 * 4096),
            ("PHYSPAGES=\"0:65536\"", 65536 * 4096, nil),
            ("PHYSPAGES=\"0:unlimited\"\nSWAPPAGES=\"0:1\"", nil, nil), ("PHYSPAGES=\"0:2147483647\"", nil, nil),
            ("SLMMODE=\"all\"\nSLMMEMORYLIMIT=\"1073741824:1073741824\"\nPHYSPAGES=\"unlimited\"", 1 << 30, nil),
            ("SLMMODE=\"ubc\"\nSLMMEMORYLIMIT=\"1G\"\nPHYSPAGES=\"unlimited\"", nil, nil),
            ("SLMMODE=\"all\"\nSLMMEMORYLIMIT=\"1G\"\nPHYSPAGES=\"0:1\"\nSWAPPAGES=0", 4096, 0),
        ] as [(String, Int64?, Int64?)])
    func decidesTheMode(conf: String, ram: Int64?, swap: Int64?) {
        let spec = imported(conf).spec
        #expect(spec.ram == ram)
        #expect(spec.swap == swap)
    }

    @Test func missingParametersAreErrorsAsInOpenVZ() {
        let vswap = imported("PHYSPAGES=\"0:256M\"")
        #expect(vswap.verdict.map(\.rule) == ["vswap-parameters-present"])
        #expect(!vswap.isClean)
        let ubc = imported("NUMPROC=\"240\"")
        #expect(ubc.remaining.count == 19)
        #expect(ubc.remaining.allSatisfy { $0.rule == "ubc-parameters-present" && $0.severity == .error })
        #expect(ubc.manifest != nil)
    }

    @Test func theDiskRuleIsOpenVZsOnlyWhenTheFileSaysSo() {
        let base = "PHYSPAGES=0:1\nSWAPPAGES=0\nDISKSPACE=\"3G:2G\"\n"
        let silent = imported(base)
        #expect(silent.isClean)
        #expect(silent.spec.diskspace == BarrierLimit(both: 2 << 30))
        let said = imported(base + "DISK_QUOTA=yes")
        #expect(said.verdict.map(\.rule) == ["disk-soft-within-hard"])
        #expect(said.verdict.first.flatMap(said.location)?.line == 3)
        #expect(!said.isClean)
        let global = imported(base, options: .init(global: (Array("DISK_QUOTA=yes".utf8), "vz.conf")))
        #expect(global.verdict.isEmpty)
        #expect(imported(base + "DISK_QUOTA=no").spec.diskspace == nil)
        #expect(imported(base + "DISK_QUOTA=no\nVE_LAYOUT=ploop").spec.diskspace == BarrierLimit(both: 2 << 30))
    }

    // MARK: - The node's own file

    @Test func mergesTheNodesFile() {
        let global = "NAMESERVER=\"inherit\"\nIOPRIO=\"7\"\nVE_LAYOUT=\"ploop\"\nLOGGING=yes\nHOSTNAME=\"host\"\n"
        let result = imported(
            "PHYSPAGES=\"0:1\"\nSWAPPAGES=\"0\"\nIOPRIO=\"2\"", options: .init(global: (Array(global.utf8), "/etc/vz/vz.conf")))
        #expect(result.spec.nameserver == .inherit)
        #expect(result.spec.ioprio == 2)
        #expect(result.spec.layout == .image)
        #expect(result.spec.hostname == nil)
        #expect(result.notes.isEmpty)
    }

    @Test func theNodesFileByItselfBecomesDefaults() throws {
        let result = imported("LOGGING=yes\nNAMESERVER=\"inherit\"\nVE_STOP_MODE=suspend\nCPUUNITS=2000", file: "/etc/vz/vz.conf")
        #expect(result.kind == .defaults)
        #expect(result.spec.nameserver == .inherit)
        #expect(result.notes.map(\.key) == ["LOGGING", "VE_STOP_MODE"])
        #expect(result.verdict.isEmpty)
        let text = try #require(result.manifest)
        #expect(text.contains("kind: Defaults"))
        #expect(!text.contains("metadata"))
    }
}
