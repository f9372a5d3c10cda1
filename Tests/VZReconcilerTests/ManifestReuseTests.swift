import Glibc
import Testing
import VZManifest

@testable import VZReconciler

/// Files that did not change are not opened again, and no change is missed.
@Suite(.timeLimit(.minutes(1)))
struct ManifestReuseTests {
    let temporary: TemporaryDirectory
    let low: String
    let high: String
    let elsewhere: String
    let directory: ManifestDirectory

    init() throws {
        temporary = try TemporaryDirectory()
        low = try temporary.directory("low")
        high = try temporary.directory("high")
        elsewhere = try temporary.directory("elsewhere")
        // More than a step of the kernel's clock for files.
        directory = ManifestDirectory(paths: [low, high], memory: .init(begins: .milliseconds(30)))
    }

    /// Which files are opened in some directories, as the kernel tells (inotify(7)).
    private final class Opened {
        private let raw: Int32

        init(_ directories: [String]) throws {
            raw = inotify_init1(Int32(IN_NONBLOCK | IN_CLOEXEC))
            try #require(raw >= 0)
            for directory in directories { try #require(inotify_add_watch(raw, directory, UInt32(IN_OPEN)) >= 0) }
        }

        deinit { close(raw) }

        /// The names of those that were since this was asked last.
        func take() -> Set<String> {
            var names: Set<String> = []
            var buffer = [UInt8](repeating: 0, count: 1 << 16)
            while case let count = read(raw, &buffer, buffer.count), count > 0 {
                buffer.withUnsafeBytes { bytes in
                    var at = 0
                    while at < count {
                        let event = bytes.loadUnaligned(fromByteOffset: at, as: inotify_event.self)
                        let name = bytes[(at + 16)..<(at + 16 + Int(event.len))].prefix { $0 != 0 }
                        if event.mask & UInt32(IN_ISDIR) == 0 { names.insert(String(decoding: name, as: UTF8.self)) }
                        at += 16 + Int(event.len)
                    }
                }
            }
            return names
        }
    }

    /// Waits until all that happened to the files by now is past for a reader: 30 ms, and a step of the kernel's clock for files.
    private func settle() {
        let end = ContinuousClock.now + .milliseconds(30 + 10)
        while ContinuousClock.now <= end { poll(nil, 0, 5) }
    }

    private func texts(_ reading: Reading) -> [String: String] {
        reading.files.reduce(into: [:]) { texts, file in
            let all = [file.bytes] + file.dropIns.map(\.bytes)
            texts[file.path] = all.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "+")
        }
    }

    @Test func whatDidNotChangeIsNotOpened() throws {
        try shell("mkdir '\(low)/web.yaml.d' '\(high)/web.yaml.d'")
        for file in ["low/web.yaml", "low/web.yaml.d/1.yaml", "high/web.yaml.d/2.yaml", "low/db.yaml", "high/db.yaml"] {
            try put("at \(file)", "\(temporary.path)/\(file)")
        }
        try put("target", "\(elsewhere)/target")
        try #require(symlink("../elsewhere/target", "\(low)/link.yaml") == 0)
        try #require(symlink("/dev/null", "\(high)/off.yaml") == 0)
        try put("x", "\(low)/off.yaml")
        try put("x".utf8, "\(low)/bad.yaml", mode: 0o666)
        settle()
        let opened = try Opened([low, high, elsewhere, "\(low)/web.yaml.d", "\(high)/web.yaml.d"])
        let first = directory.read()
        #expect(opened.take() == ["web.yaml", "1.yaml", "2.yaml", "db.yaml", "target", "off.yaml"])
        #expect(first.files.count == 3 && first.problems.count == 1)
        for _ in 1...3 {
            #expect(directory.read() == first)
            #expect(opened.take() == [])
        }
        // What another reads is its own.
        #expect(ManifestDirectory(paths: [low, high]).read().files == first.files)
        #expect(!opened.take().isEmpty)
    }

    /// A change, which files have to be opened for it, and what is then read of web.yaml; nil for a file that is not read.
    struct Change: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var script: String
        var opens: Set<String>
        var text: String?

