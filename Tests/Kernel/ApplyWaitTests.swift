import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZReconciler

/// `vzctl apply --wait`: back when all is converged, or when that takes too long, or somebody's word.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct ApplyWaitTests {
    private static let sleep = "ctid: 101\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]\n"

    @Test(arguments: [false, true]) func itComesBackConverged(_ withDaemon: Bool) throws {
        try withNode { node in
            let daemon = withDaemon ? try node.vzd() : nil
            if let daemon { TestPlace.wait("it watches") { daemon.log.contains("watching") } }
            for numproc in [100, 60] {
                try node.declare("web", Self.sleep + "beancounters: {numproc: \(numproc)}")
                try node.declare("db", "state: stopped\ntemplate: busybox")
                let apply = try node.vzctl("apply", "--wait", "--timeout", "60")
                #expect(apply.exit == .code(0), "\(apply) \(daemon?.log ?? "")")
                #expect(try node.group().pidsMax() == Int64(numproc))
                let status = try #require(StatusReader(node.paths.status).status(of: node.container()))
                #expect(status.isConverged && status.digest.count > 8)
            }
            // One file alone, and a removal.
            let path = "\(node.paths.manifests[0])/web.yaml"
            #expect(try node.vzctl("apply", "--wait", path).exit == .code(0))
            try node.removeManifest("web.yaml")
            #expect(try node.vzctl("apply", "--wait", "--timeout", "60").exit == .code(0))
            #expect(try node.running() == nil)
        }
    }

    @Test func whatFailsIsTriedAgainWhileItWaits() throws {
        try withNode { node in
            // Its root is not there yet.
            try node.declare("web", "ctid: 101\ninit: [/bin/sleep, \"1000000\"]")
            let alone = try node.vzctl("apply", "--wait", "--timeout", "60")
            #expect(alone.exit == .code(1) && alone.errors.contains("1 container failed"), "\(alone)")
            let daemon = try node.vzd("--interval", "1")
            TestPlace.wait("it watches") { daemon.log.contains("watching") }
            let late = try node.vzctl("apply", "--wait", "--timeout", "0.2")
            #expect(late.exit == .code(75) && late.errors.contains("CT web is not converged after 0.2 s: "), "\(late)")
            let waiting = try node.spawn(["\(TestPlace.programs)/vzctl", "apply", "--wait"])
            TestPlace.wait("it has tried once") { waiting.text.contains("Applied") }
            #expect(waiting.isRunning)
            try Command.run(["mkdir", "-p", "-m", "700", "\(node.paths.containers)/101"])
            try Command.run(["cp", "-a", "\(node.paths.templates)/busybox", "\(node.root()).new"])
            #expect(rename("\(node.root()).new", node.root()) == 0)
            #expect(waiting.wait() == .code(0), "\(waiting.log) \(daemon.log)")
            #expect(try node.running() != nil)
        }
    }

    @Test func whatWaitsForAWordIsNotWaitedFor() throws {
        try withNode { node in
            try node.start()
            let daemon = try node.vzd()
            TestPlace.wait("it watches") { daemon.log.contains("watching") }
            try node.declare("web", Self.sleep.replacing("1000000", with: "2000000"))
            let restart = try node.vzctl("apply", "--wait")
            #expect(restart.exit == .code(75), "\(restart)")
            #expect(restart.errors.contains("CT 101 web is not converged: lifecycle.disruption is live"), "\(restart)")
            #expect(try node.vzctl("restart", "--fast", "web").exit == .code(0))
            #expect(try node.vzctl("hold", "web", "--reason", "test").exit == .code(0))
            try node.declare("web", Self.sleep.replacing("1000000", with: "2000000") + "cpuunits: 3000")
            let held = try node.vzctl("apply", "--wait")
            #expect(held.exit == .code(75) && held.errors.contains("held by "), "\(held)")
            for wrong in [["--timeout", "1"], ["--wait", "--timeout", "-1"], ["--wait", "--confirm-within", "1m", "x.yaml"]] {
                let usage = try node.run(["\(TestPlace.programs)/vzctl", "apply"] + wrong)
                #expect(usage.exit == .code(64), "\(usage)")
            }
        }
    }
}
