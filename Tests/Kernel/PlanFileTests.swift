import FoundationEssentials
import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// A plan that is saved is carried out as it stands, or not at all.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct PlanFileTests {
    private static let base = "template: busybox\ninit: [/bin/sleep, \"1000000\"]\n"

    private func declare(_ node: TestNode, _ name: String = "web", ctid: Int = 101, spec: String = "") throws {
        try node.declare(name, "ctid: \(ctid)\n" + Self.base + spec)
    }

    private func weight(_ node: TestNode, _ ctid: Int = 101) throws -> String? {
        try node.observe(ctid).container.settings.first { $0.field == "cpuunits" }?.value
    }

    /// Saves a plan, and expects it to be good.
    private func save(_ node: TestNode) throws -> String {
        let file = node.directory + "/plan.json"
        let saved = try node.vzctl("plan", "--out", file)
        #expect(saved.exit == .code(0), "\(saved)")
        return file
    }

    @Test func aPlanIsSavedAndDone() throws {
        try withNode { node in
            try declare(node)
            let file = try save(node)
            let status = try TestFile.status(file)
            #expect(status.st_mode & 0o7777 == 0o600)
            #expect(
                try Descriptor.open(node.directory, O_RDONLY | O_DIRECTORY).names().filter { $0.contains("plan.json") } == [
                    "plan.json"
                ])
            #expect(try !node.group().exists)
            let applied = try node.vzctl("apply", "--plan", file)
            #expect(applied.exit == .code(0) && applied.output.contains("Applied: 1 start"), "\(applied)")
            let process = try #require(try node.running())
            #expect(try node.plan().isEmpty)
            let record = try #require(try HostStore(reading: node.paths.records).read(ContainerRecord.self, "101"))
            #expect(record.rootTemplate == "busybox")

            // Once more it is not true any more: the container runs.
            let again = try node.vzctl("apply", "--plan", file)
            #expect(again.exit == .code(1) && again.output == "", "\(again)")

            // Over a plan that is there.
            try declare(node, spec: "cpuunits: 2000")
            #expect(try node.vzctl("apply", "--plan", save(node)).exit == .code(0))
            #expect(try weight(node) == "2000")
            #expect(process.isRunning)
            #expect(try node.vzctl("apply", "--plan", save(node)).output == "Applied: nothing to do\n")
        }
    }

    /// Only what the plan says is done: a container that it does not name is left alone.
    @Test func itsContainersAndNoOthers() throws {
        try withNode { node in
            try declare(node)
            try declare(node, "db", ctid: 102)
            let file = try save(node)
            var plan = try JSONDecoder().decode(PlanDocument.self, from: Data(TestFile.read(file).utf8))
            plan.containers.removeAll { $0.name == "db" }
            try TestFile.write(Array(JSONEncoder().encode(plan)), to: file)
            let applied = try node.vzctl("apply", "--plan", file)
            #expect(applied.exit == .code(0), "\(applied)")
            #expect(try node.running(101) != nil)
            #expect(try node.running(102) == nil)
        }
    }

    private struct Staleness: Sendable, CustomStringConvertible {
        var description: String
        /// What the refusal names.
        var expected: String
        var edit: @Sendable (TestNode, String) throws -> Void
    }

    private static func replace(_ old: String, _ new: String, in file: String) throws {
        let text = try TestFile.read(file)
        #expect(text.contains(old))
        try TestFile.write(text.replacing(old, with: new), to: file)
    }

    private static let stale: [Staleness] = [
        .init(description: "edited manifest", expected: "/web.yaml differs") { node, _ in
            try replace("2000", "3000", in: node.paths.manifests[0] + "/web.yaml")
        },
        .init(description: "comment in a manifest", expected: "/web.yaml differs") { node, _ in
            try replace("kind:", "# why\nkind:", in: node.paths.manifests[0] + "/web.yaml")
        },
        .init(description: "new manifest", expected: "/new.yaml differs") { node, _ in
            try node.declare("new", "ctid: 105\nstate: stopped\n")
        },
        .init(description: "removed manifest", expected: "/db.yaml differs") { node, _ in try node.removeManifest("db.yaml") },
        .init(description: "new drop-in", expected: "/web.yaml.d/90-x.yaml differs") { node, _ in
            try Descriptor.makeDirectories(node.paths.manifests[0] + "/web.yaml.d")
            try TestFile.write("spec: {ioprio: 4}\n", to: node.paths.manifests[0] + "/web.yaml.d/90-x.yaml")
        },
        .init(description: "override", expected: "override 102 differs") { node, _ in
            let stopped = try node.vzctl("stop", "db")
            #expect(stopped.exit == .code(0))
        },
        .init(description: "record", expected: "record 102 differs") { node, _ in
            let store = try HostStore(directory: node.paths.records)
            var record = try #require(try store.read(ContainerRecord.self, "102"))
            record.rootTemplate = "other"
            try store.write(record, "102")
        },
        .init(description: "drift", expected: "CT 101 web is not in the state that it was in") { node, _ in
            try node.group().setCPUWeight(77)
        },
        .init(description: "drift where nothing is to be done", expected: "CT 102 db is not in the state that it was in") {
            node, _ in
            try node.group(102).setCPUWeight(77)
        },
        .init(description: "restart", expected: "CT 102 db is not in the state that it was in") { node, _ in
            try node.running(102)?.send(signal: SIGKILL)
            try TestPlace.wait("db ends") { try node.running(102) == nil }
        },
        .init(description: "other changes", expected: "CT 101 web needs other changes") { _, file in
            try replace("\"after\": \"2000\"", "\"after\": \"2001\"", in: file)
        },
        .init(description: "change taken out", expected: "CT 101 web needs other changes") { _, file in
            var plan = try JSONDecoder().decode(PlanDocument.self, from: Data(TestFile.read(file).utf8))
            plan.containers[0].changes = []
            try TestFile.write(Array(JSONEncoder().encode(plan)), to: file)
        },
        .init(description: "container that is not there", expected: "CT 199 web is not there") { _, file in
            try replace("\"ctid\": 101", "\"ctid\": 199", in: file)
        },
        .init(description: "other node", expected: "it was made on the node ") { node, _ in
            try Command.run(["rm", "-r", "--", node.paths.nodeRecords])
        },
    ]

    @Test func whatIsNotTrueAnyMoreIsRefused() throws {
        try withNode { node in
            for staleness in Self.stale {
                try reset(node)
                try declare(node, spec: "cpuunits: 2000")
                let process = try #require(try node.running())
                let file = try save(node)
                try staleness.edit(node, file)
                let before = try (101...102).map { try node.observe($0).container }
                let refused = try node.vzctl("apply", "--plan", file)
                #expect(refused.exit == .code(1) && refused.output == "", "\(staleness): \(refused)")
                #expect(refused.errors.contains(staleness.expected), "\(staleness): \(refused)")
                let after = try (101...102).map { try node.observe($0).container }
                #expect(after == before, "\(staleness): nothing was done")
                #expect(process.isRunning)
            }
        }
    }

    /// Two containers that run as they shall, whatever was done to the node.
    private func reset(_ node: TestNode) throws {
        let manifests = node.paths.manifests[0]
        try Command.run(["rm", "-rf", "--", manifests + "/web.yaml.d", manifests + "/new.yaml", node.paths.overrides + "/102"])
        try declare(node)
        try declare(node, "db", ctid: 102)
        try node.apply()
    }

    /// What is no plan, or none for this version, is refused before anything is looked at.
    @Test func whatIsNoPlanIsRefused() throws {
        try withNode { node in
            try declare(node)
            let file = try save(node)
            let sound = try TestFile.read(file)
            let others = [
                (
                    sound.replacing("\"format_version\": \"1.0\"", with: "\"format_version\": \"2.0\""),
                    ": format_version: expected \"1.0\", got \"2.0\""
                ),
                (String(sound.dropLast(40)), ":"), ("garbage", ":1:1: expected a value, got \"g\": this is not a plan"),
                ("", ":1:1: expected a value, got the end: this is not a plan"),
                (
                    try node.vzctl("plan", "--json").output,
                    ": the plan is not true any more: it does not tell what it was made from"
                ),
                (try node.vzctl("list", "-o", "json").output, ": generation: expected a value, got none"),
            ]
            for (text, message) in others {
                #expect(text != sound)
                try TestFile.write(text, to: file)
                let refused = try node.vzctl("apply", "--plan", file)
                #expect(refused.exit == .code(1) && refused.output == "", "\(refused)")
                #expect(refused.errors.hasPrefix("vzctl: \(file)\(message)"), "\(refused)")
                #expect(try !node.group().exists)
            }
            let missing = try node.vzctl("apply", "--plan", file + ".missing")
            #expect(missing.exit == .code(1) && missing.errors.contains("plan.json.missing\": No such file"), "\(missing)")
        }
    }

    /// What others do meanwhile waits: the plan is looked at under the locks of its containers.
    @Test func itWaitsForWhoeverIsAtWork() throws {
        try withNode { node in
            try declare(node)
            try node.apply()
            try declare(node, spec: "cpuunits: 2000")
            let file = try save(node)
            var lock = try FileLock.tryLock(node.paths.locks + "/101")
            let apply = try node.spawn([
                "strace", "-f", "-qq", "-o", node.directory + "/strace", "-e", "trace=flock", "\(TestPlace.programs)/vzctl",
                "apply", "--plan", file,
            ])
            TestPlace.wait("apply finds the lock taken") {
                (try? TestFile.read(node.directory + "/strace").contains("EAGAIN")) == true
            }
            try node.group().setCPUWeight(77)
            try #require(lock != nil)
            lock = nil
            #expect(apply.wait() == .code(1))
            #expect(apply.log.contains("CT 101 web is not in the state that it was in"), "\(apply.log)")
        }
    }

    @Test func oneThatFailsHurtsNoOther() throws {
        try withNode { node in
            try node.declare("bad", "ctid: 100001\n" + Self.base.replacing("busybox", with: "missing"))
            try declare(node)
            let applied = try node.vzctl("apply", "--plan", save(node))
            #expect(applied.exit == .code(1) && applied.errors.contains("CT 100001 bad: "), "\(applied)")
            #expect(try node.running() != nil)
        }
    }

    @Test func theDetailedExitCode() throws {
        try withNode { node in
            try declare(node)
            #expect(try node.vzctl("plan", "--detailed-exitcode", "--json").exit == .code(2))
            #expect(try node.vzctl("apply").exit == .code(0))
            #expect(try node.vzctl("plan", "--detailed-exitcode").exit == .code(0))
            try TestFile.write("kind: [", to: node.paths.manifests[0] + "/web.yaml")
            #expect(try node.vzctl("plan").exit == .code(65))
            #expect(try node.vzctl("plan", "--detailed-exitcode").exit == .code(1))
            #expect(try node.vzctl("plan", "--detailed-exitcode", "--state", "/nonexistent").exit == .code(1))
        }
    }

    @Test func whatDoesNotGoTogether() throws {
        try withNode { node in
            for arguments in [
                ["plan", "--out", "x", "y.yaml"], ["plan", "--out", "x", "--state", "y"], ["list", "--full"],
                ["list", "-o", "yaml", "--full"], ["apply", "--plan", "x", "y.yaml"],
            ] {
                let refused = try node.run(["\(TestPlace.programs)/vzctl"] + arguments)
                #expect(refused.exit == .code(64), "\(arguments): \(refused)")
            }
        }
    }
}
