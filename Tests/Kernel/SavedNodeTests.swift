import FoundationEssentials
import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// What a node saves of itself is enough to plan elsewhere, by anybody.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct SavedNodeTests {
    private static let base = "template: busybox\ninit: [/bin/sleep, \"1000000\"]\n"

    /// A node with something of everything.
    private func furnish(_ node: TestNode) throws {
        try node.start("web", ctid: 101, "hostname: web.example.org\ncpuunits: 2000\nram: 64M\nbeancounters: {numproc: 50}")
        try node.start("db", ctid: 102)
        try node.start("held", ctid: 103)
        try node.start("mute", ctid: 104, "lifecycle: {ignore_drift: [/cpuunits]}")
        try node.start("gone", ctid: 105)
        try node.start("broken", ctid: 106)
        try node.start("lost", ctid: 107)
        #expect(try node.vzctl("stop", "db").exit == .code(0))
        #expect(try node.vzctl("hold", "held", "--reason", "looking").exit == .code(0))
        #expect(try node.vzctl("set", "web", "--cpulimit", "70", "--for", "1h").exit == .code(0))
        for ctid in [101, 103, 104] { try node.group(ctid).setCPUWeight(77) }
        // Wanted now, accepted by nobody yet.
        try node.declare("held", "ctid: 103\n" + Self.base + "ram: 128M")
        try node.declare(
            "web", "ctid: 101\n" + Self.base.replacing("1000000", with: "2000000") + "hostname: new.example.org\nram: 96M")
        try node.declare("new", "ctid: 110\n" + Self.base + "network: {venet: [10.0.0.1]}")
        try node.declare("allocated", Self.base)
        try node.removeManifest("gone.yaml")
        try TestFile.write("apiVersion: vz/v1\nkind: [", to: node.paths.manifests[0] + "/broken.yaml")
        #expect(unlink(node.paths.records + "/107") == 0)
    }

    /// Saves the node, where anybody can read it and the programs are.
    private func save(_ node: TestNode) throws -> (file: String, vzctl: [String]) {
        let file = node.directory + "/state.json"
        let saved = try node.vzctl("list", "-o", "json", "--full")
        #expect(saved.exit == .code(0), "\(saved.errors)")
        try TestFile.write(saved.output, to: file, mode: 0o644)
        let programs = node.directory + "/bin"
        try Descriptor.makeDirectories(programs)
        try Command.run(["ln", "-sf", "\(TestPlace.programs)/vzctl", programs])
        try Command.run(["chmod", "-R", "a+rX", node.paths.manifests[0]])
        try Command.run(["chmod", "755", node.directory, TestPlace.directory, programs])
        return (file, ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--", "\(programs)/vzctl"])
    }

    @Test func aPlanElsewhereIsThePlanOnTheNode() throws {
        try withNode { node in
            try furnish(node)
            let (file, vzctl) = try save(node)
            let manifests = node.paths.manifests[0]
            for paths in [[], [manifests], [manifests + "/web.yaml", manifests + "/lost.yaml"], [manifests + "/allocated.yaml"]] {
                let here = try node.run(["\(TestPlace.programs)/vzctl", "plan"] + paths)
                let there = try node.run(vzctl + ["plan", "--state", file] + paths)
                #expect(there.output == here.output, "\(paths)")
                #expect(here.output.contains("Plan: ") && here.output.contains("CT 1"), "\(here)")
                // The broken file is one of the node's, and told by whoever reads it.
                #expect(there.exit == (paths == [] ? .code(0) : here.exit), "\(there)")
                if paths == [] { try isComplete(here.output) }

                var onNode = try decode(node.run(["\(TestPlace.programs)/vzctl", "plan", "--json"] + paths).output)
                let offNode = try decode(node.run(vzctl + ["plan", "--json", "--state", file] + paths).output)
                onNode.created = offNode.created
                #expect(onNode == offNode)
            }
            let detailed = try node.run(vzctl + ["plan", "--detailed-exitcode", "--state", file])
            #expect(detailed.exit == .code(2))
            try node.vzctlApplied()
            let after = try save(node).file
            #expect(try node.run(vzctl + ["plan", "--detailed-exitcode", "--state", after]).exit == .code(0))
        }
    }

    private func decode(_ text: String) throws -> PlanDocument {
        try JSONDecoder().decode(PlanDocument.self, from: Data(text.utf8))
    }

    /// Each kind of thing that a plan tells is in it.
    private func isComplete(_ plan: String) throws {
        for part in [
            "drifted", "held: held by", "held: lifecycle.disruption", "hostname", "file removed", "broken.yaml:", "+ start",
            "network.venet", "not enforced", "cpulimit",
        ] { #expect(plan.contains(part), "\(part): \(plan)") }
        #expect(!plan.contains("CT 104"), "what another actor owns: \(plan)")
    }

    /// Neither the node's state nor the kernel is looked at.
    @Test func elsewhereNothingOfTheNodeIsNeeded() throws {
        try withNode { node in
            try node.start("web", ctid: 101)
            try node.group().setCPUWeight(77)
            let (file, _) = try save(node)
            let expected = try node.vzctl("plan").output
            let (result, calls) = try SystemCall.traced(
                ["\(TestPlace.programs)/vzctl", "plan", "--state", file], node, also: ",%process,setns")
            #expect(result.output == expected && expected.contains("drifted"), "\(result)")
            // What the runtime wants to know of its own process, and of the number of CPUs, is not the node's.
            let places =
                ["/sys/fs", "cgroup", "mountinfo", "/proc/meminfo", "/proc/cpuinfo", "/proc/sys", node.paths.manifests[0]]
                + [node.paths.state, node.paths.run].map { $0 + "/" }
            let touched = calls.filter { call in
                if ["read", "write", "execve"].contains(call.name) { return call.writes }
                return call.writes || places.contains { call.arguments.contains($0) }
                    || ["clone", "fork", "vfork", "setns", "pidfd"].contains { call.name.hasPrefix($0) }
            }
            #expect(touched.map { "\($0.name)(\($0.arguments)" } == [])
            #expect(calls.contains { $0.arguments.contains(file) })
        }
    }

    @Test func whatIsNoStateIsRefusedWithItsPlace() throws {
        try withNode { node in
            try node.declare("web", "ctid: 101\n" + Self.base)
            let (file, vzctl) = try save(node)
            let sound = try TestFile.read(file)
            let list = try node.vzctl("list", "-o", "json").output
            let damages = [
                ("", ":1:1: expected a value, got the end: this is not a node's state"),
                ("garbage", ":1:1: expected a value, got \"g\""),
                (String(sound.dropLast(30)), ":\(sound.split(separator: "\n").count - 3):5: expected \",\" or \"]\", got the end"),
                (
                    sound.replacing("\"format_version\": \"1.0\"", with: "\"format_version\": \"2.0\""),
                    ": format_version: expected \"1.0\", got \"2.0\""
                ),
                (sound.replacing("\"id_base\": 1879048192", with: "\"id_base\": \"x\""), ": state.records[0].id_base: "),
                (sound.replacing("\"id_base\": 1879048192", with: "\"id_base\": -1"), ": a number in it is out of range"),
                (sound.replacing("kind: Container", with: "kind: Nothing"), ": state.records[0].manifest: manifest:2:7: "),
                (sound.replacing("\"pids_max\"", with: "\"other\""), ": state.capabilities.pids_max: expected a value, got none"),
                (list, ": state: expected a value, got none: save it with vzctl list -o json --full"),
            ]
            for (text, message) in damages {
                #expect(text != sound)
                try TestFile.write(text, to: file)
                let refused = try node.run(vzctl + ["plan", "--state", file])
                #expect(refused.exit == .code(1) && refused.output == "", "\(refused)")
                #expect(refused.errors.hasPrefix("vzctl: \(file)\(message)"), "\(refused.errors)")
            }
            // A later minor version is one of this form.
            try TestFile.write(sound.replacing("\"format_version\": \"1.0\"", with: "\"format_version\": \"1.9\""), to: file)
            #expect(try node.run(vzctl + ["plan", "--state", file]).exit == .code(0))
        }
    }

    @Test func listsForOtherPrograms() throws {
        try withNode { node in
            try node.start("web", ctid: 101, "hostname: web.example.org")
            try node.declare("db", "ctid: 102\nstate: stopped\n")
            let table = try node.vzctl("list").output
            #expect(try node.vzctl("list", "-o", "table").output == table)
            #expect(try node.vzctl("list", "-o", "name").output == "web\ndb\n")
            let json = try node.vzctl("list", "-o", "json").output
            #expect(
                json == """
                    {
                      "containers": [
                        {
                          "ctid": 101,
                          "hostname": "web.example.org",
                          "name": "web",
                          "nproc": 1,
                          "source": "\(node.paths.manifests[0])/web.yaml:1",
                          "status": "running"
                        },
                        {
                          "ctid": 102,
                          "name": "db",
                          "source": "\(node.paths.manifests[0])/db.yaml:1",
                          "status": "stopped"
                        }
                      ],
                      "format_version": "1.0"
                    }

                    """)
            // The same tree, to a reader that is not ours.
            let yaml = node.directory + "/list.yaml"
            for verb in [["list"], ["drift"]] {
                try node.group().setCPUWeight(77)
                func text(_ format: String) throws -> String {
                    try node.run(["\(TestPlace.programs)/vzctl"] + verb + ["-o", format]).output
                }
                try TestFile.write(text("yaml"), to: yaml)
                let read = try node.run([
                    "/usr/bin/python3", "-c",
                    "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1])), sort_keys=True))", yaml,
                ])
                let compact = try node.run(
                    ["/usr/bin/python3", "-c", "import json, sys; print(json.dumps(json.load(sys.stdin), sort_keys=True))"],
                    input: text("json"))
                #expect(read.exit == .code(0) && read.output.count > 50, "\(read)")
                let withoutTime = /"created": "[^"]*"/
                #expect(read.output.replacing(withoutTime, with: "") == compact.output.replacing(withoutTime, with: ""))
            }
        }
    }
}

