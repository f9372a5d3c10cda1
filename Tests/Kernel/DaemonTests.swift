import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// The daemon as a program of its own, with a real directory and real signals.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct DaemonTests {
    private static let sleep = "template: busybox\ninit: [/bin/sleep, \"1000000\"]\n"
    private static let base = "ctid: 101\n" + sleep

    /// Waits for process 1 of a container, other than `not`.
    @discardableResult
    private func awaitRunning(
        _ node: TestNode, _ daemon: TestProcess, _ ctid: Int = 101, not old: PidFD? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> PidFD {
        var process: PidFD?
        try TestPlace.wait(
            "CT \(ctid) runs",
            until: {
                process = try node.running(ctid)
                return process != nil && process?.pid != old?.pid
            }, note: { daemon.log }, sourceLocation: sourceLocation)
        return try #require(process, sourceLocation: sourceLocation)
    }

    private func awaitLog(_ daemon: TestProcess, _ text: String, sourceLocation: SourceLocation = #_sourceLocation) {
        TestPlace.wait(
            "the log says \"\(text)\"", until: { daemon.log.contains(text) }, note: { daemon.log }, sourceLocation: sourceLocation)
    }

    @Test func itFollowsTheDirectory() throws {
        try withNode { node in
            try node.declare("web", Self.base + "beancounters: {numproc: 100}")
            let daemon = try node.vzd()
            let process = try awaitRunning(node, daemon)
            try node.declare("web", Self.base + "beancounters: {numproc: 60}")
            try TestPlace.wait("the edit is made", until: { try node.group().pidsMax() == 60 }, note: { daemon.log })
            awaitLog(daemon, "beancounters.numproc 100 → 60 (pids.max 100 → 60)")
            try node.declare("db", "ctid: 102\n" + Self.sleep)
            try awaitRunning(node, daemon, 102)
            #expect(process.isRunning)
            try node.removeManifest("web.yaml")
            #expect(process.waitForExit(milliseconds: TestPlace.patienceMilliseconds))
            try TestPlace.wait("nothing of it is left") { try !node.group(101).exists }
            #expect(try node.running(102) != nil)
            daemon.send(SIGTERM)
            #expect(daemon.wait() == .code(0), "\(daemon.log)")
            #expect(daemon.log.contains("containers go on running"))
            #expect(try node.running(102) != nil)
        }
    }

    @Test func containersOutliveItAndItFindsThemAgain() throws {
        try withNode { node in
            try node.declare("web", Self.base + "beancounters: {numproc: 100}")
            var daemon = try node.vzd()
            let process = try awaitRunning(node, daemon)
            for signal in [SIGTERM, SIGKILL, SIGINT] {
                daemon.send(signal)
                #expect(daemon.wait() == (signal == SIGKILL ? .signal(SIGKILL) : .code(0)), "\(daemon.log)")
                #expect(process.isRunning)
                try node.group().setPIDsMax(7)
                daemon = try node.vzd()
                try TestPlace.wait("drift is put back", until: { try node.group().pidsMax() == 100 }, note: { daemon.log })
                awaitLog(daemon, "beancounters.numproc 7 → 100 (pids.max 7 → 100, drift)")
                #expect(try node.running()?.pid == process.pid)
            }
            #expect(process.isRunning)
        }
    }

    /// Whoever finds the lock taken may send one at once, as `vzctl` does.
    @Test(arguments: [SIGHUP, SIGTERM, SIGINT]) func aSignalDuringItsStartWaitsForIt(_ signal: Int32) throws {
        try withNode { node in
            let lock = node.paths.run + "/vzd.lock"
            for _ in 1...3 {
                let daemon = try node.vzd()
                TestPlace.wait("it has the lock", until: { FileLock.holder(of: lock) == daemon.process.pid }, note: { daemon.log })
                for _ in 1...(signal == SIGHUP ? 50 : 1) { daemon.send(signal) }
                if signal == SIGHUP {
                    awaitLog(daemon, "watching")
                    daemon.send(SIGTERM)
                }
                #expect(daemon.wait() == .code(0), "\(daemon.log)")
                unlink(lock)
            }
        }
    }

    @Test func thereIsOneAtATime() throws {
        try withNode { node in
            let first = try node.vzd()
            awaitLog(first, "watching")
            let second = try node.vzd()
            #expect(second.wait() == .code(75))
            #expect(second.log.contains("another vzd runs on \(node.paths.run) (process \(first.process.pid))"), "\(second.log)")
            #expect(first.isRunning)
        }
    }

    @Test func driftIsPutBackWithinTheIntervalAndAtOnceOnHangup() throws {
        try withNode { node in
            try node.declare("web", Self.base + "beancounters: {numproc: 100}")
            let daemon = try node.vzd("--interval", "3600")
            let process = try awaitRunning(node, daemon)
            try TestPlace.wait("it is settled") { try node.plan().isEmpty }
            try node.group().setPIDsMax(7)
            daemon.send(SIGHUP)
            try TestPlace.wait("put back after SIGHUP", until: { try node.group().pidsMax() == 100 }, note: { daemon.log })
            daemon.send(SIGTERM)
            daemon.wait()
            let other = try node.vzd("--interval", "1")
            awaitLog(other, "watching")
            for _ in 1...2 {
                try node.group().setPIDsMax(7)
                try TestPlace.wait("put back by the timer", until: { try node.group().pidsMax() == 100 }, note: { other.log })
            }
            #expect(try node.running()?.pid == process.pid)
        }
    }

    @Test func anInitThatEndsIsStartedAgain() throws {
        try withNode { node in
            try node.declare("web", Self.base)
            let daemon = try node.vzd()
            let process = try awaitRunning(node, daemon)
            try process.send(signal: SIGKILL)
            let next = try awaitRunning(node, daemon, not: process)
            awaitLog(daemon, "init (/bin/sleep 1000000) ended too soon")
            #expect(daemon.log.contains("next try in"))
            #expect(next.isRunning && !process.isRunning)
        }
    }

    @Test func whatCannotStartIsToldAndTriedLessAndLessAndHurtsNobody() throws {
        try withNode { node in
            try node.declare("web", Self.base)
            try node.declare("quits", "ctid: 102\ntemplate: busybox\ninit: [/bin/sh, -c, exit 42]")
            try node.declare("nowhere", "ctid: 103\ntemplate: busybox\ninit: [/no/such/init]")
            try node.declare("rootless", "ctid: 104\ntemplate: nosuch")
            try node.declare("bare", "ctid: 105")
            let daemon = try node.vzd()
            let process = try awaitRunning(node, daemon)
            awaitLog(daemon, "CT 102 quits: init (/bin/sh -c exit 42) ended too soon")
            awaitLog(daemon, "CT 103 nowhere: execute \"/no/such/init\": No such file or directory; next try in")
            awaitLog(daemon, "CT 104 rootless: find template \"nosuch\"")
            awaitLog(daemon, "CT 105 bare: start CT 105: there is no root at \(node.root(105))")
            if Self.kernelTellsExits { #expect(daemon.log.contains("ended too soon, exit code 42; next try in")) }
            func tries(_ who: String) -> Int {
                daemon.log.split(separator: "\n").count { $0.contains(who) && $0.contains("next try") }
            }
            TestPlace.wait("each is tried thrice", until: { (102...103).allSatisfy { tries("CT \($0) ") >= 3 } }) { daemon.log }
            for ctid in 102...103 {
                let waits = daemon.log.split(separator: "\n").filter { $0.contains("CT \(ctid) ") }.compactMap { line in
                    line.firstRange(of: "next try in ").map { line[$0.upperBound...] }.flatMap { Double($0.dropLast(2)) }
                }
                #expect(waits.count >= 3 && (0.9...1.2).contains(waits[0]) && (3.6...4.5).contains(waits[2]), "\(waits)")
            }
            #expect(process.isRunning)
            #expect(try node.running()?.pid == process.pid)
            for ctid in 103...105 { #expect(try !node.group(ctid).exists, "nothing is left of the start of \(ctid)") }

            // What only somebody's input mends is tried once, and told.
            func told(_ text: String) -> Int { daemon.log.split(separator: "\n").count { $0.contains(text) } }
            // What it comes to at a look is told again when it came to it twice.
            #expect((1...2).contains(told("CT 104 rootless: find template")), "\(daemon.log)")
            #expect((1...2).contains(told("CT 105 bare: start CT 105")), "\(daemon.log)")
            let status = StatusReader(node.paths.status).status(of: try node.container(105))
            #expect(status?.isTrue(.stalled) == true && status?.health == .degraded)

            // New input is tried at once, whatever it is.
            try node.declare("nowhere", "ctid: 103\n" + Self.sleep)
            try awaitRunning(node, daemon, 103)
            try node.declare("bare", "ctid: 105\n" + Self.sleep)
            try awaitRunning(node, daemon, 105)
        }
    }

    /// A pidfd tells the exit of a stranger since Linux 6.15; before, it is luck.
    private static var kernelTellsExits: Bool {
        var name = utsname()
        uname(&name)
        let release = withUnsafeBytes(of: &name.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        let numbers = release.split { $0 == "." || $0 == "-" }.prefix(2).compactMap { Int($0) }
        return numbers.count == 2 && (numbers[0], numbers[1]) >= (6, 15)
    }

    @Test func theWordOfVzctlStands() throws {
        try withNode { node in
            try node.declare("web", Self.base)
            let daemon = try node.vzd()
            let process = try awaitRunning(node, daemon)
            #expect(try node.vzctl("stop", "web").exit == .code(0))
            #expect(!process.isRunning)
            // Long enough for a look and for whatever the end of the process sets going.
            try node.declare("db", "ctid: 102\n" + Self.sleep)
            try awaitRunning(node, daemon, 102)
            #expect(try node.running(101) == nil)
            #expect(!daemon.log.contains("ended"), "\(daemon.log)")
            #expect(try node.vzctl("start", "web").exit == .code(0))
            let next = try #require(try node.running(101))
            daemon.send(SIGHUP)
            try node.declare("db", "ctid: 102\nstate: stopped")
            try TestPlace.wait("the other is stopped") { try node.running(102) == nil }
            #expect(try node.running(101)?.pid == next.pid)
        }
    }

    @Test func aStopEndsTheTriesToStart() throws {
        try withNode { node in
            try node.declare("quits", "ctid: 102\ntemplate: busybox\ninit: [/bin/sh, -c, exit 42]")
            try node.declare("nowhere", "ctid: 103\ntemplate: busybox\ninit: [/no/such/init]")
            let daemon = try node.vzd()
            awaitLog(daemon, "CT 102 quits: init (/bin/sh -c exit 42) ended too soon")
            #expect(try node.vzctl("stop", "quits").exit == .code(0))
            func count(_ text: String) -> Int { daemon.log.split(separator: "\n").count { $0.contains(text) } }
            let (starts, others) = (count("CT 102 quits: started"), count("CT 103 nowhere: execute"))
            // Its next try was due by then.
            TestPlace.wait("two tries of the other", until: { count("CT 103 nowhere: execute") >= others + 2 }) { daemon.log }
            #expect(count("CT 102 quits: started") == starts, "\(daemon.log)")
            #expect(try node.node().core.present() == [])
        }
    }

    @Test func brokenFilesAreToldAndHurtNobody() throws {
        try withNode { node in
            try node.declare("web", Self.base + "beancounters: {numproc: 100}")
            var daemon = try node.vzd()
            let process = try awaitRunning(node, daemon)
            let files: [(String, [UInt8], String)] = [
                ("empty.yaml", [], "empty.yaml"), ("binary.yaml", [0xff, 0xfe, 0, 1, 2], "binary.yaml"),
                ("prose.yaml", Array("this is no manifest\n".utf8), "prose.yaml"),
                ("large.yaml", [UInt8](repeating: UInt8(ascii: "#"), count: 2 << 20), "large.yaml: expected at most 1048576 bytes"),
                ("deep.yaml", [UInt8](repeating: UInt8(ascii: "["), count: 100_000), "deep.yaml"),
                ("web.yaml", Array("apiVersion: vz/v1\nkind: Cont".utf8), "web.yaml"),
            ]
            for (name, bytes, told) in files {
                let began = ContinuousClock.now
                try TestFile.write(bytes, to: "\(node.paths.manifests[0])/\(name)")
                awaitLog(daemon, told)
                let took = began.duration(to: .now)
                // The quiet that ends a burst of events, 100 ms, is in it.
                if !TestPlace.isVirtualMachine { #expect(took < .seconds(1.2), "\(name): \(took)") }
            }
            awaitLog(daemon, "CT 101 web: the last accepted manifest stays in force")
            #expect(process.isRunning)
            daemon.kill()
            try node.group().setPIDsMax(7)
            daemon = try node.vzd()
            try TestPlace.wait("its limit is put back", until: { try node.group().pidsMax() == 100 }, note: { daemon.log })
            #expect(try node.running()?.pid == process.pid)
            try node.declare("web", Self.base + "beancounters: {numproc: 50}")
            try TestPlace.wait("the mended file counts", until: { try node.group().pidsMax() == 50 }, note: { daemon.log })
        }
    }

    @Test func manyContainersAtOnce() throws {
        try withNode { node in
            func declareAll(_ state: String) throws {
                let documents = (1...10).map { TestNode.manifest("ct\($0)", "ctid: \(100 + $0)\nstate: \(state)\n" + Self.sleep) }
                try TestFile.write(documents.joined(separator: "---\n"), to: node.paths.manifests[0] + "/all.yaml")
            }
            try declareAll("running")
            let daemon = try node.vzd()
            // Meanwhile somebody applies by hand.
            let others = try (1...3).map { _ in try node.spawn(["\(TestPlace.programs)/vzctl", "apply"]) }
            let processes = try (101...110).map { try awaitRunning(node, daemon, $0) }
            for other in others { #expect(other.wait() == .code(0), "\(other.log)") }
            try TestPlace.wait("all is settled", until: { try node.plan().isEmpty }, note: { daemon.log })
            var bases: Set<UInt32?> = []
            for (ctid, process) in zip(101..., processes) {
                #expect(try node.group(ctid).processes() == [process.pid], "one process, started once")
                let descriptors = try Descriptor.open("/proc/\(process.pid)/fd", O_RDONLY | O_DIRECTORY).names()
                #expect(descriptors.sorted() == ["0", "1", "2"], "CT \(ctid)")
                try bases.insert(node.node().core.idBase(of: process))
            }
            #expect(bases.count == 10 && !bases.contains(nil))
            #expect(!daemon.log.contains("error"), "\(daemon.log)")
            try declareAll("stopped")
            try TestPlace.wait("all are stopped", until: { try node.node().core.present() == [] }, note: { daemon.log })
        }
    }

    /// A copy that goes on without it would meet the next one's.
    @Test func whatItLetsOthersDoEndsWithIt() throws {
        try withNode { node in
            let programs = node.directory + "/programs"
            try Descriptor.makeDirectories(programs)
            try TestFile.write(
                "#!/bin/sh\nmkdir \"$5\" && touch \"$5/half\" && exec sleep 1000000\n", to: programs + "/cp", mode: 0o755)
            try node.declare("web", Self.base)
            let daemon = try node.vzd(path: programs)
            let half = "\(node.paths.containers)/101/root.new/half"
            TestPlace.wait("the copy is under way", until: { TestFile.exists(half) }) { daemon.log }
            daemon.kill()
            TestPlace.wait("nobody is at it any more", until: { TestNode.processes(of: node.paths.controlGroup).isEmpty })
            let next = try node.vzd()
            try awaitRunning(node, next)
            #expect(!TestFile.exists(node.root() + "/half") && !TestFile.exists(half))
        }
    }

    /// Whatever it was doing, the next one makes of it what the manifest says, once.
    @Test func killedAtAnyMomentOfAStart() throws {
        try withNode { node in
            try node.declare("web", Self.base + "beancounters: {numproc: 100}\nhostname: web.example.org")
            for attempt in 1...(TestPlace.isVirtualMachine ? 8 : 20) {
                let daemon = try node.vzd()
                awaitLog(daemon, "watching")
                // Not a guess at a moment but many moments: the start takes some 20 ms.
                usleep(useconds_t.random(in: 0...(TestPlace.isVirtualMachine ? 500_000 : 40_000)))
                daemon.kill()
                let next = try node.vzd()
                let process = try awaitRunning(node, next)
                try TestPlace.wait("attempt \(attempt) is settled", until: { try node.plan().isEmpty }, note: { next.log })
                #expect(try node.running()?.pid == process.pid)
                #expect(try node.group().processes() == [process.pid], "\(next.log)")
                // A start that outlived the daemon may still be on its way to the program.
                try TestPlace.wait("attempt \(attempt) executes init") {
                    try TestFile.read("/proc/\(process.pid)/cmdline") == "/bin/sleep\0" + "1000000\0"
                }
                let home = try Descriptor.open("\(node.paths.containers)/101", O_RDONLY | O_DIRECTORY).names()
                #expect(home == ["root"])
                let entries = try Descriptor.open(node.root(), O_RDONLY | O_DIRECTORY).names()
                #expect(entries.contains("bin") && !entries.contains("busybox"), "\(entries)")
                next.kill()
                try node.group().killAll()
                #expect(try node.group().waitUntilEmpty(deadline: .now + TestPlace.patience))
                try node.group().remove()
                try Command.run(["rm", "-rf", "--one-file-system", "--", "\(node.paths.containers)/101"])
            }
        }
    }
}
