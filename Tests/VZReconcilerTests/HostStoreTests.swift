import Glibc
import Synchronization
import Testing

@testable import VZReconciler

@Suite(.timeLimit(.minutes(2)))
struct HostStoreTests {
    struct Fact: Codable, Equatable {
        var name: String
        var ctid: Int
        var labels: [String: String] = ["b": "2", "a": "1"]
    }

    let temporary: TemporaryDirectory
    let path: String
    let store: HostStore

    init() throws {
        temporary = try TemporaryDirectory()
        path = "\(temporary.path)/lib/vz/state"
        store = try HostStore(directory: path)
    }

    @Test func whatWasWrittenIsRead() throws {
        #expect(try store.read(Fact.self, "101") == nil)
        try store.write(Fact(name: "web", ctid: 101), "101")
        try store.write([1, 2, 3], "override.web-1")
        try store.write("plain", "plain")
        #expect(try store.read(Fact.self, "101") == Fact(name: "web", ctid: 101))
        #expect(try store.read([Int].self, "override.web-1") == [1, 2, 3])
        #expect(try store.read(String.self, "plain") == "plain")
        #expect(try store.names() == ["101", "override.web-1", "plain"])
        try store.write(Fact(name: "db", ctid: 7), "101")
        #expect(try HostStore(directory: path).read(Fact.self, "101") == Fact(name: "db", ctid: 7))
        try store.remove("101")
        try store.remove("101")
        #expect(try store.read(Fact.self, "101") == nil)
        #expect(try store.names() == ["override.web-1", "plain"])
    }

    @Test func aRecordIsALineAndJSON() throws {
        try store.write(Fact(name: "web", ctid: 101), "101")
        let lines = String(decoding: try bytes(of: "\(path)/101"), as: UTF8.self).split(separator: "\n")
        #expect(lines.count == 2)
        #expect(lines[0].wholeMatch(of: /vz-record 1 [0-9a-f]{16} 53/) != nil, "\(lines[0])")
        #expect(lines[1] == #"{"ctid":101,"labels":{"a":"1","b":"2"},"name":"web"}"#)
    }

