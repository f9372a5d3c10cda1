import Glibc
import Synchronization
import Testing
import VZKernel
import VZManifest

@testable import VZReconciler

/// All that uses libinotifytools: its state is global, so there is one test at a time.
@Suite(.serialized, .timeLimit(.minutes(2)))
enum WatchTests {}

extension WatchTests {
    @Suite struct DirectoryWatcherTests {
        let temporary: TemporaryDirectory
        let watched: String
        let outside: String

        init() throws {
            temporary = try TemporaryDirectory()
            watched = try temporary.directory("vz.d")
            outside = try temporary.directory("outside")
        }

        private func watcher(retry: Duration = .milliseconds(20), recheck: Duration = .seconds(30)) -> DirectoryWatcher {
            DirectoryWatcher(paths: [watched], retry: retry, recheck: recheck)
        }

        private func expect(_ wanted: Hint, from watcher: DirectoryWatcher, _ location: Testing.SourceLocation = #_sourceLocation)
            async throws
        {
            let seen = Mutex<[Hint]>([])
            do {
                try await within {
                    for await hint in watcher.hints {
                        seen.withLock { $0.append(hint) }
                        if hint == wanted { return }
                    }
                    throw TimedOut()
                }
            } catch {
                Issue.record("expected \(wanted), got \(seen.withLock { $0 })", sourceLocation: location)
            }
        }

        // MARK: what writers do

        struct Writer: CustomTestStringConvertible {
            var testDescription: String
            /// Run in the watched directory, which holds web.yaml and db.yaml; $OUT is a directory outside.
            var script: String
            /// What a reading holds afterwards.
            var files: [String: String]

            init(_ name: String, _ script: String, _ files: [String: String]) {
                (testDescription, self.script, self.files) = (name, script, files)
            }
        }

        static let writers = [
            Writer("rewritten in place", "printf new > web.yaml", ["web.yaml": "new", "db.yaml": "db"]),
            Writer("appended to", "printf er >> web.yaml", ["web.yaml": "older", "db.yaml": "db"]),
            Writer("sed -i", "sed -i s/old/new/ web.yaml", ["web.yaml": "new", "db.yaml": "db"]),
            Writer(
                "vim", "printf x > 4913; rm 4913; mv web.yaml web.yaml~; printf new > web.yaml; chmod 644 web.yaml; rm web.yaml~",
                ["web.yaml": "new", "db.yaml": "db"]),
            Writer("rsync", "printf new > .web.yaml.Qz1; mv .web.yaml.Qz1 web.yaml", ["web.yaml": "new", "db.yaml": "db"]),
            Writer("moved in", "printf new > $OUT/n; mv $OUT/n new.yaml", ["web.yaml": "old", "db.yaml": "db", "new.yaml": "new"]),
            Writer("moved out", "mv web.yaml $OUT/", ["db.yaml": "db"]),
            Writer("cp", "cp web.yaml new.yaml", ["web.yaml": "old", "db.yaml": "db", "new.yaml": "old"]),
            Writer(
                "hard link", "printf new > $OUT/n; ln $OUT/n new.yaml", ["web.yaml": "old", "db.yaml": "db", "new.yaml": "new"]),
            Writer(
                "symbolic link", "printf new > $OUT/n; ln -s $OUT/n new.yaml",
                ["web.yaml": "old", "db.yaml": "db", "new.yaml": "new"]),
            Writer(
                "link swapped", "printf new > $OUT/n; ln -s $OUT/n .tmp; mv -T .tmp web.yaml", ["web.yaml": "new", "db.yaml": "db"]),
            Writer(
                "Kubernetes' ..data",
                "rm web.yaml; mkdir ..1 ..2; printf 1 > ..1/v; printf 2 > ..2/v; ln -s ..1 ..data; ln -s ..data/v web.yaml; "
                    + "ln -s ..2 ..tmp; mv -T ..tmp ..data", ["web.yaml": "2", "db.yaml": "db"]),
            Writer("rm", "rm web.yaml", ["db.yaml": "db"]),
            Writer("masked", "ln -sf /dev/null web.yaml", ["db.yaml": "db"]),
            Writer("distrusted", "chmod o+w web.yaml", ["db.yaml": "db"]),
        ]

        @Test(arguments: writers)
        func anEditIsSeen(_ writer: Writer) async throws {
            try put("old", "\(watched)/web.yaml")
            try put("db", "\(watched)/db.yaml")
            let watcher = watcher()
            let looks = watcher.hints.settled(quiet: .milliseconds(50))
            try await watcher.start()
            try shell("cd \(watched); OUT=\(outside); \(writer.script)")
            let wanted = writer.files.map { ManifestFile(path: "\(watched)/\($0)", bytes: Array($1.utf8)) }.sorted {
                $0.path < $1.path
            }
            let directory = ManifestDirectory(paths: [watched])
            // Hints only make us look; the look must in the end find what is there.
            try await within { for await _ in looks where directory.read().files == wanted { return } }
            #expect(directory.read().files == wanted)
            await watcher.stop()
        }

        @Test func aHintNamesTheFile() async throws {
            let watcher = watcher()
            try await watcher.start()
            try await expect(.started, from: watcher)
            try put("x", "\(watched)/web.yaml")
            try await expect(.change(file: "\(watched)/web.yaml"), from: watcher)
            await watcher.stop()
        }

        @Test func readingGivesNoHint() async throws {
            try put("x", "\(watched)/web.yaml")
            let watcher = watcher()
            try await watcher.start()
            try await expect(.started, from: watcher)
            #expect(ManifestDirectory(paths: [watched]).read().files.count == 1)
            try put("x", "\(watched)/last.yaml")
            var iterator = watcher.hints.makeAsyncIterator()
            #expect(await iterator.next() == .change(file: "\(watched)/last.yaml"))
            await watcher.stop()
        }

        // MARK: what happens to the directory

        @Test func removedAndMadeAgain() async throws {
            let watcher = watcher()
            try await watcher.start()
            for round in 1...5 {
                try shell("rm -r \(watched)")
                try await expect(.directoryLost(watched), from: watcher)
                try shell("mkdir \(watched)")
                try await expect(.rearmed(watched), from: watcher)
                try put("\(round)", "\(watched)/web.yaml")
                try await expect(.change(file: "\(watched)/web.yaml"), from: watcher)
            }
            await watcher.stop()
        }

        /// The new directory may have the old one's inode number: comparing numbers is not enough.
        @Test func removedAndMadeAgainAtOnce() async throws {
            let watcher = watcher()
            try await watcher.start()
            for _ in 1...20 {
                try shell("rm -r \(watched); mkdir \(watched)")
                try await expect(.rearmed(watched), from: watcher)
            }
            // A late word on the last removal may still come; a file is seen all the same.
            try put("x", "\(watched)/web.yaml")
            try await expect(.change(file: "\(watched)/web.yaml"), from: watcher)
            await watcher.stop()
        }

        @Test func missingAtStart() async throws {
            try shell("rmdir \(watched)")
            let watcher = watcher()
            try await watcher.start()
            try await expect(.started, from: watcher)
            try shell("mkdir \(watched)")
            try await expect(.rearmed(watched), from: watcher)
            try put("x", "\(watched)/web.yaml")
            try await expect(.change(file: "\(watched)/web.yaml"), from: watcher)
            await watcher.stop()
        }

        @Test func movedAway() async throws {
            let watcher = watcher()
            try await watcher.start()
            try shell("mv \(watched) \(outside)/moved")
            try await expect(.directoryLost(watched), from: watcher)
            // The directory that was moved is no concern of ours any more.
            try put("x", "\(outside)/moved/web.yaml")
            try shell("mkdir \(watched)")
            var iterator = watcher.hints.makeAsyncIterator()
            #expect(await iterator.next() == .rearmed(watched))
            await watcher.stop()
        }

        @Test func replacedByAnother() async throws {
            let watcher = watcher()
            try await watcher.start()
            try shell("mkdir \(outside)/new; mv \(watched) \(outside)/old; mv \(outside)/new \(watched)")
            try await expect(.rearmed(watched), from: watcher)
            try put("x", "\(watched)/web.yaml")
            try await expect(.change(file: "\(watched)/web.yaml"), from: watcher)
            await watcher.stop()
        }

        @Test(arguments: [
            "mv P P.old; mkdir -p P/vz.d",
            "mv P/vz.d P/v1; mkdir P/v2; ln -s v1 P/vz.d",
        ])
        func thePathLeadsElsewhere(_ script: String) async throws {
            let parent = try temporary.directory("parent")
            let path = try temporary.directory("parent/vz.d")
            let watcher = DirectoryWatcher(paths: [path], retry: .milliseconds(20), recheck: .milliseconds(20))
            try await watcher.start()
            try shell(script.replacing("P", with: parent))
            try await expect(.rearmed(path), from: watcher)
            if script.contains("ln -s") {
                try shell("ln -sfn v2 \(path)")
                try await expect(.rearmed(path), from: watcher)
            }
            try put("x", "\(path)/web.yaml")
            try await expect(.change(file: "\(path)/web.yaml"), from: watcher)
            await watcher.stop()
        }

        @Test func severalDirectories() async throws {
            let watcher = DirectoryWatcher(paths: [watched, "\(temporary.path)/none", outside])
            try await watcher.start()
            try put("x", "\(outside)/web.yaml")
            try await expect(.change(file: "\(outside)/web.yaml"), from: watcher)
            try put("x", "\(watched)/web.yaml")
            try await expect(.change(file: "\(watched)/web.yaml"), from: watcher)
            await watcher.stop()
        }

        // MARK: the library and its descriptor

        @Test func oneAtATime() async throws {
            let first = watcher()
            try await first.start()
            let second = watcher()
            await #expect { try await second.start() } throws: { ($0 as? KernelError)?.errno == EBUSY }
            await #expect { try await first.start() } throws: { ($0 as? KernelError)?.errno == EALREADY }
            try put("x", "\(watched)/web.yaml")
            try await expect(.change(file: "\(watched)/web.yaml"), from: first)
            await first.stop()
            await second.stop()
            await #expect { try await second.start() } throws: { ($0 as? KernelError)?.errno == EALREADY }
        }

        @Test func directoriesOfDropIns() async throws {
            try #require(mkdir("\(watched)/web.yaml.d", 0o755) == 0)
            try #require(mkdir("\(watched)/other.d", 0o755) == 0)
            let watcher = watcher()
            try await watcher.start()
            // One that was there, and one that comes later.
            try put("x", "\(watched)/web.yaml.d/1.yaml")
            try await expect(.change(file: "\(watched)/web.yaml.d/1.yaml"), from: watcher)
            try #require(mkdir("\(watched)/db.yaml.d", 0o755) == 0)
            try await expect(.rearmed("\(watched)/db.yaml.d/"), from: watcher)
            try put("x", "\(watched)/db.yaml.d/1.yaml")
            try await expect(.change(file: "\(watched)/db.yaml.d/1.yaml"), from: watcher)
            // One that is replaced, and one that goes.
            try shell("mv \(watched)/db.yaml.d \(outside)/; mkdir \(watched)/db.yaml.d")
            try await expect(.rearmed("\(watched)/db.yaml.d/"), from: watcher)
            try put("x", "\(watched)/db.yaml.d/2.yaml")
            try await expect(.change(file: "\(watched)/db.yaml.d/2.yaml"), from: watcher)
            try shell("rm -r \(watched)/web.yaml.d; mkdir \(watched)/web.yaml.d")
            try await expect(.rearmed("\(watched)/web.yaml.d/"), from: watcher)
            try put("x", "\(watched)/web.yaml.d/3.yaml")
            try await expect(.change(file: "\(watched)/web.yaml.d/3.yaml"), from: watcher)
            await watcher.stop()
        }

        @Test func noDescriptorOfOursInAChild() async throws {
            let watcher = watcher()
            try await watcher.start()
            #expect(inotifyDescriptors(in: try Child(["ls", "-l", "/proc/self/fd"]).output()) == 0)
            #expect(inotifyDescriptors(in: try Child(["ls", "-l", "/proc/\(getpid())/fd"]).output()) == 1)
            await watcher.stop()
            #expect(inotifyDescriptors(in: try Child(["ls", "-l", "/proc/\(getpid())/fd"]).output()) == 0)
        }

        private func inotifyDescriptors(in list: String) -> Int {
            list.split(separator: "\n").count { $0.hasSuffix("anon_inode:inotify") }
        }

        @Test func startedAndStoppedOverAndOver() async throws {
            for _ in 1...20 {
                let watcher = watcher()
                try await watcher.start()
                // Whatever is still in the library's buffer at the end must not reach the next watcher.
                for file in 1...20 { try put("x", "\(watched)/\(file).yaml") }
                await watcher.stop()
                var last: Hint?
                for await hint in watcher.hints { last = hint }
                #expect(last != nil)
            }
            let watcher = watcher()
            try await watcher.start()
            try put("x", "\(watched)/web.yaml")
            var iterator = watcher.hints.makeAsyncIterator()
            #expect(await iterator.next() == .started)
            #expect(await iterator.next() == .change(file: "\(watched)/web.yaml"))
            await watcher.stop()
        }

        @Test func stoppedWhileFilesAreWritten() async throws {
            let writer = try Child([
                "sh", "-c", "cd \(watched); until [ -e \(outside)/stop ]; do printf x > a.yaml; mv a.yaml b.yaml; done",
            ])
            for _ in 1...10 {
                let watcher = watcher()
                try await watcher.start()
                try await expect(.change(file: "\(watched)/a.yaml"), from: watcher)
                await watcher.stop()
            }
            try put("", "\(outside)/stop")
            #expect(writer.wait() == 0)
        }

        @Test func droppedWithoutStop() async throws {
            do { try await watcher().start() }
            let next = ContinuousClock.now + .seconds(20)
            while true {
                let watcher = watcher()
                do {
                    try await watcher.start()
                    return await watcher.stop()
                } catch {
                    // The thread of the one that was dropped ends by itself, soon.
                    try #require((error as KernelError).errno == EBUSY && ContinuousClock.now < next)
                    await Task.yield()
                }
            }
        }

        @Test func stoppedBeforeStarted() async throws {
            let watcher = watcher()
            await watcher.stop()
            for await _ in watcher.hints { Issue.record("a hint from a watcher that never ran") }
        }
    }
}
