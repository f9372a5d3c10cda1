import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// What holds for every manifest, and for every order of events: random ones, with a seed that is told.
///
/// VZ_TEST_ROUNDS=N tries more of them, VZ_TEST_SEED=N the same ones again.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct PropertyTests {
    private static let seed = SeededNumbers.seed

    private func said(_ round: Int, _ manifests: String...) -> Comment {
        "VZ_TEST_SEED=\(Self.seed), round \(round):\n\(manifests.joined(separator: "\n--- then ---\n"))"
    }

    private func manifests(_ node: TestNode, _ salt: UInt64) throws -> RandomManifest {
        RandomManifest(seed: Self.seed &+ salt, on: try node.node().core.host)
    }

    /// The second apply changes nothing, neither in the kernel nor in the state directory, and a plan finds nothing to do.
    @Test func twiceIsOnce() throws {
        try withNode { node in
            var random = try manifests(node, 1)
            for round in 1...SeededNumbers.rounds(5) {
                let manifest = random.next()
                try node.declare("web", manifest)
                let first = try node.vzctl("apply")
                #expect(first.exit == .code(0), said(round, manifest, "\(first)"))
                let (settings, files, process) = (try node.kernelSettings(), try node.stateFiles(), try node.running())
                let left = try node.plan()
                #expect(left.isEmpty, said(round, manifest, left.text()))
                #expect(try node.vzctl("plan", "--detailed-exitcode").exit == .code(0), said(round, manifest))
                let second = try node.vzctl("apply")
                #expect(
                    second.exit == .code(0) && second.output.contains("Applied: nothing to do"), said(round, manifest, "\(second)")
                )
                let differing = differences(settings, try node.kernelSettings())
                #expect(differing == [], said(round, manifest))
                let rewritten = differences(files, try node.stateFiles())
                #expect(rewritten == [], said(round, manifest))
                #expect(try node.running()?.pid == process?.pid, said(round, manifest))
            }
        }
    }

    /// From one manifest to another the kernel comes to hold what it would hold if the other had been the first.
    @Test func theWayThereMakesNoDifference() throws {
        try withNode { changed in
            var random = try manifests(changed, 2)
            var before = random.next()
            try changed.declare("web", before)
            try changed.apply()
            for round in 1...SeededNumbers.rounds(6) {
                let manifest = random.next()
                try changed.declare("web", manifest)
                try changed.apply()
                let left = try changed.plan()
                #expect(left.isEmpty, said(round, before, manifest, left.text()))
                try withNode { fresh in
                    try fresh.declare("web", manifest)
                    try fresh.apply()
                    let differing = differences(try changed.kernelSettings(), try fresh.kernelSettings())
                    #expect(differing == [], said(round, before, manifest))
                }
                before = manifest
            }
        }
    }

    @Test func whatWasRemovedAndIsBackIsAsIfItHadStayed() throws {
        try withNode { node in
            var random = try manifests(node, 3)
            try node.declare("other", "state: stopped\ntemplate: busybox")
            for round in 1...SeededNumbers.rounds(4) {
                let manifest = random.next()
                try node.declare("web", manifest)
                try node.apply()
                try TestFile.write("\(round)", to: node.root() + "/mark")
                let before = (try node.kernelSettings(), try node.node().look(remembering: false).targets)
                try node.removeManifest("web.yaml")
                try node.apply()
                #expect(try !node.group().exists, said(round, manifest))
                try node.declare("web", manifest)
                try node.apply()
                let differing = differences(before.0, try node.kernelSettings())
                #expect(differing == [], said(round, manifest))
                #expect(try node.node().look(remembering: false).targets == before.1, said(round, manifest))
                #expect(try TestFile.read(node.root() + "/mark") == "\(round)", said(round, manifest))
                #expect(try node.plan().isEmpty, said(round, manifest))
            }
        }
    }

    /// Files that are touched, rewritten, renamed back and forth and taken away for a moment, in between edits.
    @Test func eventsDoubledAndOutOfOrder() throws {
        try withNode { node in
            var numbers = SeededNumbers(seed: Self.seed &+ 4)
            var random = try manifests(node, 5)
            var manifest = random.next()
            try node.declare("web", manifest)
            let daemon = try node.vzd()
            let file = "\(node.paths.manifests[0])/web.yaml"
            for round in 1...SeededNumbers.rounds(4) {
                for _ in 1...12 {
                    let text = TestNode.manifest("web", manifest)
                    switch Int.random(in: 0...5, using: &numbers) {
                    case 0: utimes(file, nil)
                    case 1: try TestFile.write(text, to: file)
                    case 2:
                        #expect(rename(file, file + "~") == 0)
                        #expect(rename(file + "~", file) == 0)
                    case 3:
                        #expect(unlink(file) == 0)
                        try TestFile.write(text, to: file)
                    case 4:
                        let open = try Descriptor.open(file, O_WRONLY | O_TRUNC)
                        try open.writeAll(text.utf8, named: file)
                    default:
                        manifest = random.next()
                        try node.declare("web", manifest)
                    }
                    poll(nil, 0, Int32.random(in: 0...60, using: &numbers))
                }
                try expectAsFresh(node, daemon, manifest, round)
            }
        }
    }

    /// Edits that no event tells: the directory holds a link, whose target is not watched. The interval alone finds them.
    @Test func eventsThatAreAllLost() throws {
        try withNode { node in
            var random = try manifests(node, 6)
            let hidden = "\(node.directory)/hidden"
            try Descriptor.makeDirectories(hidden)
            #expect(symlink("\(hidden)/web.yaml", "\(node.paths.manifests[0])/web.yaml") == 0)
            let daemon = try node.vzd("--interval", "1")
            for round in 1...SeededNumbers.rounds(3) {
                let manifest = random.next()
                try TestFile.write(TestNode.manifest("web", manifest), to: "\(hidden)/web.yaml")
                try expectAsFresh(node, daemon, manifest, round)
            }
        }
    }

    private func expectAsFresh(_ node: TestNode, _ daemon: TestProcess, _ manifest: String, _ round: Int) throws {
        let wait = try node.vzctl("wait", "web", "--for", "converged", "--timeout", "\(TestPlace.patience.components.seconds)")
        #expect(wait.exit == .code(0), said(round, manifest, wait.errors, daemon.log))
        try withNode { fresh in
            try fresh.declare("web", manifest)
            try fresh.apply()
            let differing = differences(try node.kernelSettings(), try fresh.kernelSettings())
            #expect(differing == [], said(round, manifest, daemon.log))
        }
    }
}