    @Test func filesAndDirectoriesArePrivate() throws {
        try store.write(1, "one")
        #expect(try mode(of: "\(path)/one") == 0o600)
        for directory in [path, "\(temporary.path)/lib/vz", "\(temporary.path)/lib"] { #expect(try mode(of: directory) == 0o700) }
    }

    @Test(arguments: [
        "", ".", "..", ".hidden", "a/b", "../x", "A", "a b", "a_b", "é", "-x", "x.corrupt", "a\0b",
        String(repeating: "a", count: 201),
    ])
    func otherNamesAreRefused(_ name: String) throws {
        #expect(code { try store.write(1, name) } == .name)
        #expect(code { _ = try store.read(Int.self, name) } == .name)
        #expect(code { try store.remove(name) } == .name)
    }

    private func code(_ work: () throws -> Void) -> StoreError.Code? {
        do {
            try work()
            return nil
        } catch {
            return (error as? StoreError)?.code
        }
    }

    // MARK: corruption

    /// Every other value of every byte, every length, and a byte too many: never a wrong value.
    @Test func damageIsNeverTaken() throws {
        let sound = Record.encode(Array(#"{"ctid":101,"name":"web"}"#.utf8), name: "101")
        #expect(try Record.decode(sound, name: "101") == Array(#"{"ctid":101,"name":"web"}"#.utf8))
        var taken: [[UInt8]] = []
        func attempt(_ damaged: [UInt8]) { if (try? Record.decode(damaged, name: "101")) != nil { taken.append(damaged) } }
        for position in sound.indices {
            for mask in UInt8(1)...255 {
                var damaged = sound
                damaged[position] ^= mask
                attempt(damaged)
            }
            attempt(Array(sound[..<position]))
        }
        #expect(taken.isEmpty)
        #expect(throws: Record.Fault.self) { try Record.decode(sound + [10], name: "101") }
        #expect(throws: Record.Fault.self) { try Record.decode(sound, name: "102") }
        #expect(throws: Record.Fault.self) { try Record.decode([], name: "101") }
    }

    @Test func aCorruptRecordIsToldOnceAndMovedAside() throws {
        try store.write(Fact(name: "web", ctid: 101), "101")
        var damaged = try bytes(of: "\(path)/101")
        damaged[damaged.count - 5] ^= 1
        try put(damaged, "\(path)/101", mode: 0o600)
        let error = #expect(throws: StoreError.self) { try store.read(Fact.self, "101") }
        #expect(error?.code == .corrupt)
        #expect(
            error?.message
                == "read record \"\(path)/101\": its checksum or length differs from its content's; "
                + "it was kept as \"101.corrupt\" and is not used")
        #expect(try bytes(of: "\(path)/101.corrupt") == damaged)
        #expect(try store.read(Fact.self, "101") == nil)
        #expect(try store.names() == [])
        try store.write(Fact(name: "new", ctid: 1), "101")
        #expect(try store.read(Fact.self, "101")?.name == "new")
    }

    @Test func damageStaysWhereItIsToBeKept() throws {
        let keeping = HostStore(of: path, isReadOnly: false, keepsDamage: true)
        try put("no record".utf8, "\(path)/101", mode: 0o600)
        for _ in 1...2 { #expect(code { _ = try keeping.read(Fact.self, "101") } == .corrupt) }
        #expect(try keeping.names() == ["101"])
        try keeping.write(Fact(name: "new", ctid: 1), "101")
        #expect(try keeping.read(Fact.self, "101")?.name == "new")
    }

    /// What happens to the directory meanwhile is seen, and told by each call.
    @Test func theDirectoryIsTakenAsItIs() throws {
        try store.write(1, "one")
        try shell("mv \(path) \(path).old; echo file >\(path)")
        #expect(code { _ = try store.read(Int.self, "one") } == .unsafe)
        #expect(code { try store.write(2, "one") } == .unsafe)
        #expect(code { _ = try store.names() } == .unsafe)
        try shell("rm \(path)")
        #expect(try store.names() == [] && store.read(Int.self, "one") == nil)
        try store.write(2, "one")
        #expect(try store.read(Int.self, "one") == 2)
        try shell("rm -r \(path); mv \(path).old \(path)")
        #expect(try store.read(Int.self, "one") == 1)
    }

    @Test(arguments: ["", "\n", "{}", "vz-record 1\n", "vz-record one two three\n{}\n"])
    func aFileThatIsNoRecordIsCorrupt(_ text: String) throws {
        try put(text.utf8, "\(path)/101", mode: 0o600)
        #expect(code { _ = try store.read(Fact.self, "101") } == .corrupt)
    }

    @Test func aRecordUnderAnotherNameIsCorrupt() throws {
        try store.write(Fact(name: "web", ctid: 101), "101")
        try shell("cp -p \(path)/101 \(path)/102")
        #expect(code { _ = try store.read(Fact.self, "102") } == .corrupt)
        #expect(try store.read(Fact.self, "101")?.ctid == 101)
    }

    @Test func aLaterVersionIsLeftAlone() throws {
        let later = Record.encode(Array("{}".utf8), name: "101", version: 2)
        try put(later, "\(path)/101", mode: 0o600)
        #expect(code { _ = try store.read(Fact.self, "101") } == .unsupported)
        #expect(try bytes(of: "\(path)/101") == later)
    }

    @Test func anotherTypeIsLeftAlone() throws {
        try store.write([1], "101")
        #expect(code { _ = try store.read(Fact.self, "101") } == .unsupported)
        #expect(try store.read([Int].self, "101") == [1])
    }

    // MARK: looking only

    @Test func whoOnlyLooksMakesNothing() throws {
        let missing = "\(temporary.path)/missing/store"
        let none = try HostStore(reading: missing)
        #expect(try none.names() == [])
        #expect(try none.read(Int.self, "one") == nil)
        #expect(!exists("\(temporary.path)/missing"))
        #expect(code { try none.write(1, "one") } == .readOnly)
        try store.write(1, "one")
        let looking = try HostStore(reading: path + "/")
        #expect(code { try looking.write(2, "one") } == .readOnly)
        #expect(code { try looking.remove("one") } == .readOnly)
        #expect(try looking.read(Int.self, "one") == 1)
        #expect(try looking.names() == ["one"])
    }

    @Test func whoOnlyLooksLeavesDamageAndLeftOvers() throws {
        try put("no record", "\(path)/101")
        let dead = try Child(["true"])
        _ = dead.wait()
        try put("half", "\(path)/.\(dead.pid).1.tmp")
        let looking = try HostStore(reading: path)
        for _ in 1...2 {
            let error = #expect(throws: StoreError.self) { try looking.read(Fact.self, "101") }
            #expect(error?.code == .corrupt)
            #expect(error?.message.hasSuffix("it is not used; left as it is, since this only looks") == true)
        }
        #expect(try bytes(of: "\(path)/101") == Array("no record".utf8))
        #expect(exists("\(path)/.\(dead.pid).1.tmp"))
        #expect(try looking.names() == ["101"])
    }

    @Test func whoOnlyLooksWantsAPrivateStoreToo() throws {
        try #require(chmod(path, 0o755) == 0)
        #expect(code { _ = try HostStore(reading: path) } == .unsafe)
        try #require(symlink(path, "\(temporary.path)/link") == 0)
        #expect(code { _ = try HostStore(reading: "\(temporary.path)/link") } == .unsafe)
    }

    // MARK: hostile surroundings

    @Test func aLinkOrAFIFOIsNotRead() throws {
        try store.write(1, "one")
        try #require(symlink("one", "\(path)/two") == 0)
        try #require(mkfifo("\(path)/three", 0o600) == 0)
        #expect(code { _ = try store.read(Int.self, "two") } == .unsafe)
        #expect(code { _ = try store.read(Int.self, "three") } == .unsafe)
        // Writing replaces the link itself.
        try store.write(2, "two")
        #expect(try store.read(Int.self, "one") == 1)
        #expect(try store.read(Int.self, "two") == 2)
    }

    @Test func aStoreThatIsNotPrivateIsRefused() throws {
        try #require(chmod(path, 0o750) == 0)
        #expect(code { _ = try HostStore(directory: path) } == .unsafe)
        try #require(chmod(path, 0o700) == 0)
        try #require(symlink(path, "\(temporary.path)/link") == 0)
        #expect(code { _ = try HostStore(directory: "\(temporary.path)/link") } == .unsafe)
        #expect(code { _ = try HostStore(directory: "\(temporary.path)/link/") } == .unsafe)
        try put("x", "\(temporary.path)/file")
        #expect(code { _ = try HostStore(directory: "\(temporary.path)/file") } == .unsafe)
        #expect(code { _ = try HostStore(directory: "\(temporary.path)/file/below") } == .unsafe)
        #expect(try HostStore(directory: path + "/").names() == [])
    }

    @Test func aFailedWriteLeavesTheFormerRecord() throws {
        try store.write(1, "one")
        try #require(mkdir("\(path)/directory", 0o700) == 0)
        #expect(code { try store.write(2, "directory") } == .system)
        #expect(code { try store.write(String(repeating: "x", count: HostStore.sizeLimit), "one") } == .system)
        #expect(try store.read(Int.self, "one") == 1)
        #expect(try Set(store.names()) == ["one", "directory"])
        #expect(try Child(["ls", "-A", path]).output() == "directory\none")
    }

    // MARK: several writers, killed writers

    @Test func writersOfOneRecordAtTheSameTime() async throws {
        let facts = (0..<8).map { Fact(name: String(repeating: "x", count: $0 * 100), ctid: $0) }
        try store.write(facts[0], "101")
        await withTaskGroup(of: Void.self) { group in
            for fact in facts {
                group.addTask { [path] in
                    // A store of its own, as another process would have.
                    for _ in 0..<20 {
                        #expect(throws: Never.self) {
                            let store = try HostStore(directory: path)
                            try store.write(fact, "101")
                            let read = try store.read(Fact.self, "101")
                            #expect(read.map { facts.contains($0) } == true)
                        }
                    }
                }
            }
        }
        #expect(try Child(["ls", "-A", path]).output() == "101")
    }

    @Test func whatAKilledWriterLeftIsRemoved() throws {
        let dead = try Child(["true"])
        _ = dead.wait()
        let alive = try Child(["cat"])
        for pid in [dead.pid, alive.pid, getpid()] { try put("half", "\(path)/.\(pid).1.tmp") }
        let store = try HostStore(directory: path)
        #expect(!exists("\(path)/.\(dead.pid).1.tmp"))
        #expect(exists("\(path)/.\(alive.pid).1.tmp"))
        #expect(try store.names() == [])
        // One that had our own process id does not get into the way.
        for number in 1...3 { try store.write(number, "one") }
        #expect(try store.read(Int.self, "one") == 3)
        #expect(alive.wait() == 0)
    }
}