/// What was changed outside, and what is otherwise than it shall be.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct DriftTests {
    private static let base = "template: busybox\ninit: [/bin/sleep, \"1000000\"]\n"

    @Test func driftIsToldApartFromWishes() throws {
        try withNode { node in
            try node.start("web", ctid: 101, "hostname: web.example.org")
            try node.start("db", ctid: 102)
            for verb in ["drift", "diff"] {
                let same = try node.vzctl(verb)
                #expect(same.exit == .code(0) && same.output == (verb == "drift" ? "Drift: nothing to do\n" : ""), "\(same)")
            }
            // A wish that nobody has fulfilled yet is no drift.
            try node.declare("web", "ctid: 101\n" + Self.base + "hostname: new.example.org")
            #expect(try node.vzctl("drift").exit == .code(0))
            let wish = try node.vzctl("diff", "web")
            #expect(wish.exit == .code(1))
            #expect(
                wish.output == """
                    --- CT 101 web
                    +++ \(node.paths.manifests[0])/web.yaml:1
                    -hostname: web.example.org   # kernel.hostname web.example.org
                    +hostname: new.example.org   # kernel.hostname new.example.org

                    """)
            #expect(try node.vzctl("diff", "db").exit == .code(0))

            let group = try node.group(102)
            try group.setPIDsMax(55)
            let drift = try node.vzctl("drift")
            #expect(drift.exit == .code(1), "\(drift)")
            #expect(drift.output.contains("CT 102 db") && !drift.output.contains("CT 101"), "\(drift)")
            #expect(drift.output.contains("~ beancounters.numproc   drifted 55 → unlimited"), "\(drift)")
            #expect(try node.vzctl("drift", "web").exit == .code(0))
            #expect(try node.vzctl("drift", "102").exit == .code(1))
            let json = try JSONDecoder().decode(PlanDocument.self, from: Data(node.vzctl("drift", "-o", "json").output.utf8))
            #expect(json.containers.map(\.name) == ["db"] && json.summary.drifted == 1)
            #expect(json.containers.first?.changes.map(\.reason) == ["drift"])
            let diff = try node.vzctl("diff")
            #expect(diff.exit == .code(1))
            #expect(
                diff.output.contains(
                    "-beancounters.numproc: 55   # pids.max 55\n+beancounters.numproc: unlimited   # pids.max max\n"))
            #expect(try group.pidsMax() == 55, "nothing was put back")

            // Held, it is drift all the same.
            #expect(try node.vzctl("hold", "db", "--reason", "looking").exit == .code(0))
            #expect(try node.vzctl("drift").exit == .code(1))
        }
    }

    @Test func whatDoesNotRunDiffers() throws {
        try withNode { node in
            try node.declare("web", "ctid: 101\n" + Self.base)
            let fresh = try node.vzctl("diff")
            #expect(fresh.exit == .code(1))
            #expect(fresh.output.contains("-state: stopped\n+state: running\n+root: from template busybox\n"), "\(fresh)")
            try node.vzctlApplied()
            try node.removeManifest("web.yaml")
            try node.declare("other", "ctid: 102\nstate: stopped\n")
            let removed = try node.vzctl("diff", "web")
            #expect(removed.output == "--- CT 101 web\n+++ file removed\n-state: running\n+state: stopped\n", "\(removed)")
        }
    }

    @Test func failuresAreNoDifference() throws {
        try withNode { node in
            for verb in ["drift", "diff"] {
                let unknown = try node.vzctl(verb, "nobody")
                #expect(unknown.exit == .code(2) && unknown.errors.contains("no container \"nobody\""), "\(unknown)")
            }
            try Descriptor.makeDirectories(node.paths.records)
            #expect(chmod(node.paths.records, 0o755) == 0)
            #expect(try node.vzctl("drift").exit == .code(2))
            #expect(try node.vzctl("diff").exit == .code(2))
        }
    }
}

extension TestNode {
    /// Converges everything, by the program.
    fileprivate func vzctlApplied() throws {
        let applied = try vzctl("apply")
        #expect(applied.exit == .code(0) || applied.exit == .code(65) || applied.exit == .code(75), "\(applied)")
    }
}
