import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// From files to the kernel and back, as `plan` and `apply` do it.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct ReconcileTests {
    private static let base = "ctid: 101\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]\n"

    private func changes(_ plan: Plan) -> [Change] { plan.containers.flatMap(\.changes) }

    @Test func aManifestBecomesAContainerAndItsRemovalStopsIt() throws {
        try withNode { node in
            try node.declare("web", Self.base + "cpuunits: 2000\nram: 64M\nbeancounters: {numproc: 100}")
            let plan = try node.plan()
            #expect(changes(plan).map(\.action).contains(.makeRoot(template: "busybox")))
            #expect(changes(plan).last?.action == .start)
            #expect(!TestFile.exists(node.root()))
            #expect(try node.running() == nil)

            let applied = try node.apply()
            #expect(changes(applied) == changes(plan), "the plan is what was done")
            let process = try #require(try node.running())
            #expect(try node.plan().text() == "Plan: nothing to do")
            #expect(try changes(node.apply()) == [])
            #expect(try node.running()?.pid == process.pid)

            // The only file of its directory: an empty one is also what a file system that is not mounted looks like.
            try node.removeManifest("web.yaml")
            #expect(try changes(node.apply()) == [])
            let told = try node.plan().text()
            #expect(told.contains("its directory is empty") && told.contains("vzctl ack "), "\(told)")
            try node.acknowledge()
            #expect(try changes(node.plan()).map(\.reason) == [.removed])
            try node.apply()
            #expect(!process.isRunning)
            #expect(try !node.group().exists)
            #expect(TestFile.exists(node.root() + "/bin/busybox"))
            #expect(try node.plan().isEmpty)

            // Back again: the same data.
            try TestFile.write("kept", to: node.root() + "/mark")
            try node.declare("web", Self.base)
            try node.apply()
            #expect(try node.output("cat /mark") == "kept")
        }
    }

    @Test func anEditOfEachLimitIsMadeLive() throws {
        let edits = [
            ("cpuunits: 3000", "cpuunits", "3000"), ("cpulimit: 75", "cpulimit", "75"), ("ioprio: 7", "ioprio", "7"),
            ("iolimit: 3M", "iolimit", "3M each for reads and writes"),
            ("iopslimit: 300", "iopslimit", "300 each for reads and writes"),
            ("ram: 96M", "ram", "96M"), ("ram: 128M\nswap: 32M", "ram", "128M"), ("ram: 24M\nswap: 8M", "swap", "8M"),
            ("beancounters: {numproc: 77}", "beancounters.numproc", "77"),
            ("hostname: new.example.org", "hostname", "new.example.org"),
        ]
        try withNode { node in
            let process = try node.start()
            let known = try node.node().core.host
            for (line, field, value) in edits {
                if field == "ioprio", !known.supports(.ioWeight) { continue }
                if field == "swap", !known.supports(.swapMax) { continue }
                try node.declare("web", Self.base + line)
                let plan = try node.plan()
                #expect(
                    changes(plan).contains { $0.field == field && $0.after == value && $0.disruption == .live && $0.held == nil })
                #expect(
                    changes(plan).allSatisfy { if case .set = $0.action { $0.reason == .wanted } else { false } }, "\(plan.text())")
                try node.apply()
                let seen = try node.observe()
                #expect(seen.container.settings.first { $0.field == field }?.value == value, "\(line)")
                #expect(seen.handle.process?.pid == process.pid)
                // A weight that no scheduler heeds is told, and nothing else.
                let settled = try node.plan()
                #expect(changes(settled).isEmpty, "after \(line)")
                #expect(settled.containers.flatMap(\.unsupported).allSatisfy { $0.field == "ioprio" && field == "ioprio" })
            }
            #expect(try node.output("hostname") == "new.example.org")
            #expect(process.isRunning)
        }
    }

    @Test func whatSomebodyElseChangedIsDriftAndPutBack() throws {
        try withNode { node in
            let limits = "ram: 64M\nbeancounters: {numproc: 100}"
            let process = try node.start("web", ctid: 101, "hostname: web.example.org\ncpuunits: 2000\n" + limits)
            let group = try node.group()
            try group.setPIDsMax(7)
            try group.setCPUWeight(50)
            try group.setMemory(max: 32 << 20, swap: node.node().core.host.supports(.swapMax) ? 0 : nil)
            _ = try node.output("hostname stranger")

            let plan = try node.plan()
            #expect(Set(changes(plan).map(\.field)) == ["beancounters.numproc", "cpuunits", "ram", "hostname"], "\(plan.text())")
            #expect(changes(plan).allSatisfy { $0.reason == .drift && $0.disruption == .live })
            #expect(plan.text().contains("drifted 7 → 100"), "\(plan.text())")
            try node.apply()
            #expect(try group.pidsMax() == 100)
            #expect(try group.memory().max == 64 << 20)
            #expect(try node.output("hostname") == "web.example.org")
            #expect(try node.plan().isEmpty)
            #expect(try node.running()?.pid == process.pid)

            // Changed outside, and wanted anew: that is no drift, whatever the kernel held in between.
            try node.declare("web", Self.base + "hostname: web.example.org\ncpuunits: 3000\n" + limits)
            #expect(try changes(node.plan()).map(\.reason) == [.wanted])
        }
    }

    @Test func aHostNameThatIsNotDeclaredIsTheContainersOwn() throws {
        try withNode { node in
            try node.start()
            _ = try node.output("hostname my-own")
            #expect(try node.plan().isEmpty)
            try node.apply()
            #expect(try node.output("hostname") == "my-own")
        }
    }

    @Test func aBrokenEditLeavesTheLastGoodOneInForce() throws {
        try withNode { node in
            let process = try node.start("web", ctid: 101, "beancounters: {numproc: 100}")
            try node.start("db", ctid: 102)
            for broken in [
                Self.base + "cpuunits: lots", "ctid: [", "", Self.base + "nosuch: 1", "ctid: 102\ntemplate: busybox",
            ] {
                try node.declare("web", broken)
                let look = try node.node().look(remembering: true)
                #expect(!look.diagnostics.isEmpty, "\(broken)")
                #expect(look.targets.count == 2)
                #expect(look.targets.first?.lastKnownGood != nil, "\(broken)")
                try node.apply()
                #expect(try node.running()?.pid == process.pid)
                try node.group().setPIDsMax(5)
                try node.apply()
                #expect(try node.group().pidsMax() == 100, "its limits are still put back")
            }
            // Another process, another node: it is remembered on the disk.
            let again = try Node(paths: node.paths).look(remembering: false)
            #expect(again.targets.first?.record.accepted.beancounters[.numproc]?.limit == 100)
            #expect(again.targets.first?.lastKnownGood != nil)
            try node.declare("web", Self.base + "beancounters: {numproc: 50}")
            try node.apply()
            #expect(try node.group().pidsMax() == 50)
            #expect(try node.running()?.pid == process.pid)
        }
    }

    @Test func anEmptiedDirectoryRemovesNothingOfSeveral() throws {
        try withNode { node in
            let one = try node.start("web", ctid: 101)
            let two = try node.start("db", ctid: 102)
            try node.removeManifest("web.yaml")
            try node.removeManifest("db.yaml")
            try node.apply()
            #expect(one.isRunning && two.isRunning)
            // One file that is there makes the absence of the other credible.
            try node.declare("web", Self.base)
            try node.apply()
            #expect(one.isRunning && !two.isRunning)
        }
    }

    @Test func severalContainersInOneFile() throws {
        try withNode { node in
            let sleep = "template: busybox\ninit: [/bin/sleep, \"1000000\"]"
            let documents = ["one", "two"].map { TestNode.manifest($0, sleep) }
            try TestFile.write(documents.joined(separator: "---\n"), to: node.paths.manifests[0] + "/pair.yaml")
            let plan = try node.apply()
            #expect(plan.containers.map(\.ctid.number) == [101, 102])
            let two = try #require(try node.running(102))
            #expect(try node.running(101) != nil)
            // The CTID stays with the name when the other goes.
            try TestFile.write(TestNode.manifest("two", sleep), to: node.paths.manifests[0] + "/pair.yaml")
            try node.apply()
            #expect(try node.running(101) == nil)
            #expect(two.isRunning)
            #expect(try node.running(102)?.pid == two.pid)
        }
    }

    @Test func aNewNameOrAnotherFileIsTheSameContainer() throws {
        try withNode { node in
            let process = try node.start("web", ctid: 101)
            try node.removeManifest("web.yaml")
            try node.declare("front", file: "elsewhere.yml", Self.base)
            #expect(try node.plan().isEmpty)
            try node.apply()
            #expect(try node.running()?.pid == process.pid)
            #expect(try node.node().look(remembering: false).targets.map(\.record.name) == ["front"])
        }
    }

    @Test func whatNeedsARestartWaitsForIt() throws {
        try withNode { node in
            let process = try node.start("web", ctid: 101, "env: {A: \"1\"}")
            try node.declare(
                "web", "ctid: 101\ntemplate: other\ninit: [/bin/sleep, \"2000000\"]\nenv: {A: \"2\"}\nbeancounters: {numproc: 60}")
            let plan = try node.plan()
            let held = changes(plan).filter { $0.held != nil }
            #expect(held.map(\.field) == ["init", "env", "template"])
            #expect(held.map(\.disruption) == [.restart, .restart, .recreate])
            #expect(held[0].held?.contains("vzctl restart web") == true)
            try node.apply()
            #expect(try node.running()?.pid == process.pid)
            #expect(try node.group().pidsMax() == 60, "what can be made live is made")
            #expect(try node.plan().isEmpty, "what is held does not count")

            try node.declare("web", "ctid: 101\nstate: stopped")
            try node.apply()
            try node.declare("web", "ctid: 101\ntemplate: busybox\ninit: [/bin/sleep, \"2000000\"]\nenv: {A: \"2\"}")
            try node.apply()
            let next = try #require(try node.running())
            #expect(try TestFile.read("/proc/\(next.pid)/cmdline") == "/bin/sleep\0" + "2000000\0")
            #expect(try TestFile.read("/proc/\(next.pid)/environ").split(separator: "\0").contains("A=2"))
            #expect(try node.plan().text() == "Plan: nothing to do")
        }
    }

    /// busybox' init ends by the signal that it knows, long before it would be killed.
    @Test func aStopAsksTheInitInItsOwnWay() throws {
        try withNode { node in
            let mark = "init: [/bin/sh, -c, \"trap 'echo asked >/mark; exit 0' TERM; while :; do sleep 1; done\"]"
            try node.declare("web", "ctid: 101\ntemplate: busybox\n" + mark)
            try node.declare("db", "ctid: 102\ntemplate: busybox")
            try node.apply()
            let shell = try #require(try node.running(101))
            TestPlace.wait("the trap is set") { Halt.signal(for: shell) == SIGTERM }
            let process = try #require(try node.running(102))
            TestPlace.wait("init is ready") { Halt.signal(for: process) == SIGUSR2 }
            try node.declare("web", "ctid: 101\nstate: stopped")
            try node.declare("db", "ctid: 102\nstate: stopped")
            let began = ContinuousClock.now
            try node.apply()
            #expect(began.duration(to: .now) < .seconds(TestPlace.isVirtualMachine ? 30 : 9))
            #expect(try TestFile.read(node.root() + "/mark") == "asked\n")
            #expect(!process.isRunning && !shell.isRunning)
        }
    }

    @Test func aRecordThatIsLostOrCorruptIsMadeAnew() throws {
        try withNode { node in
            let process = try node.start("web", ctid: 105)
            let base = try node.node().core.idBase(of: process)
            let record = node.paths.records + "/105"
            for damage in ["", "garbage", nil] {
                if let damage { try TestFile.write(damage, to: record, mode: 0o600) } else { unlink(record) }
                let other = try Node(paths: node.paths)
                let look = try other.look(remembering: true)
                let targets = look.targets
                #expect(look.damaged.count == (damage == nil ? 0 : 1), "\(look.damaged)")
                #expect(targets.map(\.record.ctid.number) == [105] && targets[0].record.idBase == base)
                _ = try other.converge(targets[0])
                #expect(try node.running(105)?.pid == process.pid)
            }
        }
    }

    @Test func theVerbs() throws {
        try withNode { node in
            try node.declare("web", Self.base + "hostname: web.example.org\nbeancounters: {numproc: 100}")
            let plan = try node.vzctl("plan", "--detailed-exitcode")
            #expect(plan.exit == .code(2) && plan.output.contains("\nPlan: 1 start. Generation "), "\(plan)")
            #expect(try node.vzctl("status", "web").output == "CTID 101 exist unmounted down\n")
            #expect(try node.vzctl("apply").exit == .code(0))
            #expect(try node.vzctl("plan", "--detailed-exitcode").exit == .code(0))
            #expect(try node.vzctl("status", "101").output == "CTID 101 exist mounted running\n")
            #expect(try node.vzctl("status", "999").output == "CTID 999 deleted unmounted down\n")
            let list = try node.vzctl("list").output.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
            #expect(list.count == 2 && list[1].prefix(5) == ["101", "web", "1", "running", "web.example.org"], "\(list)")
            let show = try node.vzctl("show", "web").output
            #expect(show.contains("numproc") && show.contains("pids.max 100"), "\(show)")
            #expect(try node.vzctl("stop", "web").exit == .code(0))
            #expect(try node.running() == nil)
            #expect(try node.vzctl("apply").output == "Applied: nothing to do\n")
            #expect(try node.running() == nil, "the word of stop stands")
            #expect(try node.vzctl("start", "web").exit == .code(0))
            #expect(try node.running() != nil)
        }
    }
}
