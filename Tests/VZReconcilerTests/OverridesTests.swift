import Testing
import VZManifest
import VZModel

@testable import VZReconciler

@Suite struct OverridesTests {
    private func word<Value>(_ value: Value, until: Int64? = nil) -> Overrides.Word<Value> {
        .init(value, owner: "ada", reason: "a reason", since: 100, until: until)
    }

    @Test func eachEndsAtItsTime() {
        var said = Overrides()
        said.state = word(.stopped, until: 200)
        said.hold = word(true)
        said.fields = ["cpuunits": word("a", until: 150), "ram": word("b", until: 300)]
        #expect(said.nextEnd == 150)
        #expect(said.current(at: 149) == said)
        #expect(said.current(at: 150).fields.keys.sorted() == ["ram"])
        let later = said.current(at: 200)
        #expect(later.state == nil && later.hold != nil && later.nextEnd == 300)
        #expect(said.current(at: 1000).fields.isEmpty && !said.current(at: 1000).isEmpty)
    }

    @Test func fieldsGoOverTheManifestAndATrialInItsPlace() throws {
        var accepted = ContainerSpec(name: "web")
        accepted.cpuunits = 1500
        accepted.beancounters = [.numproc: BarrierLimit(both: 100)]
        var said = Overrides()
        #expect(said.spec(over: accepted) == accepted)
        let assignment = try FieldAssignment.assign("60", to: "beancounters.numproc", of: "web")
        said.fields[assignment.path] = word(assignment.dropIn)
        #expect(said.spec(over: accepted).beancounters[.numproc]?.limit == 60)
        #expect(said.spec(over: accepted).cpuunits == 1500)
        said.trial = word(.init(id: "1", manifest: ManifestWriter.yaml(ContainerSpec(name: "web")), file: "web.yaml", text: ""))
        #expect(said.spec(over: accepted).cpuunits == 1000)
        #expect(said.spec(over: accepted).beancounters[.numproc]?.limit == 60)
        said.fields["swap"] = word(try FieldAssignment.assign("64M", to: "swap", of: "web").dropIn)
        #expect(said.mistake(over: accepted)?.contains("ram") == true)
        #expect(said.summary.contains { $0.contains("by ada") && $0.contains("a reason") })
    }
}
