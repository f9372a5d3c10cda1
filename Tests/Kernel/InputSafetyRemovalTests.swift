import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// What is removed, how, and how many at once.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct InputSafetyRemovalTests {
    private func trash(_ node: TestNode) throws -> [String] {
        guard TestFile.exists(node.paths.trash) else { return [] }
        return try Descriptor.open(node.paths.trash, O_RDONLY | O_DIRECTORY).names().sorted()
    }

    private static func deletion(_ policy: String) -> String { "lifecycle: {deletion: \(policy)}" }

    @Test func theLastAcceptedPolicyCounts() throws {
        let ctids = ["web": 101, "scratch": 102, "free": 103, "db": 104]
        let policies = ["scratch": Self.deletion("trash"), "free": Self.deletion("ignore")]
        try withScene(ctids, policies) { scene in
            let node = scene.node
            for ctid in 101...103 { try TestFile.write("mark", to: node.root(ctid) + "/mark") }
            // Broken, it says nothing, whatever it says.
            let broken = scene.manifest("web", numproc: 100, Self.deletion("trash")) + "  nonsense: true\n"
            try TestFile.write(broken, to: scene.directory + "/web.yaml")
            scene.awaitLog("web.yaml:")
            scene.awaitLog("nonsense")
            // The host remembers, not the daemon.
            scene.killDaemon()
            try scene.host("rm web.yaml scratch.yaml free.yaml")
            try scene.restartDaemon()
            try scene.awaitStopped("web")
            try scene.awaitStopped("scratch")
            try TestPlace.wait("the root is in the trash", until: { try !self.trash(node).isEmpty }) { scene.log }
            #expect(try TestFile.read(node.root(101) + "/mark") == "mark")
            let item = try #require(try trash(node).first)
            #expect(try trash(node).count == 1 && item.hasPrefix("102-scratch-"))
            #expect(try TestFile.read("\(node.paths.trash)/\(item)/root/mark") == "mark")
            TestPlace.wait(
                "it is forgotten", until: { !TestFile.exists("\(node.paths.records)/102") }
            ) { scene.log }
            #expect(TestFile.exists("\(node.paths.trash)/\(item)/record") && !TestFile.exists("\(node.paths.containers)/102"))

            // Nobody's: neither are its limits put back nor is it started again.
            let left = try #require(try node.running(103))
            try node.group(103).setPIDsMax(5)
            try scene.look()
            #expect(try node.group(103).pidsMax() == 5 && node.running(103)?.pid == left.pid)
            try left.send(signal: SIGKILL)
            try scene.awaitStopped("free")
            try scene.look()
            try scene.edit("db", 60)
            #expect(try node.running(103) == nil)

            // Back: with its data, with a new root, and looked after again.
            for name in ["web", "scratch", "free"] { try scene.declare(name, numproc: 50) }
            for name in ["web", "scratch", "free"] {
                try scene.awaitRunning(name)
                try scene.awaitLimit(name, 50)
            }
            #expect(TestFile.exists(node.root(101) + "/mark") && TestFile.exists(node.root(103) + "/mark"))
            #expect(!TestFile.exists(node.root(102) + "/mark") && TestFile.exists(node.root(102) + "/bin/busybox"))
            #expect(try trash(node) == [item])

            // What is left running may still be stopped by hand.
            try scene.declare("free", numproc: 51, Self.deletion("ignore"))
            try scene.awaitLimit("free", 51)
            scene.forgetLog()
            try scene.host("rm free.yaml")
            try scene.look()
            try scene.untouched()
            #expect(try node.vzctl("stop", "free").errors == "CT 103 stopped\n")
            try scene.awaitStopped("free")
        }
    }

    /// The number of a container in the trash is free for whoever comes next.
    @Test func aNumberInTheTrashIsFree() throws {
        try withScene(["web": 101, "db": 102], ["web": Self.deletion("trash")]) { scene in
            try scene.host("rm web.yaml")
            try scene.awaitStopped("web")
            TestPlace.wait("it is forgotten", until: { !TestFile.exists("\(scene.node.paths.records)/101") }) { scene.log }
            try scene.node.declare("next", "template: busybox\ninit: [/bin/sleep, \"1000000\"]")
            try scene.awaitRunning("next", ctid: 101)
            try scene.untouched()
        }
    }

    // MARK: Many at once

    private static let ten = Dictionary(uniqueKeysWithValues: (1...10).map { ("ct\($0)", 100 + $0) })

    @Test func manyRemovalsWaitForAWord() throws {
        try withScene(Self.ten) { scene in
            try scene.host("rm ct1.yaml ct2.yaml ct3.yaml ct4.yaml")
            scene.awaitLog(
                "4 of 10 containers would be removed and 0 restarted, which is more than 3; if that is meant: vzctl ack ")
            try scene.look()
            try scene.untouched()
            let generation = try scene.generation()
            let refused = try scene.node.vzctl("ack", "0123456789ab")
            #expect(refused.exit == .code(1) && refused.errors.contains("the manifests are of generation \(generation) now"))
            // An edit makes another generation, which needs a word of its own.
            try scene.edit("ct9", 60)
            #expect(try scene.node.vzctl("ack", generation).exit == .code(1))
            let next = try scene.generation()
            #expect(next != generation)
            try scene.look()
            #expect(try scene.node.vzctl("ack", next).exit == .code(0))
            for number in 1...4 { try scene.awaitStopped("ct\(number)") }
            try scene.untouched()

            // A few are few, and many in small steps within a moment are many.
            try scene.host("rm ct5.yaml ct6.yaml ct7.yaml")
            for number in 5...7 { try scene.awaitStopped("ct\(number)") }
            try scene.untouched()
            for number in 1...4 { try scene.declare("ct\(number)") }
            for number in 1...4 { try scene.awaitRunning("ct\(number)") }
            scene.forgetLog()
            for names in ["ct1.yaml ct2.yaml", "ct3.yaml ct4.yaml"] {
                try scene.host("rm \(names)")
                try scene.look()
            }
            scene.awaitLog("4 of 7 containers would be removed")
            try scene.untouched()
        }
    }

    @Test func anEmptyDirectoryIsAcknowledgedOnceOnly() throws {
        try withScene { scene in
            func empty() throws {
                scene.forgetLog()
                try scene.host("rm *.yaml")
                scene.awaitLog("its directory is empty, which by itself removes nothing; if that is meant: vzctl ack ")
                try scene.look()
                try scene.untouched()
            }
            try empty()
            #expect(try scene.node.vzctl("ack", scene.generation()).exit == .code(0))
            for name in ["web", "db"] { try scene.awaitStopped(name) }
            for name in ["web", "db"] { try scene.declare(name, numproc: 50) }
            for name in ["web", "db"] {
                try scene.awaitRunning(name)
                try scene.awaitLimit(name, 50)
            }
            try empty()
        }
    }

    @Test func manyRestartsWaitForAWord() throws {
        let five = Self.ten.filter { $0.value <= 105 }
        try withScene(five) { scene in
            func defaults(_ greeting: String, _ cpulimit: Int) throws {
                try TestFile.write(
                    "apiVersion: vz/v1\nkind: Defaults\nspec:\n  env: {GREETING: \(greeting)}\n  cpulimit: \(cpulimit)\n"
                        + "  lifecycle: {disruption: restart}\n", to: scene.directory + "/defaults.yaml")
            }
            func awaitQuotas(_ percent: Int64) throws {
                try TestPlace.wait(
                    "all have \(percent)",
                    until: { try five.values.allSatisfy { try scene.node.group($0).cpuQuota()?.quota == percent * 1000 } },
                    note: { scene.log })
            }
            func greetings() throws -> Set<String> {
                try Set(five.values.map { try scene.node.observe($0).container.startedWith?.env["GREETING"] ?? "" })
            }
            // What is live is made; what is not waits.
            try defaults("hello", 50)
            try awaitQuotas(50)
            scene.awaitLog("0 of 5 containers would be removed and 5 restarted, which is more than 3; if that is meant: vzctl ack ")
            try scene.look()
            try scene.untouched()
            #expect(try greetings() == [""])
            let plan = try scene.node.vzctl("plan").output
            #expect(plan.contains("env") && plan.contains("held: "), "\(plan)")
            #expect(try scene.node.vzctl("ack", scene.generation()).exit == .code(0))
            try TestPlace.wait("all are restarted", until: { try greetings() == ["hello"] }) { scene.log }
            try scene.settle()
            for name in five.keys { try scene.awaitRunning(name) }

            // Meant once.
            try defaults("goodbye", 60)
            try awaitQuotas(60)
            try scene.look()
            try scene.untouched()
            #expect(try greetings() == ["hello"])
        }
    }
}
