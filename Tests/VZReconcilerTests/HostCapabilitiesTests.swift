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
