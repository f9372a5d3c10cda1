import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// What administrators say goes before manifests, with an owner, a reason and an end, and no file can clear it.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct OverrideTests {
    private static let base = "ctid: 101\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]\nbeancounters: {numproc: 100}\n"

    private func see(_ what: String, _ daemon: TestProcess, _ condition: () throws -> Bool) throws {
        try TestPlace.wait(what, until: condition, note: { daemon.log })
    }

    @Test func aFieldSetForATimeComesBackByItself() throws {
        try withNode { node in
            try node.declare("web", Self.base)
            var daemon = try node.vzd()
            try see("it runs", daemon) { try node.running() != nil && node.plan().isEmpty }
            let set = try node.vzctl("set", "web", "--numproc", "60", "--cpuunits=3000", "--for", "10m", "--reason", "a test")
            #expect(set.exit == .code(0), "\(set.errors)")
            try see("the fields are set", daemon) { try node.group().pidsMax() == 60 && node.plan().isEmpty }
            let said = try node.node().overrides(of: node.container())
            #expect(said.fields.keys.sorted() == ["beancounters.numproc", "cpuunits"])
            #expect(said.fields["cpuunits"]?.reason == "a test" && said.fields["cpuunits"]?.owner.isEmpty == false)
            // Neither an edit of the file nor the end of the daemon clears it.
            try node.declare("web", Self.base + "hostname: other.example.org")
            daemon.kill()
            daemon = try node.vzd()
            try see("the edit is made", daemon) { try node.output("hostname") == "other.example.org" }
            #expect(try node.group().pidsMax() == 60)
            #expect(try node.vzctl("set", "web", "--numproc", "70", "--cpuunits=4000", "--for", "2s").exit == .code(0))
            try see("its time is over", daemon) { try node.group().pidsMax() == 100 && node.plan().isEmpty }
        }
    }

    @Test func aFieldSetForGoodIsADropIn() throws {
        try withNode { node in
            try node.declare("web", Self.base)
            try node.apply()
            let path = node.paths.manifests[0] + "/web.yaml.d/90-local.yaml"
            #expect(try node.vzctl("set", "web", "--numproc", "60", "--cpulimit", "50").exit == .code(0))
            #expect(try node.group().pidsMax() == 60, "without a daemon it is made at once")
            #expect(try node.vzctl("set", "101", "--save", "--cpulimit", "75").exit == .code(0))
            let text = try TestFile.read(path)
            #expect(text.contains("  cpulimit: 75\n") && text.contains("    numproc: 60\n"), "\(text)")
            #expect(try node.plan().isEmpty)
            #expect(try node.vzctl("set", "web", "--unset", "numproc").exit == .code(0))
            #expect(try node.group().pidsMax() == 100)
            #expect(try node.vzctl("set", "web", "--unset", "cpulimit").exit == .code(0))
            #expect(!TestFile.exists(path))
        }
    }

    @Test func whatCannotBeSetIsRefusedAndChangesNothing() throws {
        try withNode { node in
            try node.declare("web", Self.base)
            try node.apply()
            let cases: [([String], Int32, String)] = [
                (["web", "--cpuunit", "2000"], 64, "did you mean cpuunits?"),
                (["web", "--cpuunits", "lots"], 65, "integer 8…500000"),
                (["web", "--cpuunits"], 64, "expected a value"), (["web"], 64, "expected --FIELD VALUE"),
                (["web", "--cpuunits", "2000", "--for", "soon"], 64, "--for"),
                (["nobody", "--cpuunits", "2000"], 68, "no container"),
                (["web", "--state", "stopped"], 64, "vzctl start and stop"), (["web", "--swap", "64M"], 1, "spec.ram"),
                (["web", "--swap", "64M", "--for", "1h"], 1, "spec.ram"), (["web", "--hostname", "a\nb"], 65, "host name"),
            ]
            for (words, exit, told) in cases {
                let run = try node.run(["\(TestPlace.programs)/vzctl", "set"] + words)
                #expect(run.exit == .code(exit) && run.errors.contains(told), "\(words): \(run)")
            }
            #expect(!TestFile.exists(node.paths.manifests[0] + "/web.yaml.d/90-local.yaml"))
            #expect(try node.node().overrides(of: node.container()).isEmpty)
            // Somebody's own file is not overwritten.
            try Descriptor.makeDirectories(node.paths.manifests[0] + "/web.yaml.d")
            let own = "spec: {cpuunits: 1500}\n"
            try TestFile.write(own, to: node.paths.manifests[0] + "/web.yaml.d/90-local.yaml")
            #expect(try node.vzctl("set", "web", "--cpuunits", "2000").exit == .code(65))
            #expect(try TestFile.read(node.paths.manifests[0] + "/web.yaml.d/90-local.yaml") == own)
        }
    }

    @Test func aHoldStopsAllConvergenceAndNoFileClearsIt() throws {
        try withNode { node in
            try node.declare("web", Self.base)
            try node.declare("db", "ctid: 102\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]")
            var daemon = try node.vzd()
            try see("both run", daemon) { try node.running() != nil && node.running(102) != nil && node.plan().isEmpty }
            let process = try #require(try node.running())
            #expect(try node.vzctl("hold", "web").exit == .code(64), "a reason is wanted")
            #expect(try node.vzctl("hold", "web", "--reason", "being looked at").exit == .code(0))
            try node.declare("web", Self.base.replacing("100", with: "50") + "lifecycle: {hold: false}")
            try node.group().setPIDsMax(7)
            daemon.kill()
            daemon = try node.vzd()
            try node.declare("db", "ctid: 102\nstate: stopped")
            try see("the other goes on", daemon) { try node.running(102) == nil }
            #expect(try node.group().pidsMax() == 7)
            let plan = try node.plan().text()
            #expect(plan.contains("being looked at") && plan.contains("vzctl release web"), "\(plan)")
            try node.removeManifest("web.yaml")
            try node.declare("other", "ctid: 103\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]")
            try see("the removal was seen", daemon) { try node.running(103) != nil }
            #expect(process.isRunning)
            for verb in ["stop", "start", "restart"] { #expect(try node.vzctl(verb, "web").exit == .code(75), "\(verb)") }
            #expect(try node.vzctl("set", "web", "--cpuunits", "2000").exit == .code(75))
            #expect(try node.vzctl("apply").exit == .code(75))
            try node.declare("web", Self.base)
            #expect(try node.vzctl("release", "web").exit == .code(0))
            try see("it converges again", daemon) { try node.group().pidsMax() == 100 }
            #expect(try node.running()?.pid == process.pid)
        }
    }

    @Test func aStopForATimeEndsByItself() throws {
        try withNode { node in
            try node.declare("web", Self.base)
            let daemon = try node.vzd()
            try see("it runs", daemon) { try node.running() != nil }
            #expect(try node.vzctl("stop", "web", "--for", "10m", "--reason", "quiet, please").exit == .code(0))
            #expect(try node.running() == nil)
            #expect(try node.vzctl("stop", "web", "--for", "1s").exit == .code(0))
            try see("it runs again", daemon) { try node.running() != nil }
            #expect(try node.vzctl("restart", "web").exit == .code(0))
        }
    }

    // MARK: Trials

    private func candidate(_ node: TestNode, _ spec: String) throws -> String {
        let path = node.directory + "/candidate.yaml"
        try TestFile.write(TestNode.manifest("web", spec), to: path)
        return path
    }

    @Test func aTrialGoesBackByItselfAndLocksMeanwhile() throws {
        try withNode { node in
            try node.declare("web", Self.base)
            var daemon = try node.vzd()
            try see("it runs", daemon) { try node.running() != nil && node.plan().isEmpty }
            let process = try #require(try node.running())
            let path = try candidate(node, Self.base.replacing("100}", with: "55}"))
            let apply = try node.vzctl("apply", "--confirm-within", "10m", path)
            #expect(apply.exit == .code(0) && apply.errors.contains("vzctl confirm"), "\(apply)")
            #expect(try node.group().pidsMax() == 55)
            for words in [["stop", "web"], ["set", "web", "--cpuunits", "2000"], ["apply", "--confirm-within", "9s", path]] {
                let run = try node.run(["\(TestPlace.programs)/vzctl"] + words)
                #expect(run.exit == .code(75) || run.errors.contains("nothing to try"), "\(words): \(run)")
            }
            // Neither an edit nor the end of the daemon touches it.
            try node.declare("web", Self.base.replacing("100}", with: "44}"))
            daemon.kill()
            daemon = try node.vzd()
            try node.declare("other", "ctid: 103\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]")
            try see("the new daemon looked", daemon) { try node.running(103) != nil }
            #expect(try node.group().pidsMax() == 55)
            #expect(try node.vzctl("confirm", "--cancel").exit == .code(0))
            try see("it goes back, to what the files say by now", daemon) { try node.group().pidsMax() == 44 }

            // By itself as well, and also when the daemon ends meanwhile.
            #expect(try node.vzctl("apply", "--confirm-within", "2s", path).exit == .code(0))
            daemon.kill()
            daemon = try node.vzd()
            try see("it goes back", daemon) { try node.group().pidsMax() == 44 && daemon.log.contains("watching") }
            #expect(try node.running()?.pid == process.pid)
            #expect(try node.vzctl("confirm").exit == .code(1))
        }
    }

    @Test func aTrialThatIsConfirmedStays() throws {
        try withNode { node in
            try node.declare("web", Self.base)
            let daemon = try node.vzd()
            try see("it runs", daemon) { try node.running() != nil && node.plan().isEmpty }
            let path = try candidate(node, Self.base.replacing("100}", with: "55}"))
            let apply = try node.vzctl("apply", "--confirm-within", "10m", path)
            let id = apply.output.split(separator: "\n").first.map(String.init) ?? ""
            #expect(try node.vzctl("confirm", "nosuch").exit == .code(1))
            #expect(try node.vzctl("confirm", id).exit == .code(0))
            #expect(try TestFile.read(node.paths.manifests[0] + "/web.yaml") == TestFile.read(path))
            #expect(try node.node().overrides(of: node.container()).isEmpty)
            daemon.send(SIGHUP)
            try see("nothing is to be done", daemon) { try node.plan().isEmpty && daemon.log.contains("confirmed") }
            #expect(try node.group().pidsMax() == 55)
            // And back at once.
            let other = try candidate(node, Self.base.replacing("100}", with: "66}"))
            #expect(try node.vzctl("apply", "--confirm-within", "10m", other).exit == .code(0))
            #expect(try node.group().pidsMax() == 66)
            #expect(try node.vzctl("confirm", "--cancel").exit == .code(0))
            try see("back", daemon) { try node.group().pidsMax() == 55 }
        }
    }

    @Test func whatCannotBeTriedIsRefused() throws {
        try withNode { node in
            try node.declare("web", Self.base)
            try node.apply()
            let path = try candidate(node, Self.base.replacing("100}", with: "55}"))
            #expect(try node.vzctl("apply", "--confirm-within", "5s", path).exit == .code(69), "there is no daemon")
            let daemon = try node.vzd()
            try see("it watches", daemon) { daemon.log.contains("watching") }
            #expect(try node.vzctl("apply", "--confirm-within", "5s").exit == .code(64))
            try TestFile.write(TestNode.manifest("new", Self.base.replacing("101", with: "109")), to: node.directory + "/new.yaml")
            let new = try node.vzctl("apply", "--confirm-within", "5s", node.directory + "/new.yaml")
            #expect(new.exit == .code(1) && new.errors.contains("nothing to go back to"), "\(new)")
            let broken = try candidate(node, "cpuunits: lots")
            #expect(try node.vzctl("apply", "--confirm-within", "5s", broken).exit == .code(1))
            #expect(try node.group().pidsMax() == 100)
        }
    }
}