        init(_ name: String, _ script: String, opens: Set<String> = ["web.yaml"], _ text: String?) {
            (testDescription, self.script, self.opens, self.text) = (name, script, opens, text)
        }
    }

    /// The same number of bytes and, by `old`, the same time of modification, wherever both can be kept.
    private static let changes = [
        Change("rewritten in place", "printf two > web.yaml; old web.yaml", "two"),
        Change("one byte in place", "printf w | dd of=web.yaml conv=notrunc bs=1 seek=1 status=none; old web.yaml", "owe"),
        Change("replaced", "printf two > new; old new; mv new web.yaml", "two"),
        Change("removed and made anew", "rm web.yaml; printf two > web.yaml; old web.yaml", "two"),
        Change("only touched", "touch web.yaml", "one"),
        Change("longer", "printf two >> web.yaml; old web.yaml", "onetwo"),
        Change("writable by others", "chmod 666 web.yaml", opens: [], nil),
        Change("removed", "rm web.yaml", opens: [], nil),
        Change("a directory now", "rm web.yaml; mkdir web.yaml", opens: [], nil),
        Change("another's through a link", "ln -sf other web.yaml", opens: ["other"], "two"),
        Change("linked to nothing", "ln -sf nowhere web.yaml", opens: [], nil),
        Change("disabled", "ln -sf /dev/null web.yaml", opens: [], nil),
        Change("a drop-in", "mkdir web.yaml.d; printf two > web.yaml.d/1.yaml", opens: [], "one+two"),
        Change("another file", "printf two > db.yaml", opens: ["db.yaml"], "one"),
    ]

    @Test(arguments: changes) func everyChangeIsSeen(_ change: Change) throws {
        for file in ["web.yaml", "fix.yaml"] { try put("one", "\(low)/\(file)") }
        try put("two", "\(low)/other")
        let old = "cd '\(low)'; old() { touch -d @1000000000 \"$@\"; }; "
        try shell(old + "old web.yaml other")
        settle()
        let opened = try Opened([low])
        let before = texts(directory.read())
        #expect(opened.take() == ["web.yaml", "fix.yaml"] && texts(directory.read()) == before && opened.take() == [])

        try shell(old + change.script)
        _ = opened.take()
        let after = texts(directory.read())
        #expect(after["\(low)/web.yaml"] == change.text)
        #expect(after["\(low)/fix.yaml"] == "one")
        #expect(opened.take() == change.opens)
        #expect(directory.read().files == ManifestDirectory(paths: [low, high]).read().files)
    }

    @Test(.enabled(if: geteuid() == 0, "needs root: it gives files away"))
    func whoseItIsIsAskedAtEachReading() throws {
        try put("one", "\(low)/web.yaml")
        try put("target", "\(elsewhere)/target")
        try #require(symlink("../elsewhere/target", "\(low)/link.yaml") == 0)
        settle()
        #expect(directory.read().files.count == 2)
        for file in ["\(low)/web.yaml", "\(elsewhere)/target"] { try #require(chown(file, 12345, 0) == 0) }
        let refused = directory.read()
        #expect(refused.files.isEmpty)
        let message = "expected an owner of uid 0, got uid 12345: chown it"
        #expect(refused.problems.map(\.message) == [message, message])
        for file in ["\(low)/web.yaml", "\(elsewhere)/target"] { try #require(chown(file, 0, 0) == 0) }
        #expect(directory.read().files.count == 2)
    }

    /// As Kubernetes swaps all files of a directory at once.
    @Test func aLinkInThePathLeadsElsewhere() throws {
        for (version, text) in [("v1", "one"), ("v2", "two")] {
            try #require(mkdir("\(low)/\(version)", 0o755) == 0)
            try put(text, "\(low)/\(version)/web.yaml")
            try shell("touch -d @1000000000 '\(low)/\(version)/web.yaml'")
        }
        try #require(symlink("v1", "\(low)/..data") == 0 && symlink("..data/web.yaml", "\(low)/web.yaml") == 0)
        settle()
        for _ in 1...2 { #expect(texts(directory.read()) == ["\(low)/web.yaml": "one"]) }
        try shell("ln -s v2 '\(low)/new'; mv -T '\(low)/new' '\(low)/..data'")
        #expect(texts(directory.read()) == ["\(low)/web.yaml": "two"])
    }

    /// A change right after a reading may get the same time as the one right before it.
    @Test func whatHasJustChangedIsReadAgain() throws {
        let directory = ManifestDirectory(paths: [low])
        let file = "\(low)/web.yaml"
        try put("000", file)
        let opened = try Opened([low])
        for round in 100...300 {
            #expect(directory.read() == directory.read())
            #expect(opened.take() == ["web.yaml"])
            let raw = open(file, O_WRONLY | O_CLOEXEC)
            try #require(raw >= 0)
            let text = Array("\(round)".utf8)
            let count = write(raw, text, text.count)
            var times = [timespec(tv_sec: 1_000_000_000, tv_nsec: 0), timespec(tv_sec: 1_000_000_000, tv_nsec: 0)]
            try #require(count == 3 && futimens(raw, &times) == 0)
            close(raw)
            // A program that another test starts meanwhile holds the descriptor until it executes.
            let deadline = ContinuousClock.now + .seconds(20)
            var reading = directory.read()
            while reading.problems.contains(where: { $0.message.hasPrefix("is open for writing") }), .now < deadline {
                reading = directory.read()
            }
            #expect(texts(reading) == [file: "\(round)"])
            _ = opened.take()
        }
    }

    /// A file that was written through memory: tmpfs notes no time for that.
    @Test(.enabled(if: access("/dev/shm", W_OK) == 0, "needs a tmpfs"))
    func whatLeavesNoTimeIsSeenWhenTheMemoryIsOver() throws {
        let place = try TemporaryDirectory(in: "/dev/shm")
        defer { withExtendedLifetime(place) {} }
        let directory = ManifestDirectory(
            paths: [place.path], memory: .init(lasts: .milliseconds(50), begins: .milliseconds(30)))
        let file = "\(place.path)/web.yaml"
        try put("one", file)
        settle()
        #expect(texts(directory.read()) == [file: "one"])
        let raw = open(file, O_RDWR | O_CLOEXEC)
        try #require(raw >= 0)
        let area = try #require(mmap(nil, 3, PROT_READ | PROT_WRITE, MAP_SHARED, raw, 0))
        try #require(area != MAP_FAILED)
        area.copyMemory(from: Array("two".utf8), byteCount: 3)
        munmap(area, 3)
        close(raw)
        let deadline = ContinuousClock.now + .seconds(20)
        while texts(directory.read()) != [file: "two"] {
            try #require(ContinuousClock.now < deadline, "never seen")
            poll(nil, 0, 5)
        }
    }
}
