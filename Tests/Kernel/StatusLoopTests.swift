import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// What the daemon writes down of a container: its status at every turn, who changed what, and what happened.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct StatusLoopTests {
    private static let base = "ctid: 101\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]\nbeancounters: {numproc: 100}\n"

    private func status(_ node: TestNode, _ ctid: Int = 101) throws -> ContainerStatus? {
        StatusReader(node.paths.status).status(of: try node.container(ctid))
    }

    private func see(
        _ node: TestNode, _ daemon: TestProcess, _ what: String, _ ctid: Int = 101, _ condition: (ContainerStatus) -> Bool
    ) throws {
        try TestPlace.wait(
            what, until: { try status(node, ctid).map(condition) ?? false },
            note: { ((try? TestFile.read("\(node.paths.status)/\(ctid).json")) ?? "no status") + daemon.log })
    }

    @Test func statusTellsEveryTurn() throws {
        try withNode { node in
            try node.declare("web", Self.base + "ram: 64M")
            let daemon = try node.vzd("--interval", "1")
            try see(node, daemon, "it is healthy") {
                $0.health == .healthy && $0.sync == .inSync && $0.isTrue(.ready) && $0.isConverged && $0.state == .running
            }
            let first = try #require(try status(node))
            #expect(first.source.hasSuffix("/web.yaml:1") && first.results.last?.outcome == .changed)
            #expect(first.process == (try node.running()?.pid) && first.generation.applied == first.generation.attempted)
            #expect(try node.vzctl("status", "web", "-o", "json").output.contains("\"health\""))

            try node.group().setPIDsMax(7)
            try see(node, daemon, "drift is told") { $0.isTrue(.drifted) && $0.driftCount == 1 }
            try see(node, daemon, "drift is over") { !$0.isTrue(.drifted) && $0.driftCount == 1 }

            try node.declare("web", Self.base + "ram: 64M\nenv: {A: b}")
            try see(node, daemon, "a restart is wanted") {
                $0.isTrue(.restartRequired) && $0.sync == .outOfSync && $0.health == .healthy
            }

            try node.declare("web", Self.base + "ram: lots")
            try see(node, daemon, "the manifest is broken") {
                $0[.manifestValid]?.status == .false && $0[.manifestValid]?.message.contains("spec.ram") == true
            }
            try node.declare("web", Self.base + "ram: 64M")
            try see(node, daemon, "all is well again") { $0.isConverged && $0[.manifestValid]?.status == .true }

            #expect(try node.vzctl("hold", "web", "--reason", "being looked at").exit == .code(0))
            try see(node, daemon, "it is held") { $0.isTrue(.held) && $0[.held]?.message.contains("being looked at") == true }
            #expect(try node.vzctl("release", "web").exit == .code(0))
            #expect(try node.vzctl("set", "web", "--numproc", "50", "--for", "1h").exit == .code(0))
            try see(node, daemon, "it is overridden") { $0.isTrue(.overridden) && !$0.isTrue(.held) && $0.isConverged }

            try node.removeManifest("web.yaml")
            try see(node, daemon, "its removal is held") { $0.isTrue(.pruneHeld) && $0.state == .running }
            try node.declare("other", "ctid: 102\ntemplate: busybox\nstate: stopped")
            try TestPlace.wait("its status goes with it", until: { try status(node) == nil && node.running() == nil }) {
                daemon.log
            }
            try see(node, daemon, "a stopped one is as it shall be", 102) { $0.state == .stopped && $0.isConverged }
        }
    }

    @Test func oneThatEndsAgainAndAgainIsCrashLooping() throws {
        try withNode { node in
            try node.declare("quits", "ctid: 101\ntemplate: busybox\ninit: [/bin/sh, -c, exit 42]")
            let daemon = try node.vzd()
            try see(node, daemon, "it is crash looping") {
                $0.isTrue(.crashLooping) && $0.health == .degraded && !$0.isTrue(.ready) && $0.sync == .outOfSync
            }
            #expect(try status(node)?[.crashLooping]?.message.contains("times in a row") == true)
            try node.declare("quits", "ctid: 101\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]")
            try see(node, daemon, "new input mends it") { !$0.isTrue(.crashLooping) && $0.isConverged }
        }
    }

    @Test func aLimitThatIsHitIsTold() throws {
        try withNode { node in
            try node.declare("web", Self.base.replacing("100}", with: "4}"))
            let daemon = try node.vzd("--interval", "1")
            try see(node, daemon, "it runs") { $0.isConverged }
            _ = try node.sh("for i in 1 2 3 4 5 6 7 8; do sleep 100 & done; true")
            try see(node, daemon, "the limit is told") {
                $0.isTrue(.limitHit) && $0[.limitHit]?.message.contains("numproc") == true
            }
            #expect(daemon.log.contains("numproc: ") && daemon.log.contains("programs inside saw EAGAIN"), "\(daemon.log)")
        }
    }

    @Test func whoChangedWhatIsWrittenDown() throws {
        try withNode { node in
            try node.declare("web", Self.base)
            let daemon = try node.vzd()
            try see(node, daemon, "it runs") { $0.isConverged }
            try node.declare("web", Self.base.replacing("100}", with: "60}"))
            try TestPlace.wait("the edit is made") { try node.group().pidsMax() == 60 }
            #expect(try node.vzctl("stop", "web").exit == .code(0))
            let entries = try AuditLog.read(state: node.paths.state, of: "web")
            #expect(entries.first { $0.action == "start" }?.actor == "vzd")
            let edit = try #require(entries.first { $0.field == "beancounters.numproc" && $0.after == "60" })
            #expect(edit.before == "100" && edit.reason == "wanted" && edit.kernel?.after == "60" && edit.result == "ok")
            let stop = try #require(entries.last)
            #expect(stop.action == "stop" && stop.actor.hasPrefix("vzctl ") && stop.reason == "override")
            let start = try #require(entries.first { $0.action == "start" })
            #expect(entries.contains { $0.action == "set" && $0.reconcile == start.reconcile }, "one id for one convergence")
            let history = try node.vzctl("history", "web")
            #expect(history.exit == .code(0) && history.output.contains("numproc"), "\(history)")
            try TestPlace.wait("the events tell it", until: { try node.vzctl("events", "web").output.contains("Started") }) {
                daemon.log
            }
            // A failure, with its error.
            try node.declare("nowhere", "ctid: 102\ntemplate: nosuch")
            try see(node, daemon, "it fails", 102) {
                $0.results.last?.outcome == .failed && $0.health == .missing || $0.health == .degraded
            }
            #expect(try AuditLog.read(state: node.paths.state, of: "102").last?.result.contains("nosuch") == true)
        }
    }

    @Test func theServiceManagerHearsOfIt() throws {
        try withNode { node in
            try node.declare("web", Self.base)
            let inbox = try DatagramInbox(node.directory + "/notify")
            let daemon = try node.spawn(
                [
                    "/usr/bin/env", "NOTIFY_SOCKET=\(node.directory)/notify", "WATCHDOG_USEC=400000",
                    "\(TestPlace.programs)/vzd", "--interval", "3600",
                ])
            try TestPlace.wait("it is ready", until: { try inbox.text().contains("READY=1\nSTATUS=1 containers") }) { daemon.log }
            try TestPlace.wait("signs of life", until: { try inbox.text().components("WATCHDOG=1") >= 2 }) { daemon.log }
            try TestPlace.wait("it runs", until: { try node.running() != nil }) { daemon.log }
            // Before its exec it still has ours.
            let process = try #require(try node.running())
            try TestPlace.wait("its init is executed") { try TestFile.read("/proc/\(process.pid)/cmdline").hasPrefix("/bin/sleep") }
            #expect(try !TestFile.read("/proc/\(process.pid)/environ").contains("NOTIFY_SOCKET"))
            let before = try inbox.text().components("READY=1")
            daemon.send(SIGHUP)
            try TestPlace.wait(
                "the reload is told",
                until: { try inbox.text().contains("RELOADING=1\nMONOTONIC_USEC=") && inbox.text().components("READY=1") > before }
            ) { daemon.log }
            daemon.send(SIGTERM)
            #expect(daemon.wait() == .code(0))
            try TestPlace.wait("the end is told") { try inbox.text().contains("STOPPING=1") }
        }
    }

    /// All datagrams that came to a socket so far.
    private final class DatagramInbox {
        private let socket: Descriptor
        private var received = ""

        init(_ path: String) throws {
            let raw = Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
            socket = Descriptor(adopting: raw)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
            let length = socklen_t(MemoryLayout<sockaddr_un>.size)
            let bound = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(raw, $0, length) }
            }
            if bound != 0 { throw KernelError("bind \(path)", errno: errno) }
        }

        func text() throws -> String {
            var buffer = [UInt8](repeating: 0, count: 4096)
            while true {
                let count = recv(socket.raw, &buffer, buffer.count, 0)
                if count <= 0 { return received }
                received += String(decoding: buffer[..<count], as: UTF8.self) + "\n\n"
            }
        }
    }
}

extension String {
    /// How often a part is in it.
    fileprivate func components(_ part: String) -> Int { ranges(of: part).count }
}
