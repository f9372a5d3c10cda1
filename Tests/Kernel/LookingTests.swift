import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZReconciler

/// A verb that only looks opens nothing for writing and makes, removes and renames nothing: strace(1) tells what was asked of the
/// kernel.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct LookingTests {
    private static let verbs = [
        ["plan"], ["list"], ["show", "web"], ["show", "--origin", "web"], ["status", "web"], ["export", "web"], ["capacity"],
        ["plan", "--json"], ["list", "-o", "json", "--full"], ["drift"], ["diff"],
    ]

    @Test func nothingIsWritten() throws {
        try withNode { node in
            try node.start("web", ctid: 101, "hostname: web.example.org\ncpuunits: 2000")
            try node.start("db", ctid: 102)
            #expect(try node.vzctl("stop", "db").exit == .code(0))
            try node.group().setCPUWeight(300)
            // What a writer would move aside, and what it would clear away.
            try TestFile.write("no record", to: node.paths.records + "/101", mode: 0o600)
            try TestFile.write("no override", to: node.paths.overrides + "/102", mode: 0o600)
            try TestFile.write("half", to: node.paths.records + "/.4194304.1.tmp", mode: 0o600)
            let before = try files(node)
            for verb in Self.verbs {
                let (result, writes) = try traced(verb, node)
                #expect(writes == [], "\(verb)")
                let differs = verb == ["drift"] || verb == ["diff"]
                #expect(result.exit == .code(differs ? 1 : 0) && !result.output.isEmpty, "\(result)")
                #expect(try files(node) == before, "\(verb)")
                if verb == ["capacity"] { continue }
                for damage in ["records/101", "overrides/102"] {
                    #expect(result.errors.contains("\(damage)\": it has no first line; it is not used"), "\(result)")
                }
            }
        }
    }

    @Test func aNodeThatWasNeverUsedStaysSo() throws {
        try withNode { node in
            try node.declare("web", "ctid: 101\ntemplate: busybox\n")
            try Command.run(["rm", "-rf", "--", node.paths.state, node.paths.run])
            for verb in [["plan"], ["list"], ["status", "101"], ["drift"], ["diff"], ["list", "-o", "json", "--full"]] {
                let (result, writes) = try traced(verb, node)
                #expect(writes == [], "\(verb)")
                #expect(result.exit == .code(verb == ["diff"] ? 1 : 0), "\(result)")
                #expect(result.output.contains("101") || verb == ["drift"], "\(result)")
                #expect(!TestFile.exists(node.paths.state) && !TestFile.exists(node.paths.run))
                #expect(try node.controlGroups.hierarchies.allSatisfy { try $0.openGroup(node.paths.controlGroup) == nil })
            }
        }
    }

    /// The test itself sees what there is to see.
    @Test func whatIsWrittenIsSeen() throws {
        try withNode { node in
            try node.declare("web", "ctid: 101\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]\n")
            let (result, writes) = try traced(["apply"], node)
            #expect(result.exit == .code(0), "\(result)")
            for call in ["mkdir", "rename", "openat", "write", "setxattr"] {
                #expect(writes.contains { $0.contains(call) }, "\(call)")
            }
        }
    }

    private func traced(_ verb: [String], _ node: TestNode) throws -> (TestNode.Finished, [String]) {
        let (result, calls) = try SystemCall.traced(["\(TestPlace.programs)/vzctl"] + verb, node)
        #expect(calls.contains { $0.name == "openat" && $0.arguments.contains(node.paths.manifests[0]) }, "strace saw nothing")
        return (result, calls.filter(\.writes).map { "\($0.name)(\($0.arguments)" })
    }

    /// Everything of a node's, with what would tell a change.
    private func files(_ node: TestNode) throws -> String {
        try Command.run([
            "find", node.paths.state, node.paths.run, node.paths.manifests[0], "-xdev", "-not", "-path", "*/root/*", "-printf",
            "%p %i %s %m %T@ %C@\n",
        ])
    }
}
