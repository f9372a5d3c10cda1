import Testing
import VZModel

@Suite struct ContainerIDTests {
    @Test(arguments: [101, 102, 2_147_483_644])
    func takesTheWholeRange(number: Int) throws {
        let id = try #require(ContainerID(number))
        #expect(id.number == number)
        #expect(ContainerID(text: id.description) == id)
    }

    @Test(arguments: [Int.min, -101, 0, 1, 100, 2_147_483_645, Int.max])
    func refusesWhatIsReserved(number: Int) {
        #expect(ContainerID(number) == nil)
        #expect(ContainerID(text: String(number)) == nil)
    }

    @Test(arguments: ["", " 101", "101 ", "+101", "-101", "0101", "0x65", "1e3", "101\n", "١٠١", "99999999999999999999999", "web"])
    func refusesEveryOtherSpelling(text: String) {
        #expect(ContainerID(text: text) == nil)
    }

    @Test func sortsByNumber() throws {
        let ids = try [1000, 101, 999].map { try #require(ContainerID($0)) }
        #expect(ids.sorted().map(\.number) == [101, 999, 1000])
    }
}

@Suite struct BeancounterTests {
    @Test func aSingleNumberIsBothBounds() {
        #expect(BarrierLimit(both: 240) == BarrierLimit(barrier: 240, limit: 240))
    }

    @Test func namesAreOpenVZs() {
        #expect(Beancounter(rawValue: "numproc") == .numproc)
        #expect(Beancounter(rawValue: "NUMPROC") == nil)
    }
}

@Suite struct ContainerSpecTests {
    @Test func defaultsAreOpenVZs() {
        let spec = ContainerSpec(name: "web")
        #expect(spec.state == .running)
        #expect(spec.`init` == ["/sbin/init"])
        #expect(spec.cpuunits == 1000)
        #expect(spec.cpulimit == 0)
        #expect(spec.ioprio == 4)
        #expect(spec.ctid == nil && spec.template == nil && spec.hostname == nil && spec.ram == nil && spec.swap == nil)
        #expect(spec.env.isEmpty && spec.beancounters.isEmpty)
    }
}
