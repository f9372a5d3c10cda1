import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZReconciler

/// What becomes of a node one of whose files is damaged: it is made anew or told, and nothing that runs is disturbed.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct DamageTests {
    /// One file that vz keeps, and what is expected of each damage to it.
    private struct Row {
        var file: String
        /// CTIDs of the containers that are left alone, since nobody knows what was said of them.
        var held: [Int] = []
        /// Of these only when what is there may still be sound.
        var isLeftWhenSound = false
        /// Made anew where the bytes are nobody's.
        var isRebuilt = true
        /// A lost one is no loss, and is not told.
        var isQuiet = false
    }

    private static let rows = [
        Row(file: "state/records/101", held: [101], isLeftWhenSound: true),
        Row(file: "state/records/102", held: [102], isLeftWhenSound: true),
        Row(file: "state/records/103", held: [103], isLeftWhenSound: true),
        Row(file: "state/overrides/101", held: [101], isRebuilt: false),
        Row(file: "state/node/id"), Row(file: "state/node/boot"), Row(file: "state/node/defaults"),
        Row(file: "state/node/acknowledgement", isRebuilt: false), Row(file: "state/node/shutdown", isRebuilt: false),
        Row(file: "state/log/audit.jsonl", isQuiet: true), Row(file: "run/events.jsonl", isQuiet: true),
        Row(file: "run/status/101.json", isQuiet: true), Row(file: "run/vzd.lock", isQuiet: true),
        Row(file: "run/lock/101", isQuiet: true), Row(file: "run/lock/node", isQuiet: true),
    ]

    /// Reads the script's side: `$f` is the file.
    private static let damages = [
        ("empty", ": >$f"), ("half", "truncate -s $(($(stat -c %s $f) / 2)) $f"),
        ("flipped", "printf '\\377' | dd of=$f bs=1 conv=notrunc seek=$(($(stat -c %s $f) * 2 / 3)) status=none"),
        ("gone", "rm $f"), ("later", ""), ("directory", "rm $f; mkdir -m 700 $f"), ("link", "mv $f $f-moved~; ln -s $f-moved~ $f"),
    ]

    private static let sleep = "template: busybox\ninit: [/bin/sleep, \"1000000\"]\nbeancounters: {numproc: 100}\n"
    /// `web` names its CTID; `db` and `idle` were given theirs.
    private static let running = [101, 102, 109]

    /// A node that was used for a while, and is at rest.
    private func furnish(_ node: TestNode) throws {
        try TestFile.write(
            "apiVersion: vz/v1\nkind: Defaults\nspec: {cpuunits: 1500}\n", to: "\(node.paths.manifests[0])/0-defaults.yaml")
        try node.declare("web", "ctid: 101\nlifecycle: {disruption: recreate}\n" + Self.sleep)
        try node.declare("probe", "ctid: 109\n" + Self.sleep)
        try node.apply()
        try node.declare("db", Self.sleep)
        try node.apply()
        try node.declare("idle", Self.sleep)
        try node.apply()
        try node.declare("idle", Self.sleep + "state: stopped")
        try node.apply()
        #expect(try node.node().look(remembering: false).targets.map(\.record.name) == ["web", "db", "idle", "probe"])
        let said = try node.vzctl("set", "web", "--for", "2h", "--reason", "test", "--cpuunits", "2000")
        #expect(said.exit == .code(0), "\(said)")
        try node.acknowledge()
        try node.node().setShuttingDown(true)
        try node.node().host.write(["id": "another boot"], "shutdown")
        try node.group(109).setPIDsMax(7)
        let daemon = try node.vzd()
        try TestPlace.wait("all is settled", until: { try node.group(109).pidsMax() == 100 }, note: { daemon.log })
        try node.acknowledge()
        daemon.send(SIGTERM)
        #expect(daemon.wait() == .code(0))
        for row in Self.rows { #expect(TestFile.exists("\(node.directory)/\(row.file)"), "\(row.file)") }
        try host(node, "mkdir state.sound; cd state; cp -a records overrides node log ../state.sound; cp -a ../run ../run.sound")
    }

    private func host(_ node: TestNode, _ script: String) throws {
        let done = try node.run(["sh", "-ec", "cd '\(node.directory)'; umask 077; \(script)"])
        #expect(done.exit == .code(0), "\(script): \(done)")
    }

    /// The same content, as a later version would write it.
    private func makeLater(_ path: String) throws {
        let bytes = Array(try TestFile.read(path).utf8)
        let name = String(path.split(separator: "/").last ?? "")
        let later: [UInt8]
        if let content = try? Record.decode(bytes, name: name) {
            later = Record.encode(content, name: name, version: Record.version + 1)
        } else {
            later = Array("{\"format_version\":\"99.0\",\"later\":true}\n".utf8) + bytes
        }
        try TestFile.write(later, to: path, mode: 0o600)
    }

    /// Every third damage to each file, so that each file and each damage has its turn; in the emulated machine, where each program
    /// takes a second, fewer. All of them with VZ_TEST_THOROUGH.
    @Test func nothingThatRunsIsDisturbed() throws {
        try withNode { node in
            try furnish(node)
            let processes = try Self.running.map { try #require(try node.running($0)) }
            var round = 0
            for row in Self.rows {
                for (damage, script) in Self.damages {
                    round += 1
                    if !TestPlace.isThorough, round % (TestPlace.isVirtualMachine ? 15 : 3) != 0 { continue }
                    // Where somebody else may choose the place there is no locking: told, and refused (CVE-2015-1331).
                    if damage == "link", row.file.contains("lock") { continue }
                    try attempt(row, damage, script, node)
                    for (ctid, process) in zip(Self.running, processes) {
                        let now = try node.running(ctid)
                        try #require(process.isRunning && now?.pid == process.pid, "CT \(ctid): \(row.file) \(damage)")
                    }
                }
            }
        }
    }

    private func attempt(_ row: Row, _ damage: String, _ script: String, _ node: TestNode) throws {
        let what = "\(row.file) \(damage)"
        let path = "\(node.directory)/\(row.file)"
        try host(
            node, "rm -rf run state/records state/overrides state/node state/log; cp -a run.sound run; cp -a state.sound/* state")
        if damage == "later" { try makeLater(path) } else { try host(node, "f=\(row.file); \(script)") }
        let before = try? TestFile.read(path)
        for ctid in Self.running { try node.group(ctid).setPIDsMax(7) }
        let mayBeSound = ["later", "directory", "link"].contains(damage)
        let held = damage == "gone" || (row.isLeftWhenSound && !mayBeSound) ? [] : row.held

        // Whoever only looks does.
        let plan = try node.vzctl("plan")
        #expect(plan.exit == .code(0), "\(what): \(plan)")
        // vzd starts, and does what can be done.
        let daemon = try node.vzd()
        for ctid in Self.running where !held.contains(ctid) {
            try TestPlace.wait(
                "\(what): CT \(ctid) is looked after", until: { try node.group(ctid).pidsMax() == 100 }, note: { daemon.log })
        }
        let apply = try node.vzctl("apply")
        let list = try node.vzctl("list")
        let status = try node.vzctl("status", "101")
        #expect(daemon.isRunning, "\(what): \(daemon.log)")
        #expect(apply.exit == .code(held.isEmpty || held == [103] ? 0 : 75), "\(what): \(apply)")
        #expect(list.exit == .code(0) && list.output.contains("102  db "), "\(what): \(list)")
        #expect(status.output == "CTID 101 exist mounted running\n", "\(what): \(status)")
        #expect(try node.node().core.present().map(\.number) == Self.running, "\(what)")
        for ctid in held where ctid != 103 { #expect(try node.group(ctid).pidsMax() == 7, "\(what): \(daemon.log)") }
        try told(row, damage, what, by: daemon.log, plan.errors)

        // What may say anything is not written over; what says nothing is made anew.
        if mayBeSound && !row.held.isEmpty { #expect((try? TestFile.read(path)) == before, "\(what)") }
        daemon.send(SIGTERM)
        #expect(daemon.wait() == .code(0), "\(what)")
        if row.isRebuilt && !mayBeSound { try rebuilt(row, what, path, node) }
    }

    /// Which file, and what was expected.
    private func told(_ row: Row, _ damage: String, _ what: String, by log: String, _ errors: String) throws {
        guard damage != "gone", row.file.hasPrefix("state/"), !row.isQuiet else { return }
        let name = row.file.dropFirst("state/".count)
        let expected =
            switch damage {
            case "later": "expected version 1, got 2"
            case "directory", "link": "expected a regular file"
            default: "is not used"
            }
        #expect(log.contains("\(name)\": ") && log.contains(expected), "\(what): \(log)")
        if row.file.contains("/records/") || row.file.contains("/overrides/") {
            #expect(errors.contains("\(name)\": ") && errors.contains(expected), "\(what): \(errors)")
        }
    }

    private func rebuilt(_ row: Row, _ what: String, _ path: String, _ node: TestNode) throws {
        let name = String(path.split(separator: "/").last ?? "")
        if row.file.hasPrefix("state/records/") {
            func record(_ directory: String) throws -> ContainerRecord? {
                try HostStore(directory: "\(node.directory)/\(directory)/records").read(ContainerRecord.self, name)
            }
            let (now, sound) = (try record("state"), try record("state.sound"))
            #expect(now?.name == sound?.name && now?.accepted == sound?.accepted, "\(what)")
            // Of one that runs the ids are the ones that it runs with.
            if name != "103" { #expect(now?.idBase == sound?.idBase, "\(what)") }
        } else if row.file.hasPrefix("state/node/") {
            #expect((try? Record.decode(Array(TestFile.read(path).utf8), name: name)) != nil, "\(what)")
        } else if name == "101.json" {
            #expect(StatusReader(node.paths.status).status(of: try node.container())?.name == "web", "\(what)")
        }
    }
}
