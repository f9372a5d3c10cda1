import Glibc
import Testing
import VZManifest

@testable import VZReconciler

@Suite(.timeLimit(.minutes(1)))
struct ManifestDirectoryTests {
    let temporary: TemporaryDirectory
    let low: String
    let middle: String
    let high: String

    init() throws {
        temporary = try TemporaryDirectory()
        low = try temporary.directory("low")
        middle = try temporary.directory("middle")
        high = try temporary.directory("high")
    }

    private var all: ManifestDirectory { ManifestDirectory(paths: [low, middle, high]) }

    private func file(_ path: String, _ text: String) -> ManifestFile { ManifestFile(path: path, bytes: Array(text.utf8)) }

    // MARK: which files

    @Test func theHigherDirectoryMasksTheLower() throws {
        for directory in [low, middle, high] { try put(directory, "\(directory)/all.yaml") }
        for directory in [low, middle] { try put(directory, "\(directory)/two.yml") }
        try put("one", "\(low)/one.json")
        let reading = all.read()
        #expect(
            reading.files == [file("\(high)/all.yaml", high), file("\(low)/one.json", "one"), file("\(middle)/two.yml", middle)])
        #expect(reading.problems.isEmpty)
        #expect(reading.conditions == [low: .read, middle: .read, high: .read])
        #expect(reading.trusted)
    }

    @Test func aLinkToDevNullDisables() throws {
        try put("x", "\(low)/web.yaml")
        try put("x", "\(low)/db.yaml")
        try #require(symlink("/dev/null", "\(middle)/web.yaml") == 0)
        var reading = all.read()
        #expect(reading.files.map(\.path) == ["\(low)/db.yaml"])
        #expect(reading.problems.isEmpty && reading.trusted)
        try put("back", "\(high)/web.yaml")
        reading = all.read()
        #expect(reading.files.map(\.path) == ["\(high)/web.yaml", "\(low)/db.yaml"])
    }

    @Test func aFileThatCannotBeReadMasksToo() throws {
        try put("x", "\(low)/web.yaml")
        try put("x".utf8, "\(high)/web.yaml", mode: 0o666)
        let reading = all.read()
        #expect(reading.files.isEmpty)
        #expect(reading.problems.map(\.path) == ["\(high)/web.yaml"])
        #expect(reading.removal(of: "\(high)/web.yaml").isUnknown)
        #expect(reading.removal(of: "\(low)/web.yaml").isUnknown, "it is masked, not removed")
        #expect(reading.removal(of: "\(low)/db.yaml") == .certain)
    }

    @Test(arguments: [
        ".web.yaml", "web.yaml~", "web.yaml.bak", ".web.yaml.swp", ".#web.yaml", "web.yaml.dpkg-new", "web.rpmsave", "README",
    ])
    func leftOversAreNoManifests(_ name: String) throws {
        try put("x", "\(low)/\(name)")
        let reading = all.read()
        #expect(reading.files.isEmpty && reading.problems.isEmpty)
        #expect(reading.conditions[low] == .empty)
    }

    @Test func aNameThatIsNotUTF8IsNoManifest() throws {
        let name: [UInt8] = Array("\(low)/".utf8) + [0xff, 0xfe] + Array(".yaml".utf8) + [0]
        let path = name.map { CChar(bitPattern: $0) }
        let raw = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
        try #require(raw >= 0)
        close(raw)
        #expect(all.read().files.isEmpty)
    }

    @Test func linksToRegularFilesAreFollowed() throws {
        try put("target", "\(temporary.path)/target")
        try #require(symlink("../target", "\(low)/relative.yaml") == 0)
        try #require(symlink("relative.yaml", "\(low)/twice.yaml") == 0)
        #expect(all.read().files == [file("\(low)/relative.yaml", "target"), file("\(low)/twice.yaml", "target")])
    }

    // MARK: what is no manifest

    /// Neither waits for a writer nor opens a device.
    @Test func nothingButRegularFilesIsOpened() throws {
        try #require(mkfifo("\(low)/fifo.yaml", 0o644) == 0)
        try #require(symlink("fifo.yaml", "\(low)/fifolink.yaml") == 0)
        try #require(mkdir("\(low)/directory.yaml", 0o755) == 0)
        try #require(symlink("nowhere", "\(low)/dangling.yaml") == 0)
        try #require(symlink("loop.yaml", "\(low)/loop.yaml") == 0)
        try #require(symlink("/dev/zero", "\(low)/device.yaml") == 0)
        try put("good", "\(low)/good.yaml")
        let reading = all.read()
        #expect(reading.files == [file("\(low)/good.yaml", "good")])
        let regular = "expected a regular file or a symbolic link to one, got "
        #expect(
            reading.problems == [
                ManifestProblem(
                    path: "\(low)/dangling.yaml", message: "expected a manifest, got a symbolic link that leads nowhere"),
                ManifestProblem(path: "\(low)/device.yaml", message: regular + "a device"),
                ManifestProblem(path: "\(low)/directory.yaml", message: regular + "a directory"),
                ManifestProblem(path: "\(low)/fifo.yaml", message: regular + "a FIFO"),
                ManifestProblem(path: "\(low)/fifolink.yaml", message: regular + "a FIFO"),
                ManifestProblem(path: "\(low)/loop.yaml", message: "Too many levels of symbolic links"),
            ])
    }

    @Test func sizeIsBounded() throws {
        let limit = ManifestDirectory.sizeLimit
        try put([UInt8](repeating: 35, count: limit), "\(low)/fits.yaml")
        try put([UInt8](repeating: 35, count: limit + 1), "\(low)/large.yaml")
        // A file that is large but holds nothing: reading it would take for ever.
        try put("", "\(low)/huge.yaml")
        try #require(truncate("\(low)/huge.yaml", 1 << 40) == 0)
        try put("", "\(low)/none.yaml")
        let reading = all.read()
        #expect(reading.files.map(\.path) == ["\(low)/fits.yaml", "\(low)/none.yaml"])
        #expect(
            reading.problems == [
                ManifestProblem(path: "\(low)/huge.yaml", message: "expected at most 1048576 bytes, got 1099511627776"),
                ManifestProblem(path: "\(low)/large.yaml", message: "expected at most 1048576 bytes, got 1048577"),
            ])
    }

    @Test func aFileThatOthersMayWriteIsRefused() throws {
        try put("x".utf8, "\(low)/others.yaml", mode: 0o646)
        try put("x".utf8, "\(low)/fine.yaml", mode: 0o600)
        try put("x".utf8, "\(low)/group.yaml", mode: 0o664)
        let reading = all.read()
        // The group is the reader's own.
        #expect(reading.files.map(\.path) == ["\(low)/fine.yaml", "\(low)/group.yaml"])
        #expect(
            reading.problems == [
                ManifestProblem(
                    path: "\(low)/others.yaml", message: "expected to be writable by its owner only, got mode 646: chmod go-w it")
            ])
    }

    @Test(.enabled(if: geteuid() == 0, "needs root: it gives files away"))
    func aFileOfAnotherUserOrGroupIsRefused() throws {
        try put("x", "\(low)/owner.yaml")
        try put("x".utf8, "\(low)/group.yaml", mode: 0o664)
        try put("x", "\(low)/target")
        try #require(symlink("target", "\(low)/link.yaml") == 0)
        try #require(chown("\(low)/owner.yaml", 12345, 0) == 0)
        try #require(chown("\(low)/target", 12345, 0) == 0)
        try #require(chown("\(low)/group.yaml", 0, 12345) == 0)
        let reading = all.read()
        #expect(reading.files.isEmpty)
        #expect(
            reading.problems.map(\.message) == [
                "expected to be writable by its owner only, got mode 664: chmod g-w it",
                "expected an owner of uid 0, got uid 12345: chown it",
                "expected an owner of uid 0, got uid 12345: chown it",
            ])
    }

    // MARK: drop-ins

    private func dropIns(of name: String, in reading: Reading) -> [String]? {
        reading.files.first { $0.path.hasSuffix("/\(name)") }?.dropIns.map {
            $0.path.dropFirst(temporary.path.count) + "=" + String(decoding: $0.bytes, as: UTF8.self)
        }
    }

    @Test func dropInsOfAllDirectoriesInTheOrderOfTheirNames() throws {
        try put("web", "\(low)/web.yaml")
        for directory in [low, middle, high] { try #require(mkdir("\(directory)/web.yaml.d", 0o755) == 0) }
        try put("1", "\(high)/web.yaml.d/10-a.yaml")
        try put("2", "\(low)/web.yaml.d/20-b.yaml")
        try put("3", "\(low)/web.yaml.d/30-c.yml")
        try put("4", "\(middle)/web.yaml.d/30-c.yml")
        try put("5", "\(low)/web.yaml.d/40-d.yaml")
        try #require(symlink("/dev/null", "\(high)/web.yaml.d/40-d.yaml") == 0)
        for name in ["50-e.yaml~", ".60-f.yaml", "README"] { try put("x", "\(low)/web.yaml.d/\(name)") }
        let reading = all.read()
        #expect(
            dropIns(of: "web.yaml", in: reading) == [
                "/high/web.yaml.d/10-a.yaml=1", "/low/web.yaml.d/20-b.yaml=2", "/middle/web.yaml.d/30-c.yml=4",
            ])
        #expect(reading.problems.isEmpty)
        #expect(reading.conditions[middle] == .empty, "drop-ins alone are no manifest")
    }

    @Test func dropInsWithoutTheirManifestAreTold() throws {
        try shell("mkdir '\(high)/web.yaml.d' '\(low)/db.yaml.d'")
        try put("x", "\(high)/web.yaml.d/90.yaml")
        try put("x", "\(low)/db.yaml.d/90.yaml")
        try put("x", "\(middle)/db.yaml")
        let reading = all.read()
        #expect(reading.orphans.map(\.path) == ["\(high)/web.yaml.d/90.yaml"])
        #expect(reading.orphans.first?.message.contains("no directory has the manifest web.yaml") == true)
        #expect(reading.problems.isEmpty)
    }

    @Test func dropInsOfNoManifestAreNotRead() throws {
        try #require(mkdir("\(low)/gone.yaml.d", 0o755) == 0 && mkdir("\(low)/web.txt.d", 0o755) == 0)
        try put("x", "\(low)/gone.yaml.d/1.yaml")
        try #require(mkfifo("\(low)/gone.yaml.d/2.yaml", 0o644) == 0)
        let reading = all.read()
        #expect(reading.files.isEmpty && reading.problems.isEmpty)
    }

    @Test func aDropInThatCannotBeReadIsAProblemOfItsManifest() throws {
        try put("web", "\(low)/web.yaml")
        try put("db", "\(low)/db.yaml")
        try #require(mkdir("\(low)/web.yaml.d", 0o755) == 0)
        try put("x".utf8, "\(low)/web.yaml.d/1.yaml", mode: 0o666)
        var reading = all.read()
        #expect(reading.files.map(\.path) == ["\(low)/db.yaml"])
        #expect(
            reading.problems == [
                ManifestProblem(
                    path: "\(low)/web.yaml",
                    message:
                        "its drop-in \(low)/web.yaml.d/1.yaml cannot be read: expected to be writable by its owner only, got mode 666: "
                        + "chmod go-w it")
            ])
        #expect(reading.removal(of: "\(low)/web.yaml").isUnknown)
        // Whose it is matters to nobody who only checks it.
        #expect(ManifestDirectory.read(given: [low]).files.map(\.dropIns.count) == [0, 1])

        try #require(chmod("\(low)/web.yaml.d/1.yaml", 0o644) == 0 && chmod("\(low)/web.yaml.d", 0o777) == 0)
        reading = all.read()
        #expect(reading.problems.map(\.path) == ["\(low)/web.yaml"])
        try #require(chmod("\(low)/web.yaml.d", 0o755) == 0)
        #expect(all.read().problems.isEmpty)

        try shell("rm -r \(low)/web.yaml.d; echo x > \(low)/web.yaml.d")
        #expect(all.read().problems.map(\.message) == ["its drop-in \(low)/web.yaml.d cannot be read: Not a directory"])
    }

    @Test func filesAndDirectoriesOnACommandLine() throws {
        try put("web", "\(low)/web.yaml")
        try put("odd", "\(middle)/odd.txt")
        try put("db", "\(high)/db.yaml")
        try #require(mkdir("\(low)/web.yaml.d", 0o755) == 0)
        try put("1", "\(low)/web.yaml.d/1.yaml")
        let reading = ManifestDirectory.read(given: [
            "\(low)/web.yaml", low, "\(low)//web.yaml", "\(middle)/odd.txt", high, "\(high)/none",
        ])
        #expect(reading.files.map(\.path) == ["\(low)/web.yaml", "\(middle)/odd.txt", "\(high)/db.yaml"])
        #expect(reading.files.map(\.dropIns.count) == [1, 0, 0])
        #expect(reading.problems == [ManifestProblem(path: "\(high)/none", message: "No such file or directory")])
    }

    // MARK: which directories

    private func reason(_ reading: Reading, _ path: String) -> String? {
        guard case .unavailable(let reason) = reading.conditions[path] else { return nil }
        return reason
    }

    @Test func aDirectoryThatNeverWasIsAbsentAndOneThatWentIsUnavailable() throws {
        try put("x", "\(low)/web.yaml")
        let directory = ManifestDirectory(paths: [low, middle, "\(temporary.path)/none"])
        var reading = directory.read()
        #expect(reading.conditions == [low: .read, middle: .empty, "\(temporary.path)/none": .absent])
        #expect(reading.trusted)
        #expect(reading.removal(of: "\(low)/gone.yaml") == .certain)
        #expect(reading.removal(of: "\(middle)/gone.yaml") == .emptied)
        #expect(reading.removal(of: "\(temporary.path)/none/gone.yaml").isUnknown)
        #expect(reading.removal(of: "/elsewhere/gone.yaml").isUnknown)

        try #require(rmdir(middle) == 0)
        reading = directory.read()
        #expect(reason(reading, middle) == "No such file or directory")
        #expect(!reading.trusted && reading.removal(of: "\(low)/gone.yaml").isUnknown)
        #expect(reading.files.map(\.path) == ["\(low)/web.yaml"])

        try #require(mkdir(middle, 0o755) == 0)
        #expect(directory.read().trusted)
    }

    @Test func nothingAnywhereIsNotTrusted() throws {
        #expect(!all.read().trusted)
        #expect(!ManifestDirectory(paths: ["/nonexistent/vz.d"]).read().trusted)
        #expect(!ManifestDirectory(paths: []).read().trusted)
    }

    @Test func whatIsNoDirectoryIsUnavailable() throws {
        try put("x", "\(temporary.path)/file")
        let reading = ManifestDirectory(paths: ["\(temporary.path)/file"]).read()
        #expect(reason(reading, "\(temporary.path)/file") == "Not a directory")
    }

    @Test func aDirectoryThatOthersMayWriteIsUnavailable() throws {
        try put("x", "\(low)/web.yaml")
        try #require(chmod(low, 0o777) == 0)
        let reading = all.read()
        #expect(reading.files.isEmpty)
        #expect(reason(reading, low) == "expected to be writable by its owner only, got mode 777: chmod go-w it")
    }

    @Test(.enabled(if: geteuid() != 0, "needs a user whom modes hold back"))
    func anUnreadableDirectoryIsUnavailable() throws {
        try put("x", "\(low)/web.yaml")
        try put("x".utf8, "\(high)/db.yaml", mode: 0)
        try #require(chmod(low, 0) == 0)
        let reading = all.read()
        #expect(reason(reading, low) == "Permission denied")
        #expect(reading.problems == [ManifestProblem(path: "\(high)/db.yaml", message: "Permission denied")])
        try #require(chmod(low, 0o755) == 0)
    }

    private static func device(_ path: String) -> dev_t? {
        var status = stat()
        return stat(path, &status) == 0 ? status.st_dev : nil
    }

    @Test(.enabled(if: device("/dev/shm") != nil && device("/dev/shm") != device("/tmp"), "needs two file systems"))
    func aDirectoryOnAnotherDeviceIsUnavailable() throws {
        let elsewhere = try TemporaryDirectory(in: "/dev/shm")
        let path = "\(temporary.path)/link"
        try put("x", "\(low)/web.yaml")
        try put("x", "\(elsewhere.path)/db.yaml")
        try #require(symlink(low, path) == 0)
        let directory = ManifestDirectory(paths: [path])
        #expect(directory.read().trusted)
        try shell("ln -sfn \(elsewhere.path) \(path)")
        let reading = directory.read()
        #expect(reading.files.isEmpty && !reading.trusted)
        #expect(reason(reading, path)?.hasPrefix("on another device than before, and without web.yaml") == true)
        try shell("ln -sfn \(low) \(path)")
        #expect(directory.read().trusted)
        // Complete, it is the same wherever it is.
        try put("x", "\(elsewhere.path)/web.yaml")
        try shell("ln -sfn \(elsewhere.path) \(path)")
        #expect(directory.read().trusted)
        try shell("ln -sfn \(low) \(path)")
        #expect(reason(directory.read(), path)?.contains("without db.yaml") == true)
    }

    /// What is there so far may look like the whole.
    @Test func aFileThatIsOpenForWritingIsAProblem() throws {
        try put("x", "\(low)/web.yaml")
        let file = open("\(low)/web.yaml", O_WRONLY | O_APPEND | O_CLOEXEC)
        try #require(file >= 0)
        #expect(
            all.read().problems == [
                ManifestProblem(path: "\(low)/web.yaml", message: "is open for writing; it is read when it is closed")
            ])
        // Whoever gives it by name knows.
        #expect(ManifestDirectory.read(given: ["\(low)/web.yaml"]).problems.isEmpty)
        close(file)
        #expect(all.read().files.map(\.path) == ["\(low)/web.yaml"])
    }

    @Test func aSlashAtTheEndMakesNoDifference() throws {
        try put("x", "\(low)/web.yaml")
        let reading = ManifestDirectory(paths: ["\(low)//"]).read()
        #expect(reading.files.map(\.path) == ["\(low)/web.yaml"])
        #expect(reading.conditions == [low: .read])
    }

    /// While a writer rewrites in place, a reading holds one of its texts whole, or none, or says that it was disturbed.
    @Test func aFileThatIsBeingWritten() throws {
        try put("x", "\(low)/web.yaml")
        let writer = try Child([
            "sh", "-c",
            "cd \(low); until [ -e stop ]; do printf '%065536d' 1 > new; mv new web.yaml; printf '%065536d' 2 > new; mv new web.yaml; done",
        ])
        for _ in 1...200 {
            for file in all.read().files { #expect(file.bytes.count == 1 || file.bytes.count == 65536) }
        }
        try put("", "\(low)/stop")
        #expect(writer.wait() == 0)
    }

    // MARK: the cache

    @Test func onlyWhatChangedIsParsed() throws {
        var cache = ManifestCache<String>()
        var parsed: [String] = []
        func update() -> ManifestCache<String>.Update {
            parsed = []
            return cache.update(with: all.read()) { file in
                parsed.append(file.path)
                return String(decoding: file.bytes, as: UTF8.self)
            }
        }
        let (a, b) = ("\(low)/a.yaml", "\(low)/b.yaml")
        try put("one", a)
        try put("two", b)
        var result = update()
        #expect(result.items.map(\.path) == [a, b] && result.items.map(\.parsed) == ["one", "two"])
        #expect(result.changed == [a, b] && parsed == [a, b] && result.gone.isEmpty)

        // Written again with the same bytes: nothing changed.
        try put("one", a)
        result = update()
        #expect(result.items.map(\.parsed) == ["one", "two"] && result.changed.isEmpty && parsed.isEmpty)

        try put("six", b)
        result = update()
        #expect(result.items.map(\.parsed) == ["one", "six"] && result.changed == [b] && parsed == [b])

        try #require(unlink(a) == 0)
        result = update()
        #expect(result.items.map(\.path) == [b] && result.gone == [a] && parsed.isEmpty)

        try put("one", a)
        #expect(update().changed == [a])
    }
}
