import Testing
import VZManifest
import VZModel

@Suite struct RoundTripTests {
    private func expectRoundTrip(_ spec: ContainerSpec) throws {
        let text = ManifestWriter.yaml(spec)
        let parsed = parse(text)
        #expect(parsed.diagnostics.isEmpty, "\(text)")
        #expect(parsed.documents.map(\.spec) == [spec], "\(text)")
        #expect(try ManifestWriter.yaml(#require(parsed.documents.first).spec) == text)
    }

    @Test func theLeast() throws {
        #expect(
            ManifestWriter.yaml(ContainerSpec(name: "web"))
                == "apiVersion: vz/v1\nkind: Container\nmetadata:\n  name: web\nspec: {}\n")
        try expectRoundTrip(ContainerSpec(name: "web"))
    }

    @Test func everything() throws {
        let spec = ContainerSpec(
            name: "web", ctid: ContainerID(101), state: .stopped, template: "debian-12", init: ["/bin/sh", "-c", "exit 0"],
            env: ["TERM": "linux", "PORT": "8080"], hostname: "web.example.org", cpuunits: 2000, cpulimit: 150, ioprio: 0,
            ram: 64 << 20,
            swap: 0, beancounters: [.numproc: BarrierLimit(both: 100)])
        #expect(
            ManifestWriter.yaml(spec) == """
                apiVersion: vz/v1
                kind: Container
                metadata:
                  name: web
                spec:
                  ctid: 101
                  state: stopped
                  template: debian-12
                  init: [/bin/sh, "-c", "exit 0"]
                  env:
                    PORT: "8080"
                    TERM: linux
                  hostname: web.example.org
                  cpuunits: 2000
                  cpulimit: 150
                  ioprio: 0
                  ram: 64M
                  swap: 0
                  beancounters:
                    numproc: 100

                """)
        try expectRoundTrip(spec)
    }

    @Test(arguments: [
        "", " ", "yes", "No", "on", "y", "true", "null", "~", "5", "0x10", "010", "1e3", ".inf", "12:30", "a: b", "a #b", "#a",
        "- a", "[a", "{", "*a",
        "&a", "!a", "|", ">", "%a", "@a", "`a", "'", "\"", "\\", "a\\nb", "---", "...", "<<", "=", "a,b", " a", "a ", "ä", "😀", "é",
        "\u{200B}", "\u{FFFF}",
        "\u{FEFF}", "\u{202E}x", "\u{E000}", "/", "a/b", "null ", "\u{A0}", "\u{1F468}\u{200D}\u{1F469}",
        String(repeating: "x ", count: 60_000),
    ])
    func strings(text: String) throws {
        try expectRoundTrip(ContainerSpec(name: "web", init: ["/bin/a", text], env: ["A": text]))
        if !text.isEmpty, text != "=", text.utf8.count <= 255 { try expectRoundTrip(ContainerSpec(name: "web", env: [text: "x"])) }
    }

    @Test func longestNameOfAVariable() throws {
        try expectRoundTrip(ContainerSpec(name: "web", env: [String(repeating: "\u{200B}", count: 85): "x"]))
    }

    @Test func anySpec() throws {
        var random = Pseudorandom(state: 20)
        for _ in 0..<300 { try expectRoundTrip(Self.randomSpec(&random)) }
    }

    static func randomSpec(_ random: inout Pseudorandom) -> ContainerSpec {
        func maybe<Value>(_ random: inout Pseudorandom, _ make: (inout Pseudorandom) -> Value) -> Value? {
            Bool.random(using: &random) ? make(&random) : nil
        }
        let alphabet: [Unicode.Scalar] = Array("abcXYZ019 .,:;#-_/\\\"'{}[]&*!|>%@`~?$äßλ中😀\u{200B}\u{2028}\u{FEFF}".unicodeScalars)
        func text(_ random: inout Pseudorandom, _ length: ClosedRange<Int>) -> String {
            var view = String.UnicodeScalarView()
            for _ in 0..<Int.random(in: length, using: &random) { view.append(alphabet.randomElement(using: &random) ?? "a") }
            return String(view)
        }
        var spec = ContainerSpec(name: "n\(UInt32.random(in: 0...UInt32.max, using: &random))")
        spec.ctid = maybe(&random) { ContainerID(Int.random(in: ContainerID.range, using: &$0)) } ?? nil
        spec.state = RunState.allCases.randomElement(using: &random) ?? .running
        spec.template = maybe(&random) { "t-\(UInt8.random(in: 0...255, using: &$0)).x_" }
        spec.`init` = ["/" + text(&random, 1...20)] + (0..<Int.random(in: 0...4, using: &random)).map { _ in text(&random, 0...20) }
        for _ in 0..<Int.random(in: 0...5, using: &random) { spec.env[text(&random, 1...10)] = text(&random, 0...30) }
        spec.hostname = maybe(&random) { "H\(UInt32.random(in: 0...99, using: &$0)).example" }
        spec.cpuunits = Int.random(in: ContainerSpec.cpuUnitsRange, using: &random)
        spec.cpulimit = Int.random(in: 0...1_000_000, using: &random)
        spec.ioprio = Int.random(in: ContainerSpec.ioPriorityRange, using: &random)
        spec.ram = maybe(&random) { (1 + Int64.random(in: 0...(1 << UInt8.random(in: 0...50, using: &$0)), using: &$0)) * 4096 }
        if spec.ram != nil { spec.swap = maybe(&random) { Int64.random(in: 0...(1 << 30), using: &$0) * 4096 } }
        Self.fillRest(of: &spec, text: { text(&$0, $1) }, using: &random)
        return spec
    }
}

