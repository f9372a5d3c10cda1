import FoundationEssentials
import Testing
import VZModel
import VZPlan

@testable import VZIsolation

/// What a host can hold is data: a wish can be reckoned from it on any machine.
@Suite struct HostCapabilitiesTests {
    private static let saved = """
        {"cpu_weight":{"default":100,"max":10000,"min":1},"pids_max":{"max":4194304,"min":0},"settings":{\
        "cpuWeight":{"name":"cpu.weight"},"memoryMax":{"name":"memory.max"},"swapMax":{"name":"memory.swap.max"},\
        "pidsMax":{"name":"pids.max"},"ioWeight":{"name":"io.weight","unsupported":"no disk; get one"},\
        "ofALaterVersion":{"name":"cpu.later"}}}
        """

    private func decode(_ text: String) throws -> HostCapabilities {
        try JSONDecoder().decode(HostCapabilities.self, from: Data(text.utf8))
    }

    @Test func aWishIsReckonedFromWhatWasSaved() throws {
        let host = try decode(Self.saved)
        var spec = ContainerSpec(name: "web", cpuunits: 3000, cpulimit: 150, ioprio: 7, ram: 64 << 20)
        spec.beancounters[.numproc] = BarrierLimit(both: 5_000_000)
        let wish = Facets.wish(for: spec, on: host)
        #expect(
            wish.settings.map { "\($0.kernelName) \($0.kernelValue)" } == [
                "cpu.weight 300", "memory.max 67108864", "memory.swap.max 0", "pids.max 4194304",
            ])
        // What the host lacks, and what whoever looked at it did not know.
        #expect(wish.unsupported.map(\.field) == ["cpulimit", "ioprio"])
        #expect(wish.unsupported.last?.reason == "no disk; get one")
        #expect(try JSONDecoder().decode(HostCapabilities.self, from: JSONEncoder().encode(host)) == host)
    }

    @Test func whereNothingCanBeSwappedOutSwapIsToldAndRamIsTheLimit() throws {
        let host = try decode(
            Self.saved.replacing("{\"cpu_weight", with: #"{"no_swap_space":"none","ram":17179869184,"cpu_weight"#))
        var spec = ContainerSpec(name: "web", ram: 64 << 20, swap: 32 << 20)
        spec.beancounters = [
            .vmguarpages: BarrierLimit(barrier: 256, limit: BarrierLimit.unlimited),
            .oomguarpages: BarrierLimit(barrier: 16384, limit: BarrierLimit.unlimited),
        ]
        let wish = Facets.wish(for: spec, on: host)
        #expect(wish.unsupported.filter { $0.field == "swap" } == [Unsupported(field: "swap", value: "32M", reason: "none")])
        let swap = wish.settings.first { $0.field == "swap" }
        #expect(swap?.kernelValue == .number(0) && swap?.value == "0")
        // The score is there on every kernel; the version that looked at this host did not know the other two.
        #expect(wish.unsupported.filter { $0.field.hasSuffix("guarpages") }.map(\.value) == ["256:unlimited", "16384:unlimited"])
        let score = wish.settings.first { $0.kernelName == "oom_score_adj" }
        #expect(score?.kernelValue == .number(-4) && score?.field == "beancounters.oomguarpages")
        #expect(try JSONDecoder().decode(HostCapabilities.self, from: JSONEncoder().encode(host)) == host)
    }

    @Test func lxcfsIsOnByItselfWhereTheHostHasIt() throws {
        func wish(_ lxcfs: String, _ features: [String]) throws -> [String] {
            let host = try decode(Self.saved.replacing("{\"cpu_weight", with: "{\(lxcfs)\"cpu_weight"))
            #expect(try JSONDecoder().decode(HostCapabilities.self, from: JSONEncoder().encode(host)) == host)
            var spec = ContainerSpec(name: "web")
            spec.features = features
            let wish = Facets.wish(for: spec, on: host)
            return wish.settings.filter { $0.field == "features" }.map { "\($0.value) \($0.kernelValue)" }
                + wish.unsupported.map { "\($0.value): \($0.reason)" }
        }
        let has = #""lxcfs":{"directory":"/var/lib/lxcfs","device":"0:41"},"#
        #expect(try wish(has, []) == ["lxcfs 0:41"] && wish(has, ["lxcfs"]) == ["lxcfs 0:41"])
        #expect(try wish(has, ["lxcfs:off"]) == ["lxcfs:off none"])
        // What one that has ended left in a container is taken away, whoever asked for it.
        let lacks = #""lxcfs":{"directory":"/var/lib/lxcfs","unsupported":"none; get one"},"#
        #expect(try wish(lacks, []) == ["lxcfs:off none"] && wish(lacks, ["lxcfs:off"]) == ["lxcfs:off none"])
        #expect(try wish(lacks, ["lxcfs"]) == ["lxcfs:off none", "lxcfs: none; get one"])
        // Nobody looked.
        #expect(try wish("", []) == [] && wish("", ["lxcfs"]).count == 1)
    }

    @Test func guaranteesAreWrittenInBytes() throws {
        let host = try decode(
            Self.saved.replacing(
                #""settings":{"#, with: #""settings":{"memoryLow":{"name":"memory.low"},"memoryMin":{"name":"memory.min"},"#))
        var spec = ContainerSpec(name: "web")
        spec.beancounters = [
            .vmguarpages: BarrierLimit(barrier: 33792, limit: BarrierLimit.unlimited),
            .oomguarpages: BarrierLimit(both: BarrierLimit.unlimited),
        ]
        let settings = Facets.wish(for: spec, on: host).settings.filter { $0.field.hasSuffix("guarpages") }
        #expect(settings.map { "\($0.kernelName) \($0.kernelValue)" } == ["memory.low 138412032", "memory.min max"])
    }

    @Test(arguments: [
        (saved, "{}"), (saved, "[]"), (#""default":100"#, #""default":0"#), (#""default":100"#, #""default":9000000000000000000"#),
        (#""min":1"#, #""min":20000"#), (#""max":10000"#, #""max":9000000000000000000"#),
        (#""pids_max""#, #""cpus":"two","pids_max""#), (#""max":4194304"#, #""max":-1"#), (#""max":4194304,"#, ""),
    ])
    func whatIsNoneIsRefused(_ sound: String, _ damage: String) throws {
        let text = Self.saved.replacing(sound, with: damage)
        #expect(text != Self.saved)
        #expect(throws: DecodingError.self) { try decode(text) }
    }
}
