import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// What is lost, unreadable or made up, and must neither end a container nor start one twice.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct LostRecordTests {
    private static let sleep = "template: busybox\ninit: [/bin/sleep, \"1000000\"]\n"

    /// An error of the disk is not the absence of a record.
    @Test func aRecordOnABadSectorIsNotAnAbsentOne() throws {
        try withNode { node in
            let process = try node.start("web", ctid: 101, "beancounters: {numproc: 100}")
            let path = "\(node.paths.records)/101"
            let before = try TestFile.read(path)
            try node.declare("web", "ctid: 101\n" + Self.sleep + "beancounters: {numproc: 50}")
            try node.declare("new", Self.sleep)
            try node.declare("db", "state: stopped\n" + Self.sleep)
            let strace = [
                "strace", "-D", "-f", "-q", "-o", "/dev/null", "-P", path, "-e", "trace=read", "-e", "inject=read:error=EIO",
            ]
            let apply = try node.run(strace + ["\(TestPlace.programs)/vzctl", "apply"])
            #expect(apply.exit == .code(65), "\(apply)")
            #expect(apply.errors.contains("read record \"\(path)\": Input/output error"), "\(apply)")
            #expect(apply.errors.contains("new is new, and none is made while the record of CT 101 cannot be read"), "\(apply)")
            #expect(apply.output.contains("beancounters.numproc") && apply.output.contains("held: its record is there"), "\(apply)")
            #expect(try node.group().pidsMax() == 100)
            #expect(try TestFile.read(path) == before)
            #expect(try node.node().core.present().map(\.number) == [101])
            // The sector was mended.
            #expect(try node.vzctl("apply").exit == .code(0))
            #expect(try node.group().pidsMax() == 50)
            #expect(try node.running()?.pid == process.pid)
            #expect(try node.node().core.present().count == 2)
        }
    }

    /// Without the record nobody knows that a container is to be removed: no verb says that all went well then.
    @Test func aRemovalWaitsForTheRecord() throws {
        try withNode { node in
            try node.declare("db", "state: stopped\n" + Self.sleep)
            let process = try node.start("web", ctid: 101)
            try node.removeManifest("web.yaml")
            let path = "\(node.paths.records)/101"
            // At the first reading, at the one before something is written down, and at the one before it is done.
            for (place, exit) in [("1", Int32(1)), ("3+", 1), ("4+", 75)] {
                let strace = [
                    "strace", "-D", "-f", "-q", "-o", "/dev/null", "-P", path, "-e", "trace=newfstatat", "-e",
                    "inject=newfstatat:error=EIO:when=\(place)",
                ]
                let apply = try node.run(strace + ["\(TestPlace.programs)/vzctl", "apply"])
                #expect(apply.exit == .code(exit), "\(place): \(apply)")
                #expect("\(apply)".contains("Input/output error"), "\(place): \(apply)")
                #expect(try node.running()?.pid == process.pid)
            }
            #expect(try node.vzctl("apply").exit == .code(0))
            #expect(try node.running() == nil)
        }
    }

    /// What a verb has just written down it reads again; when it cannot, it does not say that it did what it was to do.
    @Test func aWordThatCannotBeReadBackIsNotDone() throws {
        try withNode { node in
            try node.start("web", ctid: 101)
            var failures = 0
            for place in 1...6 {
                let strace = [
                    "strace", "-D", "-f", "-q", "-o", "/dev/null", "-P", "\(node.paths.overrides)/101", "-e", "trace=read", "-e",
                    "inject=read:error=EIO:when=\(place)+",
                ]
                let stop = try node.run(strace + ["\(TestPlace.programs)/vzctl", "stop", "--fast", "web"])
                #expect(try (stop.exit == .code(0)) == (node.running() == nil), "\(place): \(stop)")
                if stop.exit != .code(0) {
                    failures += 1
                    #expect(stop.errors.contains("Input/output error"), "\(place): \(stop)")
                }
                #expect(try node.vzctl("start", "web").exit == .code(0))
            }
            #expect((1...5).contains(failures), "\(failures)")
        }
    }

    /// Numbers that were given are found again by the roots, whatever order the names have.
    @Test func allRecordsAtOnce() throws {
        try withNode { node in
            for name in ["web", "db", "app"] {
                try node.declare(name, Self.sleep)
                try node.apply()
            }
            let ctids = ["web": 101, "db": 102, "app": 103]
            for (name, ctid) in ctids { try TestFile.write(name, to: node.root(ctid) + "/name") }
            for name in ["web", "db"] { try node.declare(name, "state: stopped\n" + Self.sleep) }
            try node.apply()
            let process = try #require(try node.running(103))
            try Command.run(["rm", "-rf", "--", node.paths.records, node.paths.overrides, node.paths.nodeRecords])
            for name in ["web", "db"] { try node.declare(name, Self.sleep) }
            #expect(try node.vzctl("apply").exit == .code(0))
            for (name, ctid) in ctids { #expect(try node.output("cat /name", ctid) == name) }
            #expect(try node.running(103)?.pid == process.pid)
            #expect(try node.node().core.present().map(\.number) == [101, 102, 103])
            #expect(try node.plan().isEmpty)
        }
    }

    /// Labels of control groups: what was started with what, what was last set, and whose it is.
    @Test func damagedLabelsDisturbNothing() throws {
        try withNode { node in
            try node.declare("web", "lifecycle: {disruption: recreate}\nenv: {A: one, B: two}\n" + Self.sleep)
            try node.apply()
            let process = try #require(try node.running())
            let group = try node.group()
            for key in ["name", "start", "set"] {
                let sound = try #require(try group.label(key))
                var flipped = sound
                flipped[flipped.count * 2 / 3] ^= 1
                for damaged in [[], Array(sound.prefix(sound.count / 2)), flipped, Array("99".utf8) + sound] {
                    try group.setLabel(key, damaged)
                    #expect(try node.plan().isEmpty, "\(key)")
                    try node.apply()
                    // The record is lost as well: the root tells whose it is.
                    unlink(node.paths.records + "/101")
                    #expect(try Node(paths: node.paths).look(remembering: true).targets.map(\.record.ctid.number) == [101])
                    #expect(try node.vzctl("apply").exit == .code(0))
                    #expect(try node.running()?.pid == process.pid && node.node().core.present().count == 1, "\(key)")
                }
                try group.setLabel(key, sound)
            }
            // All three at once: it is known to be there, and not what it is. Nothing is started that may be it.
            try group.setLabel("name", [])
            try Descriptor.open("\(node.paths.containers)/101", O_RDONLY | O_DIRECTORY).setLabel("name", [], of: "the root")
            unlink(node.paths.records + "/101")
            let apply = try node.vzctl("apply")
            #expect(apply.exit == .code(65) && apply.errors.contains("nothing tells whose it is: name the CTID"), "\(apply)")
            #expect(try node.node().core.present().count == 1 && process.isRunning)
            try node.declare("web", "ctid: 101\n" + Self.sleep)
            #expect(try node.vzctl("apply").exit == .code(0))
            #expect(try node.running()?.pid == process.pid)
        }
    }

    /// Directories of records that are removed, replaced, open to others or a file while vzd runs.
    @Test func directoriesOfRecordsAreTakenAsTheyAre() throws {
        try withScene { scene in
            let node = scene.node
            _ = try node.vzctl("set", "web", "--for", "2h", "--reason", "test", "--cpuunits", "2000")
            for directory in ["records", "overrides", "node"] {
                let path = "\(node.paths.state)/\(directory)"
                for damage in ["mv \(path) \(path).old", "chmod 755 \(path)", "mv \(path) \(path).old; echo file >\(path)"] {
                    scene.forgetLog()
                    try scene.host(damage)
                    if damage.hasSuffix("old") {
                        try scene.look()
                    } else {
                        try node.group().setPIDsMax(7)
                        scene.daemonLook()
                        scene.awaitLog("open the store \"\(path)\": ")
                        try node.group().setPIDsMax(100)
                        #expect(try node.vzctl("status", "101").output != "CTID 101 deleted unmounted down\n")
                    }
                    try scene.host("if [ -e \(path).old ]; then rm -rf \(path); mv \(path).old \(path); fi; chmod 700 \(path)")
                    try scene.look()
                }
            }
            // Everything of the run directory, while vzd has its lock.
            try scene.host("rm -rf \(node.paths.run)/*")
            try node.declare("new", "ctid: 103\n" + Self.sleep)
            try scene.awaitRunning("new", ctid: 103)
            scene.daemonLook()
            try scene.awaitStatus("web", "\"name\" : \"web\"")
            try scene.untouched()
        }
    }

    @Test func aRootComesBackFromTheTrashWithoutItsRecord() throws {
        try withNode { node in
            try node.start("db", ctid: 102)
            let damages: [(String, (String) throws -> Void)] = [
                ("it is not used", { try TestFile.write("", to: $0, mode: 0o600) }),
                (
                    "expected version 1, got 2",
                    { path in
                        try TestFile.write(Record.encode(Array("{}".utf8), name: "record", version: 2), to: path, mode: 0o600)
                    }
                ),
            ]
            for (told, damage) in damages {
                try node.start("web", ctid: 101, "lifecycle: {deletion: trash}")
                try TestFile.write("data", to: node.root() + "/data")
                try node.removeManifest("web.yaml")
                try node.apply()
                let item = try #require(try Trash(paths: node.paths).items().last)
                let path = "\(node.paths.trash)/\(item.file)/record"
                let sound = try TestFile.read(path)
                try damage(path)
                let damaged = try TestFile.read(path)
                let restore = try node.vzctl("trash", "restore", "web")
                #expect(restore.errors.contains(told) || restore.errors.contains("is not used"), "\(restore)")
                if damaged.isEmpty {
                    #expect(restore.exit == .code(0), "\(restore)")
                    #expect(try TestFile.read(node.root() + "/data") == "data")
                    // Its root tells whose it was.
                    try node.declare("web", Self.sleep)
                    try node.apply()
                    #expect(try node.output("cat /data") == "data")
                } else {
                    #expect(restore.exit == .code(1), "\(restore)")
                    #expect(try TestFile.read(path) == damaged, "it is not written over")
                    try TestFile.write(sound, to: path, mode: 0o600)
                    #expect(try node.vzctl("trash", "restore", "web").exit == .code(0))
                    #expect(TestFile.exists(node.root() + "/data"))
                }
            }
        }
    }
}