extension RoundTripTests {
    /// Everything else that a spec can say. With ram, which asks for little among the beancounters, these are free.
    private static func fillRest(
        of spec: inout ContainerSpec, text: (inout Pseudorandom, ClosedRange<Int>) -> String, using random: inout Pseudorandom
    ) {
        func some<T>(_ all: [T]) -> [T] { all.filter { _ in Bool.random(using: &random) } }
        spec.description = text(&random, 0...40)
        spec.nameserver = [nil, .inherit, .list(some(["10.0.0.2", "2001:db8::53", "::1"]))].randomElement(using: &random) ?? nil
        spec.searchdomain = [nil, .inherit, .list(some(["example.org", "a.b"]))].randomElement(using: &random) ?? nil
        spec.onboot = [nil, true, false].randomElement(using: &random) ?? nil
        spec.bootorder = [nil, 0, 2_147_483_647].randomElement(using: &random) ?? nil
        spec.stopTimeout = Int.random(in: 0...31_536_000, using: &random)
        spec.cpus = Int.random(in: 0...4096, using: &random)
        spec.cpumask = [.all, .ranges([0...3, 5...5, 4095...4095])].randomElement(using: &random) ?? .all
        spec.nodemask = [.all, .ranges([0...0])].randomElement(using: &random) ?? .all
        spec.iolimit = Int64.random(in: 0...(1 << 40), using: &random)
        spec.iopslimit = Int.random(in: 0...4_294_967_295, using: &random)
        spec.vmOvercommit =
            [nil, 0, 1.5, 0.1, 1e-7, 1000, Double.random(in: 0...1000, using: &random)].randomElement(using: &random) ?? nil
        spec.layout = Layout.allCases.randomElement(using: &random) ?? .dir
        let disk = Int64.random(in: 0...(1 << 45), using: &random)
        spec.diskspace =
            [nil, BarrierLimit(both: disk), BarrierLimit(barrier: disk, limit: disk + (1 << 20))].randomElement(using: &random)
            ?? nil
        spec.diskinodes = [nil, BarrierLimit(barrier: 0, limit: 5)].randomElement(using: &random) ?? nil
        spec.quotatime = Int.random(in: 0...100_000, using: &random)
        spec.quotaugidlimit = Int.random(in: 0...100, using: &random)
        spec.network.venet = some(["10.0.0.1", "10.1.0.0/16", "2001:db8::1", "fe80::1/64"])
        for name in some(["eth0", "net-1", "a.b_c"]) {
            var interface = EthernetInterface(name: name)
            interface.bridge = [nil, "vmbr0"].randomElement(using: &random) ?? nil
            interface.mac = [nil, "02:00:00:00:01:01"].randomElement(using: &random) ?? nil
            interface.hostName = [nil, "veth101.0"].randomElement(using: &random) ?? nil
            interface.hostMAC = [nil, "fe:ff:00:00:01:01"].randomElement(using: &random) ?? nil
            interface.macFilter = Bool.random(using: &random)
            interface.address = some(["192.168.1.5/24", "2001:db8::5/64"])
            spec.network.veth.append(interface)
        }
        spec.netfilter = NetfilterMode.allCases.randomElement(using: &random) ?? .full
        spec.capabilities = CapabilityChanges(add: some(["net_admin", "bpf"]), drop: some(["mknod", "chown"]))
        spec.devices = some(["c:10:200:rw", "b:8:all:none", "c:4095:1048575:rwq"])
        spec.features = some(["tun", "fuse", "time", "lxcfs:off"])
        spec.mounts = some(["/data", "/a b/ä"]).map { MountSpec(source: "/srv" + $0, target: $0, options: some(["ro", "noexec"])) }
        spec.lifecycle.deletion = Lifecycle.Deletion.allCases.randomElement(using: &random) ?? .retain
        spec.lifecycle.disruption = Disruption.allCases.randomElement(using: &random) ?? .live
        spec.lifecycle.ignoreDrift = some(["/cpuunits", "/beancounters/numproc", "/network", "/env/TERM"])
        spec.lifecycle.hold = Bool.random(using: &random)
        guard spec.ram != nil else { return }
        for beancounter in Beancounter.allCases where beancounter.shape != .limitOnly && Bool.random(using: &random) {
            let barrier = Int64.random(in: 0...Int64.max, using: &random)
            let limit = [barrier, Int64.max, Int64.random(in: barrier...Int64.max, using: &random)].randomElement(using: &random)
            spec.beancounters[beancounter] = BarrierLimit(barrier: barrier, limit: limit ?? barrier)
        }
    }
}

