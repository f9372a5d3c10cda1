import Testing
import VZModel

@testable import VZManifest

/// Where import and export together differ on purpose from OpenVZ's own reading and saving: the line, what is saved, whether
/// something is told, and why.
private let deviations: [String: (saved: String, told: Bool, why: String)] = {
    let leftOut = "what leaving it out means is not written"
    let onlyLimit = "only the limit has a meaning"
    let told = "every key without a place is told of"
    let rows: [(line: String, saved: String, told: Bool, why: String)] = [
        (#"DISKSPACE="2G:1G""#, #"DISKSPACE="1048576:1048576""#, true, "a soft limit above the hard one is never reached"),
        (#"PHYSPAGES="262144""#, #"PHYSPAGES="0:262144""#, true, onlyLimit),
        (#"PHYSPAGES="0:2147483647""#, #"PHYSPAGES="0:unlimited""#, true, "the unlimited of a 32-bit kernel"),
        (#"SWAPPAGES="0:9223372036854775808""#, "", true, leftOut),
        (#"NUMPROC="240:""#, #"NUMPROC="unlimited""#, true, "a missing side is refused"),
        (#"NUMPROC="#, #"NUMPROC="unlimited""#, true, "an empty value is refused"),
        (#"CPULIMIT="0""#, "", false, leftOut), (#"CPUS="0""#, "", false, leftOut), (#"NODEMASK="all""#, "", false, leftOut),
        (#"IOLIMIT="unlimited""#, "", false, leftOut), (#"FEATURES="nfs:on sysfs:off""#, #"FEATURES="nfs:on""#, false, leftOut),
        (#"CPUMASK="auto""#, "", true, "it depends on the host"),
        (#"IOLIMIT="4G""#, #"IOLIMIT="4294967296""#, false, "there is no bound of 32 bits"),
        (#"ONBOOT="auto""#, "", false, "Virtuozzo 7 has it"),
        (#"VM_OVERCOMMIT="0""#, "", true, "without VSwap it has no effect"),
        (#"DISK_QUOTA="yes""#, #"DISK_QUOTA="no""#, true, "there is a quota exactly where there are limits"),
        (#"NAME="My CT_1""#, #"NAME="my-ct-1""#, true, "a name is a DNS label"),
        (#"NAME="10""#, #"NAME="ct10""#, true, "a name is no number"),
        (#"NAMESERVER="8.8.8.8,1.1.1.1""#, "", true, "addresses are checked"),
        (#"IP_ADDRESS="10.0.0.1 10.0.0.1""#, #"IP_ADDRESS="10.0.0.1""#, true, told),
        (#"VE_LAYOUT="ploop:plain""#, #"VE_LAYOUT="ploop""#, true, told),
        (#"VE_LAYOUT="ploop:expanded""#, #"VE_LAYOUT="ploop""#, true, told),
        (#"IPV6="yes""#, "", true, told), (#"VE_ROOT="/vz/root/$VEID""#, "", true, told), (#"MEMINFO="none""#, "", true, told),
        (#"MEMINFO="privvmpages:3""#, "", true, told), (#"DEVICES="c:10:200:none""#, "", true, told),
        (#"PCI="00:1d.0""#, "", true, told),
        (#"CONFIGFILE="basic""#, "", true, told), (#"LOGGING="yes""#, "", true, told), (#"VERBOSE="0""#, "", true, told),
        (#"LOCKDIR="/l""#, "", true, told), (#"VEID="778""#, "", true, "the file's name tells the CTID"),
        (
            #"DEVNODES="fuse:rwq null:r""#, #"DEVNODES="fuse:rw""#, true,
            "a manifest names devices by number, and /dev/fuse by a feature"
        ),
        (
            #"NETIF="ifname=eth0,mac=00:18:51:AA:BB:CC;ifname=eth1,mac=00:18:51:AA:BB:CE""#,
            #"NETIF="ifname=eth0,mac=00:18:51:AA:BB:CC;ifname=eth1,mac=00:18:51:AA:BB:CE""#, false,
            "what is derived from the CTID and the name stays out of the file"
        ),
        (#"NETIF="ifname=eth0,vlan=5""#, #"NETIF="ifname=eth0""#, true, "no random MAC address"),
    ]
    return Dictionary(rows.map { ($0.line, ($0.saved, $0.told, $0.why)) }) { first, _ in first }
}()

struct GoldenRow: Sendable, CustomTestStringConvertible {
    var line: String
    var saved: String
    var warns: Bool
    var testDescription: String { line }
}

@Suite struct OpenVZGoldenTests {
    /// What is written for a container of which nothing is said.
    private static let standard = Set(OpenVZExport.conf(imported("").spec).split(separator: "\n"))

    @Test(arguments: OpenVZGolden.rows.map { GoldenRow(line: $0.line, saved: $0.saved, warns: $0.warns) })
    func readsAndSavesAsOpenVZ(row: GoldenRow) {
        let result = imported(row.line)
        let expected = deviations[row.line].map { ($0.saved, $0.told) } ?? (row.saved.replacing(" \"", with: "\""), row.warns)
        let key = row.line.drop { $0 == " " }.prefix { $0 != "=" && $0 != " " }
        let name = ConfImporter.aliases[String(key)] ?? String(key)
        let saved = OpenVZExport.conf(result.spec).split(separator: "\n").first { $0.hasPrefix("\(name)=") }
        if expected.0.isEmpty {
            #expect(saved.map(Self.standard.contains) ?? true, "\(saved ?? "")")
        } else {
            #expect(saved.map(String.init) == expected.0)
        }
        #expect((!result.notes.isEmpty || !result.diagnostics.isEmpty) == expected.1)
    }

    @Test func everyDeviationIsOne() {
        for row in OpenVZGolden.rows {
            guard let deviation = deviations[row.line] else { continue }
            #expect(deviation.saved != row.saved || deviation.told != row.warns, "\(row.line)")
        }
        #expect(Set(OpenVZGolden.rows.map(\.line)).isSuperset(of: deviations.keys))
        #expect(OpenVZGolden.rows.count == 121)
    }
}

/// Specs of everything that a `CTID.conf` can say, in the one form that import gives them.
private struct RandomSpec {
    var random: Pseudorandom

    mutating func chance(_ percent: Int = 50) -> Bool { Int.random(in: 0..<100, using: &random) < percent }
    mutating func number(_ range: ClosedRange<Int64>) -> Int64 {
        switch Int.random(in: 0..<8, using: &random) {
        case 0: range.lowerBound
        case 1: range.upperBound
        // Small and large numbers alike.
        default:
            max(
                range.lowerBound,
                min(range.upperBound, Int64.random(in: 0...(Int64.max >> Int64.random(in: 0...62, using: &random)), using: &random))
            )
        }
    }
    mutating func pick<T>(_ list: [T]) -> [T] { list.filter { _ in Bool.random(using: &random) } }
    mutating func one<T>(_ list: [T]) -> T { list[Int.random(in: list.indices, using: &random)] }
    mutating func integer(_ range: ClosedRange<Int>) -> Int { Int(number(Int64(range.lowerBound)...Int64(range.upperBound))) }

    mutating func next() -> ContainerSpec {
        var spec = ContainerSpec(name: one(["web", "a", "x-1", "db0"]), ctid: ContainerID(integer(ContainerID.range)))
        general(&spec)
        memory(&spec)
        disk(&spec)
        network(&spec)
        inside(&spec)
        return spec
    }

    private mutating func general(_ spec: inout ContainerSpec) {
        spec.state = one([.running, .stopped])
        if chance() { spec.hostname = one(["web.example.org", "A"]) }
        if chance() { spec.description = one(["Front end # 1", " ", "'quoted'", "größe ½", "a=b\\n"]) }
        if chance() { spec.template = one(["debian-12", "centos-6-x86"]) }
        spec.onboot = one([nil, true, false])
        if chance() { spec.bootorder = integer(0...2_147_483_647) }
        spec.stopTimeout = one([0, 120, 7])
        spec.cpuunits = integer(ContainerSpec.cpuUnitsRange)
        spec.cpulimit = integer(0...1_000_000)
        spec.cpus = integer(0...4096)
        spec.cpumask = mask()
        if spec.cpumask != .all { spec.nodemask = mask() }
        spec.ioprio = integer(0...7)
        spec.iolimit = number(0...Size.largest)
        spec.iopslimit = integer(0...4_294_967_295)
    }

    private mutating func mask() -> NumberSet {
        NumberSet(text: one(["all", "0", "0-3,5", "4095", "0-4095", "7,9-11"])) ?? .all
    }

    private mutating func memory(_ spec: inout ContainerSpec) {
        if chance() {
            spec.ram = number(1...(Size.largest / 4096)) * 4096
            if spec.ram == RuleOperands.unlimited32 * 4096 { spec.ram = 4096 }
            spec.swap = number(0...(Size.largest / 4096)) * 4096
            if chance() { spec.vmOvercommit = one([0, 1, 1.5, 0.1, 1000, 3.25]) }
        }
        for beancounter in Beancounter.allCases where chance() {
            var bounds = BarrierLimit(barrier: number(0...Int64.max), limit: number(0...Int64.max))
            if beancounter.shape == .limitOnly {
                guard beancounter == .swappages, spec.ram == nil else { continue }
                bounds.barrier = 0
            }
            if beancounter.shape == .equal { bounds = BarrierLimit(both: bounds.limit) }
            if beancounter.shape == .guarantee { bounds.limit = BarrierLimit.unlimited }
            if bounds == ConfImporter.leftOut(beancounter, withRAM: spec.ram != nil) { continue }
            spec.beancounters[beancounter] = bounds
        }
    }

    private mutating func disk(_ spec: inout ContainerSpec) {
        spec.layout = one([.dir, .image])
        func both(_ a: Int64, _ b: Int64) -> BarrierLimit? {
            a == .max && b == .max ? nil : BarrierLimit(barrier: min(a, b), limit: max(a, b))
        }
        func blocks(_ count: Int64) -> Int64 { count == Int64.max / 1024 ? .max : count * 1024 }
        if chance() { spec.diskspace = both(blocks(number(0...(Int64.max / 1024))), blocks(number(0...(Int64.max / 1024)))) }
        if chance() { spec.diskinodes = both(number(0...Int64.max), number(0...Int64.max)) }
        spec.quotatime = one([0, 600, 259_200])
        spec.quotaugidlimit = integer(0...4_294_967_295)
    }

    private mutating func network(_ spec: inout ContainerSpec) {
        spec.nameserver = one([nil, .inherit, .list(["10.0.0.2", "2001:db8::2"])])
        spec.searchdomain = one([nil, .inherit, .list(["example.org", "b"])])
        spec.network.venet = pick(["10.0.0.101", "10.0.0.0/8", "2001:db8::101", "fd00::1/64"])
        for name in pick(["eth0", "eth1", "lan.5"]) {
            var interface = EthernetInterface(name: name)
            if chance() { interface.bridge = "vmbr0" }
            if chance() { interface.mac = "02:00:00:00:01:01" }
            if chance() { interface.hostName = "veth101.0" }
            if chance() { interface.hostMAC = "02:00:00:aa:bb:cc" }
            interface.macFilter = chance()
            interface.address = pick(["192.168.1.5/24", "fd00::5/64"])
            spec.network.veth.append(interface)
        }
    }

    private mutating func inside(_ spec: inout ContainerSpec) {
        spec.netfilter = one(NetfilterMode.allCases)
        let known = OpenVZNames.capabilities.filter { TextRule.capability.accepts($0) }
        spec.capabilities.add = pick(known)
        spec.capabilities.drop = known.filter { !spec.capabilities.add.contains($0) }.filter { _ in Bool.random(using: &random) }
        spec.devices = pick(["c:10:200:rw", "b:8:0:r", "c:1:all:rwq", "b:8:16:q"])
        spec.features = OpenVZNames.ordered(features: pick(["tun", "fuse"] + OpenVZNames.features))
    }
}

@Suite struct OpenVZExportTests {
    /// Everything that a file can say comes back as it went.
    @Test func importOfExportIsTheSame() throws {
        var specs = RandomSpec(random: Pseudorandom(state: 20_061_010))
        for _ in 0..<1000 {
            let spec = specs.next()
            let result = OpenVZExport.export(spec)
            let back = imported(result.conf, file: "\(try #require(spec.ctid)).conf")
            #expect(back.spec == spec)
            #expect(back.diagnostics.isEmpty, "\(back.diagnostics) \(spec)")
            // DISK_QUOTA and the PHYSPAGES of a container without RAM say nothing that a manifest does not say without them.
            #expect(back.notes.allSatisfy { ["DISK_QUOTA", "PHYSPAGES"].contains($0.key) }, "\(back.notes)")
            let isValid = !ConsistencyRules.check(spec).contains { $0.severity == .error }
            #expect(back.manifest.map { parse($0).documents.map(\.spec) } == (isValid ? [spec] : []))
            if back.spec != spec || !back.diagnostics.isEmpty { break }
        }
    }

    /// OpenVZ starts no container without ram that lacks one of 20 parameters.
    @Test(arguments: [ContainerSpec(name: "a"), ContainerSpec(name: "b", ram: 4096)])
    func hasWhatOpenVZDemands(spec: ContainerSpec) {
        let back = imported(OpenVZExport.conf(spec))
        #expect(back.verdict.isEmpty)
        #expect(back.isClean)
        var same = spec
        same.ctid = ContainerID(777)
        if same.ram != nil { same.swap = 0 }
        #expect(back.spec == same)
    }

    @Test func writesTheFormThatOpenVZSaves() {
        var spec = ContainerSpec(name: "web", hostname: "web.example.org", cpulimit: 150, ram: 256 << 20, swap: 512 << 20)
        spec.onboot = true
        spec.diskspace = BarrierLimit(barrier: 2 << 30, limit: 2_306_867 << 10)
        spec.diskinodes = BarrierLimit(barrier: 131_072, limit: 144_179)
        spec.beancounters = [.numproc: BarrierLimit(both: 240), .kmemsize: BarrierLimit(barrier: 14_372_700, limit: .max)]
        #expect(
            OpenVZExport.conf(spec) == """
                NAME="web"
                HOSTNAME="web.example.org"
                ONBOOT="yes"
                KMEMSIZE="14372700:unlimited"
                NUMPROC="240"
                PHYSPAGES="0:65536"
                SWAPPAGES="0:131072"
                CPUUNITS="1000"
                CPULIMIT="150"
                VE_LAYOUT="simfs"
                DISK_QUOTA="yes"
                DISKSPACE="2097152:2306867"
                DISKINODES="131072:144179"
                QUOTATIME="0"
                NETFILTER="stateless"

                """)
    }

    @Test func tellsWhatOpenVZCannotSay() {
        var spec = ContainerSpec(name: "web", init: ["/bin/sh"], env: ["A": "b"], ram: 2_147_483_647 * 4096)
        spec.mounts = [MountSpec(source: "/a", target: "/b")]
        spec.lifecycle.hold = true
        spec.description = "a \"b\""
        spec.capabilities.add = ["bpf"]
        spec.diskspace = BarrierLimit(both: 1025)
        spec.network.veth = [EthernetInterface(name: "eth0")]
        let result = OpenVZExport.export(spec)
        #expect(
            result.notes.map { String($0.prefix { $0 != ":" }) } == [
                "spec.description", "spec.ram", "spec.diskspace", "spec.network.veth", "spec.capabilities", "spec.init", "spec.env",
                "spec.mounts", "spec.lifecycle",
            ])
        #expect(result.conf.contains("PHYSPAGES=\"0:2147483648\""))
        #expect(result.conf.contains("DISKSPACE=\"2:2\""))
    }
}
