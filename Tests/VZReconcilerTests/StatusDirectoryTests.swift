import FoundationEssentials
import Glibc
import Logging
import Testing
import VZManifest
import VZModel
import VZPlan

@testable import VZReconciler

@Suite(.timeLimit(.minutes(2))) struct StatusDirectoryTests {
    let temporary: TemporaryDirectory
    let path: String
    let log = RecordedLog()
    let directory: StatusDirectory
    let ctid: ContainerID

    init() throws {
        temporary = try TemporaryDirectory()
        path = temporary.path + "/run/status"
        directory = StatusDirectory(path, log: log.logger)
        ctid = try #require(ContainerID(101))
    }

    private func facts(_ number: Int = 101, name: String = "web", _ more: (inout StatusFacts) -> Void = { _ in }) throws
        -> StatusFacts
    {
        let ctid = try #require(ContainerID(number))
        return try StatusTests.facts {
            ($0.ctid, $0.name) = (ctid, name)
            more(&$0)
        }
    }

    private var file: String { path + "/101.json" }
    private func text() throws -> String { String(decoding: try bytes(of: file), as: UTF8.self) }

    @Test func whatIsWrittenIsRead() throws {
        let written = directory.update(
            try facts {
                $0.changes = [StatusTests.change("cpuunits", .drift)]
                $0.outcome = .made
                $0.failures = ["numproc": 3]
                $0.unsupported = [Unsupported(field: "diskspace", value: "1G", reason: "not enforced")]
            })
        #expect(StatusReader(path).status(of: ctid) == written)
        #expect(try StatusReader(path).find("web") == written)
        #expect(try StatusReader(path).find("101") == written)
        #expect(try StatusReader(path).find("102") == nil)
        #expect(try StatusReader(path).all() == [written])
        #expect(try StatusReader(temporary.path + "/nowhere").all() == [])
        #expect(log.lines == [])
    }

    @Test func theFileIsForPeopleToo() throws {
        directory.update(
            try facts {
                $0.changes = [StatusTests.change()]
                ($0.outcome, $0.failures) = (.made, ["numproc": 3])
            }, at: StatusTests.start)
        let text = try text()
        let head = """
            {
              "conditions" : [
                {
                  "last_transition" : "2026-03-01T12:00:00.000Z",
                  "message" : "",
                  "reason" : "Running",
                  "status" : "True",
                  "type" : "Ready"
                },

            """
        #expect(text.hasPrefix(head), "\(text)")
        let tail = """
              "ctid" : 101,
              "desired_state" : "running",
              "digest" : "d1",
              "drift_count" : 0,
              "format_version" : 1,
              "generation" : {
                "applied" : 1,
                "attempted" : 1
              },
              "git_revision" : "c0ffee",
              "health" : "Healthy",
              "last_process" : 4711,
              "limits" : {
                "numproc" : {
                  "failures" : 3,
                  "last_hit" : "2026-03-01T12:00:00.000Z"
                }
              },
              "name" : "web",
              "process" : 4711,
              "restarts" : 0,
              "results" : [
                {
                  "message" : "cpuunits 1000 → 2000 (cpu.weight 100 → 200)",
                  "outcome" : "changed",
                  "reconcile" : "r1",
                  "time" : "2026-03-01T12:00:00.000Z"
                }
              ],
              "source" : "/etc/vz.d/web.yaml:3",
              "state" : "running",
              "sync" : "InSync",
              "unsupported" : [

              ]
            }

            """
        #expect(text.hasSuffix(tail), "\(text)")
        // Another program's reader sees the same.
        #expect(
            try Child(["python3", "-c", "import json, sys; print(json.load(open(sys.argv[1]))['ctid'])", file]).output() == "101")
    }

    @Test func aLookWithoutAChangeWritesNothing() throws {
        directory.update(try facts())
        let before = try inode()
        for second in 1...100 { directory.update(try facts(), at: .now + .seconds(second)) }
        #expect(directory.writes == 1)
        #expect(try inode() == before)
        directory.update(try facts { $0.hold = "by ann" })
        #expect(directory.writes == 2)
        #expect(try inode() != before)
    }

    private func inode() throws -> ino_t {
        var info = stat()
        try #require(lstat(file, &info) == 0)
        return info.st_ino
    }

    @Test func modesAndLeftOvers() throws {
        directory.update(try facts())
        #expect(try mode(of: path) == 0o750)
        #expect(try mode(of: file) == 0o640)
        try put("half", path + "/.101.4711.1.tmp")
        try put("{}", path + "/notes.txt")
        directory.update(try facts(102, name: "db"))
        directory.keep(only: [ctid])
        #expect(try Child(["ls", "-A", path]).output() == "101.json\nnotes.txt")
        #expect(try StatusReader(path).find("db") == nil)
        // One that comes back begins anew.
        #expect(directory.update(try facts(102, name: "db")).generation.attempted == 1)
        #expect(try StatusReader(path).find("db") != nil)
    }

    @Test func aNewWriterGoesOnWhereTheFormerWas() throws {
        let first = directory.update(
            try facts {
                $0.changes = [StatusTests.change("ram", .drift)]
                $0.outcome = .made
            }, at: StatusTests.start)
        let other = StatusDirectory(path, log: log.logger)
        let next = other.update(try facts { $0.process = 9 }, at: StatusTests.start + .seconds(60))
        #expect(next.driftCount == 1 && next.restarts == 1 && next.results == first.results)
        #expect(next[.ready]?.lastTransition == StatusTests.start)
    }

    @Test(arguments: ["", "{", "[]", "null", "{\"format_version\": 1}", "FUTURE", "OTHER"])
    func whatCannotBeReadIsReplaced(_ content: String) throws {
        directory.update(try facts())
        let sound = try text()
        switch content {
        case "FUTURE": try put(sound.replacing("\"format_version\" : 1", with: "\"format_version\" : 2"), file)
        case "OTHER": try put(sound.replacing("\"ctid\" : 101", with: "\"ctid\" : 102"), file)
        default: try put(content, file)
        }
        #expect(StatusReader(path).status(of: ctid) == nil)
        let other = StatusDirectory(path, log: log.logger)
        let next = other.update(try facts())
        #expect(StatusReader(path).status(of: ctid) == next)
        // The one that wrote it finds that it is not what it wrote.
        try put(content, file)
        other.update(try facts())
        #expect(StatusReader(path).status(of: ctid) == next)
    }

    @Test func aMissingFileOrDirectoryIsMadeAgain() throws {
        directory.update(try facts())
        try #require(unlink(file) == 0)
        directory.update(try facts())
        #expect(StatusReader(path).status(of: ctid) != nil)
        try shell("rm -r \(path)")
        directory.update(try facts())
        #expect(StatusReader(path).status(of: ctid) != nil)
        #expect(log.lines == [])
    }

    @Test func unknownFieldsAndWordsArePassedOver() throws {
        directory.update(try facts())
        var text = try text()
        text.replace("\"ctid\" : 101", with: "\"colour\" : {\"a\": [1]}, \"ctid\" : 101")
        text.replace("\"type\" : \"Ready\"", with: "\"since\" : 3, \"type\" : \"Ready\"")
        text.replace("\"type\" : \"Drifted\"", with: "\"type\" : \"Rusty\"")
        text.replace("\"health\" : \"Healthy\"", with: "\"health\" : \"Splendid\"")
        try put(text, file)
        let status = try #require(StatusReader(path).status(of: ctid))
        #expect(status.isTrue(.ready) && status[.drifted] == nil && status[.limitHit] != nil && status.health == .unknown)
        let next = StatusDirectory(path, log: log.logger).update(try facts())
        #expect(next[.drifted]?.status == .false && next.health == .healthy)
    }

    @Test func aLinkIsNotFollowed() throws {
        directory.update(try facts())
        try shell("mv \(file) \(temporary.path)/elsewhere; ln -s \(temporary.path)/elsewhere \(file)")
        #expect(StatusReader(path).status(of: ctid) == nil)
        let before = try bytes(of: temporary.path + "/elsewhere")
        directory.update(try facts { $0.hold = "by ann" })
        #expect(StatusReader(path).status(of: ctid)?.isTrue(.held) == true)
        #expect(try bytes(of: temporary.path + "/elsewhere") == before)
    }

    @Test func aFailureIsToldOnceAndMendsItself() throws {
        try put("in the way", temporary.path + "/run")
        for number in 1...3 { #expect(directory.update(try facts { $0.process = Int32(number) }).restarts == number - 1) }
        #expect(log.lines.count == 1, "\(log.lines)")
        #expect(log.lines.first?.hasPrefix("error write the status of CT 101: ") == true, "\(log.lines)")
        try #require(unlink(temporary.path + "/run") == 0)
        directory.update(try facts { $0.process = 3 })
        #expect(StatusReader(path).status(of: ctid)?.restarts == 2)
        #expect(log.lines.count == 1)
    }

    // MARK: the manifest in force

    @Test func theDigestIsOfWhatIsSaid() throws {
        let manifests = try temporary.directory("vz.d")
        let plain = "apiVersion: vz/v1\nkind: Container\nmetadata: {name: web}\nspec: {ctid: 101, cpuunits: 2000}\n"
        func digest(_ text: String) throws -> ManifestDigest.Declared {
            try put(text, manifests + "/web.yaml")
            return ManifestDigest.declared("web", in: [manifests])
        }
        let first = try digest(plain)
        guard case .valid(let digest101) = first else {
            Issue.record("\(first)")
            return
        }
        #expect(digest101.wholeMatch(of: /[0-9a-f]{16}/) != nil)
        #expect(try digest("# a comment\n" + plain.replacing("2000", with: "0x7d0")) == first)
        #expect(try digest(plain.replacing("2000", with: "2001")) != first)
        #expect(try digest(plain.replacing("2000", with: "lots")) == .invalid)
        #expect(ManifestDigest.declared("db", in: [manifests]) == .unknown)
        #expect(try digest("# nothing yet\n") == .unknown)
        let other = plain.replacing("web", with: "renamed")
        #expect(try digest(other) == .missing)
        guard case .valid = ManifestDigest.declared("web", ctid: ctid, in: [manifests]) else {
            Issue.record("not found by its CTID")
            return
        }
        // A drop-in says more.
        try put(plain, manifests + "/web.yaml")
        try #require(mkdir(manifests + "/web.yaml.d", 0o755) == 0)
        try put("spec: {cpuunits: 3000}\n", manifests + "/web.yaml.d/90-local.yaml")
        let changed = ManifestDigest.declared("web", in: [manifests])
        #expect(changed != first)
        try shell("rm -r \(manifests)")
        #expect(ManifestDigest.declared("web", in: [manifests]) == .missing)
    }
}
