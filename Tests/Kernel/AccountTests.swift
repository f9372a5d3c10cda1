import FoundationEssentials
import Glibc
import Logging
import Synchronization
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// What is written down of containers, and who may read it.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct AccountTests {
    private static let quiet = Logger(label: "quiet") { _ in SwiftLogNoOpLogHandler() }
    /// A group that every Debian has, and which owns nothing here.
    private static let groupName = "daemon"
    private static let nobody = 65534

    private func facts(_ observed: RunState = .running, digest: String = "d1", _ changes: [Change] = []) throws -> StatusFacts {
        StatusFacts(
            ctid: try #require(ContainerID(101)), name: "web", source: "/etc/vz.d/web.yaml:1", digest: digest, desired: .running,
            observed: observed, process: observed == .running ? 4711 : nil, changes: changes,
            outcome: changes.isEmpty ? .unchanged : .made, reconcile: "r1")
    }

    private static let held = Change(
        action: .wait, field: "init", after: "x", disruption: .restart, held: "vzctl restart web")
    private static let change = Change(action: .start, before: "stopped", after: "/sbin/init")

    // MARK: Without root

    @Test func membersOfTheGroupLookWithoutBeingRoot() throws {
        try withNode { node in
            let group = ReaderGroup(environment: ["VZ_GROUP": Self.groupName])
            let gid = try #require(group.id)
            let status = StatusDirectory(node.paths.status, log: Self.quiet, group: group)
            // The way to the test's own directories is not what is tested.
            for path in [TestPlace.directory, node.directory] { try #require(chmod(path, 0o711) == 0) }
            defer { chmod(TestPlace.directory, 0o700) }
            _ = try node.node()  // the stores, which must stay closed
            status.update(try facts(.running, [Self.change]))
            let audit = AuditLog(state: node.paths.state, log: Self.quiet, group: group)
            audit.append(AuditEntry(Self.change, of: try node.container(), name: "web", reconcile: "r1", actor: "vzd"))
            EventLog(run: node.paths.run, log: Self.quiet, group: group)
                .note(.normal, "Started", "started", of: try node.container(), name: "web")

            func vzctl(_ gid: UInt32, _ arguments: String...) throws -> TestNode.Finished {
                try node.run(
                    ["setpriv", "--reuid", "\(Self.nobody)", "--regid", "\(gid)", "--clear-groups"]
                        + ["env", "VZ_GROUP=\(Self.groupName)", "\(TestPlace.programs)/vzctl"] + arguments)
            }
            let json = try vzctl(gid, "status", "web", "-o", "json")
            #expect(json.exit == .code(0), "\(json.errors)")
            #expect(try json.output == TestFile.read("\(node.paths.status)/101.json"))
            let decoded = try JSONDecoder().decode(ContainerStatus.self, from: Data(json.output.utf8))
            #expect(decoded.isConverged)
            let events = try vzctl(gid, "events", "web")
            #expect(events.exit == .code(0) && events.output.contains("Started"), "\(events)")
            let history = try vzctl(gid, "history", "101")
            #expect(history.exit == .code(0) && history.output.contains("start stopped → /sbin/init"), "\(history)")
            #expect(try vzctl(gid, "wait", "web", "--for", "running", "--timeout", "0").exit == .code(0))

            // Whoever is not a member sees nothing, and is told what to do.
            let other = UInt32(Self.nobody)
            for verb in [
                ["status", "web", "-o", "json"], ["events"], ["history", "web"],
                ["wait", "web", "--for", "running", "--timeout", "0"],
            ] {
                let refused = try node.run(
                    ["setpriv", "--reuid", "\(other)", "--regid", "\(other)", "--clear-groups"]
                        + ["env", "VZ_GROUP=\(Self.groupName)", "\(TestPlace.programs)/vzctl"] + verb)
                #expect(refused.exit == .code(77), "\(verb): \(refused)")
                #expect(refused.errors.contains("be root, or a member of group \(Self.groupName)"), "\(verb): \(refused)")
                #expect(refused.output == "", "\(verb)")
            }
            // Members see what is shared, and nothing else.
            let closed = try node.run(
                ["setpriv", "--reuid", "\(Self.nobody)", "--regid", "\(gid)", "--clear-groups"]
                    + ["ls", node.paths.run, node.paths.state, node.paths.records, node.paths.locks, node.paths.containers])
            #expect(closed.output == "" && closed.exit == .code(2), "\(closed)")
        }
    }

    @Test func theLineOfStatusStaysAndJSONTellsTheRest() throws {
        try withNode { node in
            try node.start()
            #expect(try node.vzctl("status", "web").output == "CTID 101 exist mounted running\n")
            #expect(try node.vzctl("status", "101", "-o", "text").output == "CTID 101 exist mounted running\n")
            let unknown = try node.vzctl("status", "db", "-o", "json")
            #expect(unknown.exit == .code(68) && unknown.output == "", "\(unknown)")
            let status = StatusDirectory(node.paths.status, log: Self.quiet, group: ReaderGroup(id: nil))
            status.update(try facts())
            let json = try node.vzctl("status", "101", "-o", "json")
            #expect(json.exit == .code(0) && json.output.contains("\"health\" : \"Healthy\""), "\(json)")
            // In a later version's form it is passed on as it is; for us there is none.
            #expect(try node.vzctl("status", "101", "-o", "yaml").exit == .code(64))
        }
    }

    @Test func eventsAndHistoryAsJSON() throws {
        try withNode { node in
            #expect(try node.vzctl("events").exit == .code(0))
            #expect(try node.vzctl("history", "web").exit == .code(68))
            let audit = AuditLog(state: node.paths.state, log: Self.quiet, group: ReaderGroup(id: nil))
            for number in 1...3 {
                audit.append(AuditEntry(Self.change, of: try node.container(), name: "web", reconcile: "r\(number)", actor: "vzd"))
            }
            let events = EventLog(run: node.paths.run, log: Self.quiet, group: ReaderGroup(id: nil))
            events.note(.warning, "StartFailed", "no root", of: try node.container(), name: "web")
            events.note(.normal, "Accepted", "1 manifest")
            func list(_ key: String, _ arguments: String...) throws -> [[String: JSONValue]] {
                let finished = try node.run(["\(TestPlace.programs)/vzctl"] + arguments)
                let document = try JSONDecoder().decode([String: JSONValue].self, from: Data(finished.output.utf8))
                #expect(document["format_version"] == .number(1))
                guard case .list(let items) = document[key] else { return [] }
                return items
            }
            let history = try list("changes", "history", "web", "-o", "json", "--limit", "2")
            #expect(history.map { $0["reconcile"] } == [.text("r2"), .text("r3")])
            #expect(try list("events", "events", "-o", "json").map { $0["reason"] } == [.text("StartFailed"), .text("Accepted")])
            #expect(try list("events", "events", "101", "-o", "json").count == 1)
            #expect(try node.vzctl("history", "web", "--limit", "0").exit == .code(64))
        }
    }

    /// As much of JSON as the tests look at.
    private enum JSONValue: Decodable, Equatable {
        case number(Int)
        case text(String)
        case list([[String: JSONValue]])
        case other
        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let number = try? container.decode(Int.self) {
                self = .number(number)
            } else if let text = try? container.decode(String.self) {
                self = .text(text)
            } else if let list = try? container.decode([[String: JSONValue]].self) {
                self = .list(list)
            } else {
                self = .other
            }
        }
    }

    // MARK: Waiting

    private func wait(_ node: TestNode, _ goal: String, _ more: String...) throws -> TestProcess {
        try node.spawn(["\(TestPlace.programs)/vzctl", "wait", "web", "--for", goal] + more)
    }

    @Test func waitEndsWhenItIsSo() throws {
        try withNode { node in
            let status = StatusDirectory(node.paths.status, log: Self.quiet, group: ReaderGroup(id: nil))
            try node.declare("web", "ctid: 101\nstate: running")
            let early = try wait(node, "running")
            let stopped = try wait(node, "stopped")
            status.update(try facts(.stopped))
            #expect(stopped.wait() == .code(0), "\(stopped.log)")
            #expect(early.isRunning)
            status.update(try facts(.running))
            #expect(early.wait() == .code(0), "\(early.log)")
            for (goal, code) in [("stopped", 0), ("converged", 68)] as [(String, Int32)] {
                status.update(try facts(.running, [Self.change]))
                status.update(try facts(.running, [Self.held]))
                let looks = try Looks(at: "\(node.paths.status)/101.json")
                let waiting = try wait(node, goal)
                // The second look comes after the first is over.
                try TestPlace.wait("it has looked twice", until: { try looks.count() >= 2 }, note: { waiting.log })
                try? node.removeManifest("web.yaml")
                status.keep(only: [])
                #expect(waiting.wait() == .code(code), "\(goal): \(waiting.log)")
            }
            #expect(try node.vzctl("wait", "web", "--for", "stopped").exit == .code(68))
        }
    }

    /// Counts how often a file was read and closed again.
    private final class Looks {
        private let descriptor: Descriptor
        private var seen = 0

        init(at path: String) throws {
            descriptor = Descriptor(adopting: inotify_init1(Int32(IN_NONBLOCK) | Int32(IN_CLOEXEC)))
            try #require(inotify_add_watch(descriptor.raw, path, UInt32(IN_CLOSE_NOWRITE)) >= 0, "\(path): \(errno)")
        }

        func count() throws -> Int {
            var bytes = [UInt8](repeating: 0, count: 65536)
            let n = read(descriptor.raw, &bytes, bytes.count)
            // Events of a watch on a file carry no name: all are of the same size.
            if n > 0 { seen += n / MemoryLayout<inotify_event>.size }
            return seen
        }
    }

    @Test func waitForConvergedMeansTheManifestAsItStands() throws {
        try withNode { node in
            let status = StatusDirectory(node.paths.status, log: Self.quiet, group: ReaderGroup(id: nil))
            func digest() throws -> String {
                guard case .valid(let digest) = ManifestDigest.declared("web", in: node.paths.manifests) else { return "" }
                return digest
            }
            try node.declare("web", "ctid: 101\ncpuunits: 1000")
            let first = try digest()
            #expect(first != "")
            status.update(try facts(digest: first))
            #expect(try node.vzctl("wait", "web", "--for", "converged", "--timeout", "0").exit == .code(0))
            try node.declare("web", "ctid: 101\ncpuunits: 2000")
            let late = try node.vzctl("wait", "web", "--for", "converged", "--timeout", "0.2")
            #expect(late.exit == .code(75) && late.errors.contains("vzd has not taken in its manifest yet"), "\(late)")
            let waiting = try wait(node, "converged")
            status.update(try facts(digest: digest()))
            #expect(waiting.wait() == .code(0), "\(waiting.log)")

            status.update(try facts(digest: digest(), [Self.held]))
            let restart = try node.vzctl("wait", "web", "--for", "converged", "--timeout", "0")
            #expect(restart.exit == .code(75) && restart.errors.contains("RestartRequired: init: vzctl restart web"), "\(restart)")
            #expect(try node.vzctl("wait", "web", "--for", "running", "--timeout", "0").exit == .code(0))
            let never = try node.vzctl("wait", "web", "--for", "stopped", "--timeout", "0")
            #expect(never.exit == .code(75) && never.errors.contains("it is running, OutOfSync, Healthy"), "\(never)")
            let typo = try node.vzctl("wait", "web", "--for", "happy")
            #expect(typo.exit == .code(64))
        }
    }

    // MARK: A full disk

    @Test func aFullDiskCostsLinesAndNothingElse() throws {
        try withNode { node in
            let place = "\(node.directory)/small"
            try Descriptor.makeDirectories(place)
            try Command.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "vz-test", place])
            defer { #expect(throws: Never.self) { try Command.run(["umount", place]) } }
            let lines = CollectedLines()
            let log = Logger(label: "test") { _ in CollectedLines.Handler(lines: lines) }
            let audit = AuditLog(state: place, log: log, group: ReaderGroup(id: nil))
            let status = StatusDirectory("\(place)/status", log: log, group: ReaderGroup(id: nil))
            func append(_ name: String) throws {
                audit.append(AuditEntry(Self.change, of: try node.container(), name: "web", reconcile: name, actor: "vzd"))
            }
            try append("first")
            status.update(try facts())
            var count = 0
            while lines.all.isEmpty && count < 10_000 {
                count += 1
                try append("filling \(count)")
            }
            for number in 1...5 { try append("lost \(number)") }
            status.update(try facts(.stopped))
            #expect(lines.all.count == 2, "\(lines.all)")
            #expect(lines.all.allSatisfy { $0.contains("No space left on device") && $0.contains("told once") }, "\(lines.all)")
            // The former status is still whole.
            #expect(StatusReader("\(place)/status").status(of: try node.container())?.state == .running)
            let kept = try AuditLog.read(state: place).map(\.reconcile)
            #expect(kept.first == "first" && kept.last == "filling \(count - 1)", "\(kept.suffix(3))")

            try Command.run(["mount", "-o", "remount,size=256k", place])
            try append("afterwards")
            status.update(try facts(.stopped))
            #expect(try AuditLog.read(state: place).map(\.reconcile) == kept + ["afterwards"])
            #expect(StatusReader("\(place)/status").status(of: try node.container())?.state == .stopped)
            #expect(lines.all.count == 2)
        }
    }

    // MARK: The daemon's own limits

    /// As `examples/systemd/vzd.service` has it run: with fewer capabilities, spared when memory is short, with many descriptors.
    @Test func containersDoNotInheritWhatTheUnitGivesTheDaemon() throws {
        let unit = try TestFile.read("\(Self.repository)/examples/systemd/vzd.service")
        func setting(_ name: String) throws -> String {
            let line = try #require(unit.split(separator: "\n").first { $0.hasPrefix(name + "=") })
            return String(line.dropFirst(name.count + 1))
        }
        let capabilities = try setting("CapabilityBoundingSet").dropFirst().split(separator: " ").map {
            "-" + $0.dropFirst("CAP_".count).lowercased()
        }
        #expect(capabilities.contains("-sys_module"))
        // Both take a capability that not every root has: then what goes without it.
        let mayRaise = try KernelFile.read("/proc/self/status").contains(/CapEff:\t[0-9a-f]{9}[13579bdf]/)
        let files = try mayRaise ? setting("LimitNOFILE") : "\(OwnProcess.openFilesHardLimit)"
        let score = try mayRaise ? setting("OOMScoreAdjust") : "500"
        let hard = min(UInt64(files) ?? 0, 524_288)
        try withNode { node in
            let forks = "for i in 1 2 3 4 5 6 7 8; do (while :; do sleep 1000; done) & done; wait"
            try node.declare("web", "ctid: 101\ntemplate: busybox\ninit: [/bin/sh, -c, \"\(forks)\"]")
            let daemon = try node.spawn(
                ["prlimit", "--nofile=\(files)", "choom", "-n", score, "--"]
                    + ["setpriv", "--bounding-set", capabilities.joined(separator: ","), "\(TestPlace.programs)/vzd"])
            try TestPlace.wait("CT 101 runs", until: { try node.running() != nil }, note: { daemon.log })
            try TestPlace.wait("it has forked") { try node.group().processes().count >= 9 }
            func proc(_ pid: Int32, _ file: String) throws -> String { try KernelFile.read("/proc/\(pid)/\(file)") }
            // The unit's settings are really there.
            #expect(try proc(daemon.process.pid, "oom_score_adj") == score)
            #expect(try proc(daemon.process.pid, "limits").contains(try Regex("Max open files +\(files) +\(files) ")))
            let processes = try node.group().processes()
            try TestPlace.wait("they are not spared", until: { try processes.allSatisfy { try proc($0, "oom_score_adj") == "0" } })
            for process in processes {
                let limits = try proc(process, "limits")
                #expect(limits.contains(try Regex("Max open files +1024 +\(hard) ")), "\(limits)")
            }
            let bounds = try node.output("grep CapBnd /proc/1/status")
            let plain = try boundingSet(node)
            #expect(bounds == plain)
            daemon.send(SIGTERM)
            #expect(daemon.wait() == .code(0), "\(daemon.log)")
        }
    }

    /// The capabilities of a container that is started without any of this.
    private func boundingSet(_ node: TestNode) throws -> String {
        try node.declare("plain", "ctid: 102\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]")
        try node.apply()
        return try node.output("grep CapBnd /proc/1/status", 102)
    }

    private static var repository: String {
        "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    }
}

/// A log that keeps its lines.
private final class CollectedLines: Sendable {
    private let kept = Mutex<[String]>([])
    var all: [String] { kept.withLock { $0 } }

    struct Handler: LogHandler {
        let lines: CollectedLines
        var logLevel = Logger.Level.trace
        var metadata = Logger.Metadata()
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }
        func log(event: LogEvent) { lines.kept.withLock { $0.append("\(event.message)") } }
    }
}
