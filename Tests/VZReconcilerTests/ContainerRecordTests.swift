import FoundationEssentials
import Testing
import VZManifest
import VZModel

@testable import VZReconciler

@Suite struct ContainerRecordTests {
    @Test func whatIsRememberedComesBackWhole() throws {
        let record = ContainerRecord(
            ctid: try #require(ContainerID(101)), name: "web", idBase: 0x7000_0000,
            accepted: ContainerSpec(
                name: "web", ctid: ContainerID(101), state: .stopped, template: "busybox",
                init: ["/bin/sh", "-c", "echo \"a: b\" # no"],
                env: ["A": "yes", "B": ""], hostname: "web.example.org", cpuunits: 8, cpulimit: 150, ioprio: 7, ram: 64 << 20,
                swap: 0,
                beancounters: [.numproc: BarrierLimit(both: 100)]),
            source: SourceLocation(file: "/etc/vz.d/a b.yaml", line: 3, column: 1), retired: true, rootTemplate: "busybox")
        let bytes = try JSONEncoder().encode(record)
        #expect(try JSONDecoder().decode(ContainerRecord.self, from: bytes) == record)
    }

    @Test func aManifestThatCannotBeReadAnyMoreIsAnErrorThatSaysWhy() throws {
        let json = """
            {"ctid":101,"name":"web","idBase":1,"manifest":"kind: Nothing","source":{"file":"a","line":1,"column":1},"retired":false}
            """
        #expect(throws: DecodingError.self) { try JSONDecoder().decode(ContainerRecord.self, from: Data(json.utf8)) }
    }
}
