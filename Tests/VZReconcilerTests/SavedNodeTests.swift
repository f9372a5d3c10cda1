import Testing
import VZManifest
import VZModel
import VZPlan

@testable import VZReconciler

/// Planning against a saved node takes neither root nor kernel: this runs anywhere.
@Suite struct SavedNodePlanTests {
    private static let saved = #"""
        {"format_version": "1.0", "containers": [], "state": {
          "created": "2026-02-03T04:05:06Z", "node": "00", "generation": "abc", "unrecorded": [
            {"ctid": 107, "name": "lost", "id_base": 1879900160, "seen": {
              "running": true, "present": true, "settings": [{"field": "cpuunits", "value": "1000", "name": "cpu.weight", "kernel": 100}],
              "started": {"init": ["/sbin/init"], "env": {}}, "root_exists": true, "last_set": {"cpu.weight": 100}}}],
          "capabilities": {"cpu_weight": {"min": 1, "max": 10000, "default": 100}, "pids_max": {"min": 0, "max": 4194304},
            "settings": {"cpuWeight": {"name": "cpu.weight"}, "ioWeight": {"name": "io.weight", "unsupported": "no disk"}}},
          "figures": {"ram": 1, "swap": 2, "low_memory": 3, "cpus": 4, "bogomips": 5.5, "threads_max": 6},
          "records": [
            {"ctid": 101, "name": "web", "id_base": 1879048192, "retired": false, "root_template": "busybox",
             "manifest": "apiVersion: vz/v1\nkind: Container\nmetadata: {name: web}\nspec: {ctid: 101, template: busybox, cpuunits: 2000}\n",
             "source": {"file": "/etc/vz.d/web.yaml", "line": 3, "column": 1}, "later_member": [1],
             "overrides": {"fields": {}, "hold": {"value": true, "owner": "me", "reason": "why", "since": 0}},
             "seen": {"running": true, "present": true, "started": {"init": ["/sbin/init"], "env": {}}, "root_exists": true,
               "settings": [{"field": "cpuunits", "value": "770", "name": "cpu.weight", "kernel": 77}], "last_set": {"cpu.weight": 200}}},
            {"ctid": 102, "name": "old", "id_base": 1879113728, "retired": true,
             "manifest": "apiVersion: vz/v1\nkind: Container\nmetadata: {name: old}\nspec: {}\n",
             "source": {"file": "/etc/vz.d/old.yaml", "line": 1, "column": 1},
             "seen": {"running": false, "present": true, "root_exists": true, "settings": [], "last_set": {"pids.max": null}}}
          ]}}
        """#

    private func node(_ text: String = saved) throws -> SavedNode { try SavedNode(Array(text.utf8), path: "state.json") }

    private func plan(_ node: SavedNode, _ paths: [String]? = nil) -> String {
        let look = node.look(only: paths)
        return Plan(containers: look.targets.map(node.plan)).text(generation: look.generation)
    }

    @Test func whatItHadAccepted() throws {
        let node = try node()
        #expect(node.figures.cpus == 4 && node.figures.bogomips == 5.5 && node.figures.lowMemory == 3)
        #expect(
            plan(node) == """
                CT 101 web                      /etc/vz.d/web.yaml:3
                  ~ cpuunits               drifted 770 → 2000       live      cpu.weight 77 → 200  \
                held: held by me since 1970-01-01T00:00:00Z: why; vzctl release web
                CT 102 old                      file removed
                  - stop, keep the data
                Plan: 1 stop, 1 held. Generation abc
                """)
    }

    @Test func manifestsGivenByPath() throws {
        let temporary = try TemporaryDirectory()
        let manifest = { (name: String, spec: String) in
            "apiVersion: vz/v1\nkind: Container\nmetadata: {name: \(name)}\nspec: {template: busybox, \(spec)}\n"
        }
        // What is new, what is known by its name, and what runs without a record.
        try put(manifest("new", "ioprio: 7"), "\(temporary.path)/new.yaml")
        try put(manifest("web", "cpuunits: 500"), "\(temporary.path)/web.yaml")
        try put(manifest("lost", "cpuunits: 3000"), "\(temporary.path)/lost.yaml")
        let look = try node().look(only: [temporary.path])
        #expect(look.targets.map { "\($0.record.ctid) \($0.record.name)" } == ["101 web", "103 new", "107 lost"])
        #expect(look.targets.last?.record.idBase == 1_879_900_160)
        let text = try plan(node(), [temporary.path])
        #expect(text.contains("~ cpuunits               drifted 770 → 500"), "\(text)")
        #expect(text.contains("~ cpuunits               1000 → 3000              live      cpu.weight 100 → 300"), "\(text)")
        #expect(text.contains("CT 103 new") && text.contains("ioprio                 7: unsupported here: no disk"), "\(text)")
        #expect(!text.contains("CT 102"), "nothing is removed because it was not given")
    }

    @Test(arguments: [
        (
            #""ctid": 102, "name": "old""#, #""ctid": 101, "name": "old""#,
            "state.records[1].ctid: expected each once, got 101 again"
        ),
        (#""ctid": 102, "name": "old""#, #""ctid": 7, "name": "old""#, "state.records[1].ctid: a CTID is"),
        ("kind: Container\\nmetadata: {name: old}", "kind: Profile\\nmetadata: {name: old}", "state.records[1].manifest: "),
        (#""state": {"#, #""other": {"#, "state: expected a value, got none: save it with vzctl list -o json --full"),
        (#""present": true, "started""#, #""present": 1, "started""#, "state.records[0].seen.present: "),
        (#""cpu_weight""#, #""other""#, "state.capabilities.cpu_weight: expected a value, got none"),
    ])
    func damageIsToldWithItsPlace(_ sound: String, _ damage: String, _ message: String) {
        #expect(Self.saved.contains(sound))
        let fault = #expect(throws: JSONDocument.Fault.self) { try node(Self.saved.replacing(sound, with: damage)) }
        #expect(fault?.description.hasPrefix("state.json: \(message)") == true, "\(fault?.description ?? "")")
    }
}
