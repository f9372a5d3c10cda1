import Testing
import VZManifest

@Suite struct FieldAssignmentTests {
    @Test(arguments: [
        ("cpuunits", "cpuunits"), ("numproc", "beancounters.numproc"), ("stop-timeout", "stop_timeout"),
        ("lifecycle.hold", "lifecycle.hold"), ("vm-overcommit", "vm_overcommit"),
    ])
    func fieldsAreNamedAsInManifestsOrByOpenVZ(_ option: String, _ path: String) {
        #expect(FieldAssignment.path(of: option) == path)
    }

    @Test(arguments: ["", "cpuunit", "spec", "beancounters", "metadata.name", "network.veth.mac", "kind"])
    func othersAreNone(_ option: String) { #expect(FieldAssignment.path(of: option) == nil) }

    @Test(arguments: [
        ("cpuunits", "2000"), ("ram", "1G"), ("beancounters.numproc", "100:110"), ("hostname", "a.example.org"),
        ("features", "[tun, fuse]"), ("env", "{A: b}"), ("description", "two words: a text"), ("onboot", "true"),
    ])
    func valuesNeedNoQuotes(_ path: String, _ value: String) throws {
        let assignment = try FieldAssignment.assign(value, to: path, of: "web")
        #expect(assignment.path == path && assignment.dropIn.contains("name: web"))
    }

    @Test(arguments: [
        ("cpuunits", "7"), ("cpuunits", ""), ("cpuunits", "1\n  ram: 1G"), ("features", "[nosuch]"), ("onboot", "maybe"),
    ])
    func mistakesAreTold(_ path: String, _ value: String) {
        #expect(throws: FieldAssignment.Refusal.self) { try FieldAssignment.assign(value, to: path, of: "web") }
    }

    @Test func whatWasSetComesTogetherInOneFile() throws {
        let cpuunits = try FieldAssignment.assign("2000", to: "cpuunits", of: "web").dropIn
        let numproc = try FieldAssignment.assign("100:110", to: "beancounters.numproc", of: "web").dropIn
        let first = try FieldAssignment.merge(nil, setting: [cpuunits], of: "web")
        let both = try FieldAssignment.merge(first, setting: [numproc], of: "web")
        #expect(
            both?.contains("  cpuunits: 2000\n") == true && both?.contains("    numproc: \"100:110\"\n") == true, "\(both ?? "")")
        #expect(try FieldAssignment.merge(both, setting: [], of: "web") == both)
        let one = try FieldAssignment.merge(both, setting: [], unsetting: ["beancounters.numproc"], of: "web")
        #expect(one == first)
        #expect(try FieldAssignment.merge(one, setting: [], unsetting: ["cpuunits"], of: "web") == nil)
        #expect(throws: FieldAssignment.Refusal.self) {
            try FieldAssignment.merge("spec: {cpuunits: 1}\n", setting: [numproc], of: "web")
        }
    }
}
