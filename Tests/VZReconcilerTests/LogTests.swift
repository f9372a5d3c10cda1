import FoundationEssentials
import Glibc
import Logging
import Testing
import VZModel
import VZPlan

@testable import VZReconciler

@Suite(.timeLimit(.minutes(2))) struct LogTests {
    let temporary: TemporaryDirectory
    let log = RecordedLog()
    let state: String
    let run: String
    let ctid: ContainerID

    init() throws {
        temporary = try TemporaryDirectory()
        (state, run) = (temporary.path + "/state", temporary.path + "/run")
        ctid = try #require(ContainerID(101))
    }

    // MARK: The audit log

    private var audit: AuditLog { AuditLog(state: state, log: log.logger) }
    private var auditFile: String { state + "/log/audit.jsonl" }

    private func entry(_ change: Change = StatusTests.change(), _ number: Int = 101, reconcile: String = "r1", error: String? = nil)
        throws
        -> AuditEntry
    {
        AuditEntry(
            change, of: try #require(ContainerID(number)), name: number == 101 ? "web" : "ct\(number)", reconcile: reconcile,
            actor: "vzd", error: error, at: StatusTests.start)
    }

    private func lines(_ file: String) throws -> [String] {
        String(decoding: try bytes(of: file), as: UTF8.self).split(separator: "\n").map(String.init)
    }

    @Test func anEntryIsALine() throws {
        audit.append(try entry(StatusTests.change("cpuunits", .drift), error: "write cpu.weight: EIO"))
        audit.append(try entry(Change(action: .start, before: "stopped", after: "/sbin/init"), reconcile: "r2"))
        #expect(
            try lines(auditFile) == [
                #"{"action":"set","actor":"vzd","after":"2000","before":"1000","ctid":101,"field":"cpuunits","# + #""kernel":"#
                    + #"{"after":"200","before":"100","name":"cpu.weight"},"name":"web","reason":"drift","reconcile":"r1","#
                    + #""result":"write cpu.weight: EIO","time":"2026-03-01T12:00:00.000Z"}"#,
                #"{"action":"start","actor":"vzd","after":"/sbin/init","before":"stopped","ctid":101,"name":"web","reason":"wanted","#
                    + #""reconcile":"r2","result":"ok","time":"2026-03-01T12:00:00.000Z"}"#,
            ])
        #expect(try mode(of: auditFile) == 0o640)
        #expect(try mode(of: state + "/log") == 0o750)
        #expect(try AuditLog.read(state: state).map(\.reconcile) == ["r1", "r2"])
        #expect(log.lines == [])
    }

    @Test func entriesAreFoundByNameAndNumberTheLatestLast() throws {
        for number in 1...20 { audit.append(try entry(StatusTests.change(), number % 2 == 0 ? 101 : 102, reconcile: "r\(number)")) }
        #expect(try AuditLog.read(state: state, of: "web", limit: 3).map(\.reconcile) == ["r16", "r18", "r20"])
        #expect(try AuditLog.read(state: state, of: "102", limit: 2).map(\.reconcile) == ["r17", "r19"])
        #expect(try AuditLog.read(state: state).count == 20)
        #expect(try AuditLog.read(state: state, of: "nobody") == [])
        #expect(try AuditLog.read(state: temporary.path + "/nowhere") == [])
    }

    @Test func aTornLineCostsItselfAlone() throws {
        audit.append(try entry(reconcile: "r1"))
        audit.append(try entry(reconcile: "r2"))
        let whole = try bytes(of: auditFile)
        // Cut off anywhere in the last line, as by a crash; the next writer begins a line of its own.
        let secondLine = try #require(whole.dropLast().lastIndex(of: 10)) + 1
        for cut in stride(from: secondLine + 1, to: whole.count - 1, by: 37) {
            try put(whole[..<cut], auditFile)
            #expect(try AuditLog.read(state: state).map(\.reconcile) == ["r1"])
            audit.append(try entry(reconcile: "r3"))
            #expect(try AuditLog.read(state: state).map(\.reconcile) == ["r1", "r3"])
        }
        // A whole line that only lacks its end is read.
        try put(whole.dropLast(), auditFile)
        #expect(try AuditLog.read(state: state).map(\.reconcile) == ["r1", "r2"])
    }

    @Test func anOldFileIsKeptAndNoMore() throws {
        let small = AuditLog(state: state, log: log.logger, group: ReaderGroup(id: nil), limit: 1000)
        for number in 1...20 { small.append(try entry(reconcile: "r\(number)")) }
        #expect(try bytes(of: auditFile).count <= 1000)
        #expect(try bytes(of: auditFile + ".1").count <= 1000)
        let kept = try AuditLog.read(state: state).map(\.reconcile)
        #expect(kept.count >= 4 && kept == (1...20).suffix(kept.count).map { "r\($0)" }, "\(kept)")
        #expect(try Child(["ls", "-A", state + "/log"]).output() == "audit.jsonl\naudit.jsonl.1\naudit.jsonl.lock")
    }

    /// Several writers, each with a file of its own open as other processes have, and turning it over meanwhile.
    @Test func writersAtTheSameTimeLoseNothing() async throws {
        let length = try lineLength()
        let entries = try (0..<400).map { try entry(reconcile: "r\($0 + 100)") }
        // Room for 300 in a file: all of them fit into two.
        let limit = 300 * (length + 2)
        await withTaskGroup(of: Void.self) { group in
            for writer in 0..<8 {
                group.addTask { [state, log] in
                    let own = AuditLog(state: state, log: log.logger, group: ReaderGroup(id: nil), limit: limit)
                    for entry in entries[(writer * 50)..<(writer * 50 + 50)] { own.append(entry) }
                }
            }
        }
        let read = try AuditLog.read(state: state).map(\.reconcile)
        #expect(read.count == 400)
        #expect(Set(read) == Set(entries.map(\.reconcile)))
        #expect(exists(auditFile + ".1"))
        #expect(log.lines == [])
    }

    private func lineLength() throws -> Int { try JSONEncoder().encode(try entry(reconcile: "r100")).count }

    @Test func aFileThatCannotBeWrittenIsToldOnce() throws {
        try put("in the way", state)
        let audit = audit
        for _ in 1...3 { audit.append(try entry()) }
        #expect(log.lines.count == 1, "\(log.lines)")
        #expect(log.lines[0].hasPrefix("error ") && log.lines[0].contains("told once"))
        try #require(unlink(state) == 0)
        audit.append(try entry(reconcile: "r2"))
        #expect(try AuditLog.read(state: state).map(\.reconcile) == ["r2"])
        // Somebody removes it, or puts a link there.
        try #require(unlink(auditFile) == 0)
        audit.append(try entry(reconcile: "r3"))
        #expect(try AuditLog.read(state: state).map(\.reconcile) == ["r3"])
        try shell("rm \(auditFile); touch \(temporary.path)/victim; ln -s \(temporary.path)/victim \(auditFile)")
        audit.append(try entry(reconcile: "r4"))
        #expect(try bytes(of: temporary.path + "/victim") == [])
        #expect(log.lines.count == 2)
    }

    // MARK: The way for those who may look

    @Test func theWayIsOpenedOnlyPastClosedDoors() throws {
        let group = ReaderGroup(id: getgid())
        let path = try temporary.directory("state")
        try #require(chmod(path, 0o700) == 0)
        for (name, open) in [("ct", 0o700), ("file", 0o600), ("shared", 0o750)] as [(String, mode_t)] {
            try #require(mkdir("\(path)/\(name)", open) == 0)
        }
        try #require(symlink("/", path + "/link") == 0)
        #expect(group.openWay(through: path) == nil)
        #expect(try mode(of: path) == 0o710)
        try #require(chmod(path, 0o700) == 0)
        try #require(chmod(path + "/ct", 0o711) == 0)
        let reason = group.openWay(through: path)
        #expect(reason?.contains("\"ct\" in it is open to others") == true, "\(reason ?? "")")
        #expect(try mode(of: path) == 0o700)
        // Without a group nothing is opened; what is open stays as it is.
        #expect(ReaderGroup(id: nil).openWay(through: path) == nil)
        #expect(try mode(of: path) == 0o700)
        try #require(chmod(path, 0o755) == 0)
        #expect(group.openWay(through: path) == nil)
        #expect(try mode(of: path) == 0o755)
    }

    @Test func theGroupIsFoundByName() {
        #expect(ReaderGroup(environment: ["VZ_GROUP": "root"]).id == 0)
        #expect(ReaderGroup(environment: ["VZ_GROUP": "no-such-group"]).id == nil)
    }

    // MARK: Events

    private func note(_ events: EventLog, _ message: String = "no template nosuch", _ seconds: Int = 0) {
        events.note(
            .warning, "StartFailed", message, of: ctid, name: "web", reconcile: "r1", at: StatusTests.start + .seconds(seconds))
    }

    @Test func anEventIsToldAndKept() throws {
        let events = EventLog(run: run, log: log.logger)
        note(events)
        events.note(.normal, "Accepted", "3 manifests", at: StatusTests.start)
        #expect(
            log.lines == [
                "warning CT 101 web: no template nosuch ctid=101 reason=StartFailed reconcile=r1",
                "info 3 manifests reason=Accepted",
            ])
        #expect(
            try lines(run + "/events.jsonl") == [
                #"{"count":1,"ctid":101,"first":"2026-03-01T12:00:00.000Z","last":"2026-03-01T12:00:00.000Z","#
                    + #""message":"no template nosuch","name":"web","reason":"StartFailed","reconcile":"r1","type":"Warning"}"#,
                #"{"count":1,"first":"2026-03-01T12:00:00.000Z","last":"2026-03-01T12:00:00.000Z","message":"3 manifests","#
                    + #""reason":"Accepted","type":"Normal"}"#,
            ])
        #expect(try mode(of: run + "/events.jsonl") == 0o640)
        #expect(try EventLog.read(run: run).map(\.reason) == ["StartFailed", "Accepted"])
        #expect(try EventLog.read(run: run, of: "web").map(\.reason) == ["StartFailed"])
        #expect(try EventLog.read(run: run, of: "101").count == 1)
    }

    @Test func theSameIsWrittenAtPowersOfTwo() throws {
        let events = EventLog(run: run, log: log.logger)
        for second in 0..<100 { note(events, "again", second) }
        note(events, "something else", 100)
        #expect(try lines(run + "/events.jsonl").count == 8)  // 1, 2, 4 … 64, and the other
        #expect(log.lines.count == 8)
        #expect(log.lines[6].contains("again (64 times since 2026-03-01T12:00:00.000Z)"), "\(log.lines)")
        let read = try EventLog.read(run: run)
        #expect(read.map(\.message) == ["again", "something else"])
        #expect(read[0].count == 64 && read[0].first == StatusTests.start && read[0].last == StatusTests.start + .seconds(63))
    }

    @Test func whatDiffersEachTimeIsBehindTheMessage() throws {
        let events = EventLog(run: run, log: log.logger)
        for second in 1...2 {
            events.note(
                .warning, "StartFailed", "no root", of: ctid, name: "web", detail: "next try in \(second) s", level: .error,
                at: StatusTests.start + .seconds(second))
        }
        #expect(
            log.lines == [
                "error CT 101 web: no root; next try in 1 s ctid=101 reason=StartFailed",
                "error CT 101 web: no root; next try in 2 s (2 times since 2026-03-01T12:00:01.000Z) ctid=101 reason=StartFailed",
            ])
        #expect(try EventLog.read(run: run).map(\.message) == ["no root"])
    }

    @Test func afterTenMinutesItIsNew() throws {
        let events = EventLog(run: run, log: log.logger)
        for second in [0, 600, 1200, 1801] { note(events, "again", second) }
        #expect(try EventLog.read(run: run).map(\.count) == [2, 1])
        #expect(log.lines.count == 3)
    }

    @Test func whatIsRememberedIsBounded() throws {
        let events = EventLog(run: run, log: Logger(label: "quiet") { _ in SwiftLogNoOpLogHandler() })
        for number in 0..<(EventLog.capacity * 3) { note(events, "number \(number)", number / 100) }
        // The latest are still known.
        note(events, "number \(EventLog.capacity * 3 - 1)", EventLog.capacity * 3 / 100)
        #expect(try EventLog.read(run: run).last?.count == 2)
        #expect(try bytes(of: run + "/events.jsonl").count <= EventLog.limit)
        #expect(exists(run + "/events.jsonl.1"))
    }

    // MARK: The journal

    @Test func journalLines() throws {
        #expect(JournalLogHandler.text(.warning, "CT 101 web: no root", ["ctid": "101"]) == "<4>CT 101 web: no root ctid=101\n")
        #expect(
            JournalLogHandler.text(.error, "a\nb", ["reason": "X", "path": "/a b", "e": ""])
                == "<3>a\n<3>b e=\"\" path=\"/a b\" reason=X\n")
        let levels: [Logger.Level] = [.trace, .debug, .info, .notice, .warning, .error, .critical]
        #expect(levels.map { JournalLogHandler.text($0, "x", [:]) } == [7, 7, 6, 5, 4, 3, 2].map { "<\($0)>x\n" })
    }

    @Test func theJournalIsKnownByItsStream() throws {
        let path = temporary.path + "/journal"
        let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        defer { close(file) }
        var info = stat()
        try #require(fstat(file, &info) == 0)
        #expect(DaemonLog.isJournal(file, "\(info.st_dev):\(info.st_ino)"))
        #expect(!DaemonLog.isJournal(file, "\(info.st_dev):\(info.st_ino + 1)"))
        #expect(!DaemonLog.isJournal(file, nil))
        #expect(!DaemonLog.isJournal(-1, "\(info.st_dev):\(info.st_ino)"))
        var logger = Logger(label: "vzd") { _ in JournalLogHandler(file: file) }
        logger[metadataKey: "node"] = "a"
        logger.warning("put back", metadata: ["reason": "Drift"])
        logger.debug("not at this level")
        #expect(try lines(path) == ["<4>put back node=a reason=Drift"])
    }
}