/// No input makes the parser fail otherwise than by a diagnostic.
@Suite struct MutationTests {
    private func expectAVerdict(_ bytes: [UInt8]) {
        let parsed = ManifestParser.parse(bytes, file: "f")
        #expect(!(parsed.documents.isEmpty && parsed.diagnostics.isEmpty))
        for diagnostic in parsed.diagnostics { #expect(!diagnostic.withCaret().isEmpty && diagnostic.location.column > 0) }
        for document in parsed.documents {
            #expect(parse(ManifestWriter.yaml(document.spec)).documents.map(\.spec) == [document.spec])
        }
        _ = ManifestSet.check([parsed])
    }

    @Test func randomBytes() {
        var random = Pseudorandom(state: 3)
        for _ in 0..<500 {
            expectAVerdict((0..<Int.random(in: 0...300, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) })
        }
    }

    @Test func randomYAML() {
        var random = Pseudorandom(state: 4)
        let tokens = [
            "a", ": ", "- ", "\n", "  ", "[", "]", "{", "}", ",", "\"", "'", "|", ">", "&a ", "*a", "!!str ", "!x ", "? ", "#",
            "---\n", "...\n", "%YAML 1.2\n",
            "<<", "spec", "metadata", "name", "5", "~", "\t", "\r", "\\", "é", "\u{2028}", "\0", "apiVersion: vz/v1\n",
            "kind: Container\n",
            "metadata: {name: web}\n", "spec: {}\n",
        ]
        for _ in 0..<3000 {
            let text = (0..<Int.random(in: 0...40, using: &random)).map { _ in tokens.randomElement(using: &random) ?? "" }.joined()
            expectAVerdict(Array(text.utf8))
        }
    }

    @Test(arguments: Fixture.all)
    func mutatedFixtures(fixture: Fixture) throws {
        let original = try Repository.bytes(fixture.path)
        var random = Pseudorandom(state: UInt64(original.count))
        for _ in 0..<60 {
            var bytes = original
            for _ in 0..<Int.random(in: 1...6, using: &random) where !bytes.isEmpty {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<5, using: &random) {
                case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.remove(at: place)
                case 2: bytes.insert("[]{}:-#&*!|>'\"%@`,?\n\t ".utf8.randomElement(using: &random) ?? 0, at: place)
                case 3: bytes.removeSubrange(place..<min(bytes.count, place + 20))
                default: bytes.insert(contentsOf: bytes[place..<min(bytes.count, place + 30)], at: place)
                }
            }
            expectAVerdict(bytes)
        }
    }
}
