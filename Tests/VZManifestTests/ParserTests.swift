import Testing
import VZManifest
import VZModel

@Suite struct ParserTests {
    @Test func everyFieldArrives() throws {
        let parsed = ManifestParser.parse(try Repository.bytes(Repository.tests + "/Fixtures/valid-everything.yaml"), file: "f")
        let document = try #require(parsed.documents.first)
        #expect(
            document.spec
                == ContainerSpec(
                    name: "web", ctid: ContainerID(101), state: .stopped, template: "debian-12_x86.64",
                    init: ["/bin/sh", "-c", "exec sleep 60", ""],
                    env: ["TERM": "linux", "EMPTY": "", "odd name": "a=b", "YES": "yes"], hostname: "Web-1.Example.ORG",
                    cpuunits: 500_000, cpulimit: 0, ioprio: 7, ram: 1_610_612_736, swap: 0,
                    beancounters: [.numproc: BarrierLimit(both: 240)]))
        #expect(document.labels == ["tier": "front", "a b": "1", "empty": ""])
    }

    @Test func everyFieldArrivesInItsOneSpelling() throws {
        let parsed = ManifestParser.parse(try Repository.bytes(Repository.tests + "/Fixtures/valid-complete.yaml"), file: "f")
        let spec = try #require(parsed.documents.first).spec
        #expect(spec.state == .suspended && spec.description == "Front end: ä, \"quoted\"" && spec.onboot == true)
        #expect(spec.nameserver == .list(["10.0.0.2", "2001:db8::53"]) && spec.searchdomain == .inherit)
        #expect(spec.bootorder == 10 && spec.stopTimeout == 180 && spec.cpus == 2)
        #expect(spec.cpumask == .ranges([0...3, 5...5]) && spec.nodemask == .ranges([0...0]))
        #expect(spec.iolimit == 10 << 20 && spec.iopslimit == 500 && spec.vmOvercommit == 1.5 && spec.layout == .image)
        #expect(spec.diskspace == BarrierLimit(barrier: 2 << 30, limit: 2200 << 20))
        #expect(spec.diskinodes == BarrierLimit(barrier: 131_072, limit: 144_179) && spec.quotaugidlimit == 500)
        #expect(spec.beancounters.count == 19)
        #expect(spec.beancounters[.lockedpages] == BarrierLimit(both: 256))
        #expect(spec.beancounters[.tcprcvbuf] == BarrierLimit(barrier: 1_720_320, limit: 2_703_360))
        #expect(spec.beancounters[.oomguarpages] == BarrierLimit(barrier: 26112, limit: BarrierLimit.unlimited))
        #expect(spec.network.venet == ["10.0.0.101", "2001:db8::101", "10.1.0.0/16"])
        var interface = EthernetInterface(name: "eth0")
        (interface.bridge, interface.mac, interface.hostName) = ("vmbr0", "02:00:00:00:01:0a", "veth101.0")
        (interface.hostMAC, interface.macFilter, interface.address) = ("fe:00:00:00:01:01", false, ["192.168.1.5/24"])
        #expect(spec.network.veth == [interface] && spec.netfilter == .full)
        #expect(spec.capabilities == CapabilityChanges(add: ["net_admin"], drop: ["mknod"]))
        #expect(spec.devices == ["c:10:200:rw", "b:8:all:none"] && spec.features == ["tun", "fuse", "lxcfs:off"])
        #expect(spec.mounts == [MountSpec(source: "/srv/data", target: "/data", options: ["ro"])])
        #expect(spec.lifecycle.deletion == .trash && spec.lifecycle.disruption == .restart && spec.lifecycle.hold)
        #expect(spec.lifecycle.ignoreDrift == ["/cpuunits", "/beancounters/numproc", "/env/TERM"])
        // Said once more in every field's one spelling, it is the same.
        #expect(parse(ManifestWriter.yaml(spec)).documents.map(\.spec) == [spec])
    }

    @Test func whatIsLeftOutHasItsDefault() throws {
        let document = try #require(parse(document("web")).documents.first)
        #expect(document.spec == ContainerSpec(name: "web"))
        #expect(document.labels.isEmpty)
    }

    @Test func numbersOfTheCoreSchemaArrive() throws {
        let parsed = ManifestParser.parse(try Repository.bytes(Repository.tests + "/Fixtures/valid-core-schema.yaml"), file: "f")
        let spec = try #require(parsed.documents.first).spec
        #expect(spec.cpuunits == 1000 && spec.ioprio == 7 && spec.cpulimit == 150)
        #expect(spec.ram == 64 << 20 && spec.swap == 512 << 20)
        #expect(spec.env["A"] == "yes" && spec.env["D"] == "12:30:45" && spec.env["H"] == "5")
        #expect(spec.beancounters == [.numproc: BarrierLimit(both: BarrierLimit.unlimited)])
    }

    @Test(arguments: [("1", 4096), ("4096", 4096), ("4097", 8192), ("1.5P", 8192), ("0.1K", 4096)] as [(String, Int64)])
    func ramIsRoundedUpToPages(text: String, bytes: Int64) throws {
        #expect(try #require(parse(document("web", "ram: \(text)")).documents.first).spec.ram == bytes)
    }

    @Test func placesOfDocumentsAndFields() throws {
        let text = "# comment\n" + document("one", "cpuunits: 8, beancounters: {numproc: 5}") + "---\n" + document("two")
        let parsed = parse(text, file: "dir/a.yaml")
        #expect(parsed.file == "dir/a.yaml")
        #expect(parsed.documents.map(\.location.description) == ["dir/a.yaml:2:1", "dir/a.yaml:6:1"])
        let places = try #require(parsed.documents.first).fieldLocations.mapValues(\.description)
        #expect(places["metadata.name"] == "dir/a.yaml:4:18")
        #expect(places["spec.cpuunits"] == "dir/a.yaml:5:18")
        #expect(places["spec.beancounters.numproc"] == "dir/a.yaml:5:45")
        #expect(places["spec.ram"] == nil)
    }

    @Test func aMistakeWithItsLineAndCaret() throws {
        let diagnostic = try #require(parse(document("web", "env: {ä: \"ö\tx\", b: 5}")).diagnostics.first)
        #expect(
            diagnostic.description
                == "test.yaml:4:17: spec.env.ä: expected a string of at most 130815 bytes without control characters, got \"ö\\tx\""
        )
        #expect(
            diagnostic.withCaret().split(separator: "\n").dropFirst() == ["spec: {env: {ä: \"ö\tx\", b: 5}}", "                ^"])
    }

    @Test func theCaretStandsUnderTheColumnBehindTabs() {
        let location = SourceLocation(file: "f", line: 1, column: 4)
        let diagnostic = Diagnostic(location: location, field: "a", message: "m", sourceLine: "\tä\tx")
        #expect(diagnostic.withCaret() == "f:1:4: a: m\n\tä\tx\n\t \t^")
        #expect(Diagnostic(location: location, message: "m").withCaret() == "f:1:4: m")
    }

    @Test func nothingInAMessageWritesToTheTerminal() {
        let parsed = parse(
            document("web", "\"a\\e[2J\": x, hostname: \"\\e]0;x\\a\"") + "---\n\u{1B}[2J", file: "\u{1B}[2J.yaml")
        for diagnostic in parsed.diagnostics {
            #expect(!diagnostic.withCaret().unicodeScalars.contains { $0.value < 0x20 && $0 != "\n" })
        }
        #expect(parsed.diagnostics.count == 3)
    }

    @Test func aFaultAfterTheNameKeepsTheName() {
        #expect(parse("kind: x\nmetadata: {name: web}\nspec: [").rejectedNames == ["web"])
        #expect(parse("metadata:\n  name: web\n  labels: {a: [[b").rejectedNames == ["web"])
        #expect(parse("metadata:\n  name: 5\nspec: {}").rejectedNames.isEmpty)
        #expect(parse("spec: [").rejectedNames.isEmpty)
    }

    /// What an editor or a copy that is under way leaves behind is never taken for less than it says it is: told as a mistake, or whole
    /// lines of a shorter document.
    @Test func everyPrefixOfAFileIsReadWithoutATrap() throws {
        let bytes = try Repository.bytes(Repository.root + "/examples/db.yaml")
        for length in bytes.indices {
            let parsed = ManifestParser.parse(Array(bytes[..<length]), file: "f")
            #expect(parsed.documents.isEmpty != parsed.diagnostics.isEmpty)
        }
    }
}
