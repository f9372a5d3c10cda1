import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// A node that looks again and again sees whatever another vz, an administrator or the kernel changed meanwhile.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct SameLookTests {
    /// Looks twice; the second time everything is as before.
    private func targets(_ node: TestNode) throws -> [String: Node.Target] {
        let first = try node.node().look(remembering: true)
        let second = try node.node().look(remembering: true)
        #expect(first.targets == second.targets && first.warnings == second.warnings && first.diagnostics == second.diagnostics)
        return Dictionary(uniqueKeysWithValues: second.targets.map { ($0.record.name, $0) })
    }

    @Test func everythingThatItDependsOnIsSeen() throws {
        try withNode { node in
            try node.start("web", ctid: 101, "cpuunits: 2000")
            let other = try Node(paths: node.paths)
            #expect(try targets(node)["web"]?.spec.cpuunits == 2000)

            // A manifest.
            try node.declare("web", "ctid: 101\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]\ncpuunits: 3000")
            #expect(try targets(node)["web"]?.spec.cpuunits == 3000)
            try node.declare("db", "state: stopped\ntemplate: busybox")
            #expect(try targets(node).keys.sorted() == ["db", "web"])

            // What is said of a container, and its end by itself.
            let until = Timestamp.now + 2
            try other.setOverrides(of: node.container()) {
                $0.state = .init(.stopped, owner: "test", reason: "test", since: Timestamp.now, until: until)
            }
            #expect(try targets(node)["web"]?.desired.state == .stopped)
            TestPlace.wait("the word is over") { Timestamp.now >= until }
            #expect(try targets(node)["web"]?.desired.state == .running)

            // A record that another wrote, and one that is no record.
            var record = try #require(try targets(node)["web"]).record
            record.rootTemplate = "other"
            try other.remember([record])
            #expect(try targets(node)["web"]?.record.rootTemplate == "other")
            try TestFile.write("no record", to: node.paths.records + "/101", mode: 0o600)
            #expect(try node.node().look(remembering: true).damaged.count == 1)
            #expect(try targets(node)["web"]?.record.rootTemplate == nil)

            // A control group that came, and went.
            let group = try node.group(199)
            try group.create()
            #expect(try node.node().look(remembering: true).warnings.contains { $0.hasPrefix("CT 199: ") })
            try group.remove()
            #expect(try node.node().look(remembering: true).warnings == [])
            _ = try targets(node)
            try node.group().killAll()
            try TestPlace.wait("its group is empty") { try !node.group().isPopulated() }
            #expect(try node.node().look(remembering: true).present == [node.container()])
            try node.group().remove()
            #expect(try node.node().look(remembering: true).present == [])

            // A file that went.
            try node.removeManifest("db.yaml")
            #expect(try targets(node)["db"]?.desired.removal == .retain)
        }
    }
}
