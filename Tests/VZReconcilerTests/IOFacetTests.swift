import FoundationEssentials
import Testing
import VZModel
import VZPlan

@testable import VZIsolation

/// What is asked of a disk, reckoned on any machine from what was seen of a host.
@Suite struct IOFacetTests {
    private static func saved(_ sharing: String, unlimited: String = "") -> String {
        """
        {"cpu_weight":{"default":100,"max":10000,"min":1},"pids_max":{"max":4194304,"min":0},"settings":{\
        "ioWeight":{"name":"io.weight"},"ioBytes":{"name":"io.max rbps,wbps"},"ioOperations":{"name":"io.max riops,wiops"}},\
        "storage":{"stack":{"tops":[{"number":"254:0","name":"vda"}],"queues":[],"disks":[]},\(unlimited)"sharing":\(sharing)}}
        """
    }

    private static let ioCost = #"{"ioCost":{"disks":[{"number":"254:0","name":"vda"}]}}"#
    private static let nothing = #"{"nothing":{"reason":"weights do not act on vda; do something"}}"#

    private func wish(_ saved: String, _ change: (inout ContainerSpec) -> Void = { _ in }) throws -> Wish {
        let host = try JSONDecoder().decode(HostCapabilities.self, from: Data(saved.utf8))
        #expect(try JSONDecoder().decode(HostCapabilities.self, from: JSONEncoder().encode(host)) == host)
        var spec = ContainerSpec(name: "web")
        change(&spec)
        return IOFacet().wish(for: spec, on: host)
    }

    private func text(_ wish: Wish) -> [String] { wish.settings.map { "\($0.kernelName) \($0.kernelValue)" } }

    @Test func nothingIsAskedByDefault() throws {
        let plain = ["io.weight 500", "io.max rbps,wbps max", "io.max riops,wiops max"]
        for sharing in [Self.ioCost, Self.nothing] {
            let wish = try wish(Self.saved(sharing))
            #expect(text(wish) == plain)
            #expect(wish.unsupported == [])
        }
    }

    @Test func aShareSwitchesOnWhatMakesItAct() throws {
        #expect(try text(wish(Self.saved(Self.ioCost)) { $0.ioprio = 0 }).prefix(2) == ["io.weight 320", "io.cost.qos vda on"])
        let told = try wish(Self.saved(Self.nothing)) { $0.ioprio = 7 }
        #expect(text(told).first == "io.weight 640")
        #expect(told.unsupported == [Unsupported(field: "ioprio", value: "7", reason: "weights do not act on vda; do something")])
    }

    @Test func limitsAndWhereThereAreNone() throws {
        let limits: (inout ContainerSpec) -> Void = { ($0.iolimit, $0.iopslimit) = (3 << 20, 300) }
        let held = try wish(Self.saved(Self.ioCost), limits)
        #expect(text(held).suffix(2) == ["io.max rbps,wbps 3145728", "io.max riops,wiops 300"])
        #expect(held.settings.suffix(2).map(\.value) == ["3M each for reads and writes", "300 each for reads and writes"])
        let told = try wish(Self.saved(Self.nothing, unlimited: #""unlimited":"no disk","#), limits)
        #expect(told.unsupported.map { "\($0.field) \($0.value) \($0.reason)" } == ["iolimit 3M no disk", "iopslimit 300 no disk"])
        // The kernel's word for no limit.
        #expect(try text(wish(Self.saved(Self.ioCost)) { $0.iopslimit = 4_294_967_295 }).last == "io.max riops,wiops max")
    }
}
