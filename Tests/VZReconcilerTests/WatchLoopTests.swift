import Glibc
import Testing
import VZKernel

@testable import VZReconciler

extension WatchTests {
    /// What happens when much happens before the watcher's thread comes to look: the thread is held back at its first change.
    @Suite struct WatchLoopTests {
        let temporary: TemporaryDirectory
        let watched: String

        init() throws {
            temporary = try TemporaryDirectory()
            watched = try temporary.directory("vz.d")
        }

        /// Waits for a hint; false when the stream ends before it.
        private func wait(for wanted: Hint, from hints: AsyncStream<Hint>) async throws -> Bool {
            try await within {
                for await hint in hints where hint == wanted { return true }
                return false
            }
        }

        private static func queueLength() -> Int {
            let text = try? String(decoding: bytes(of: "/proc/sys/fs/inotify/max_queued_events"), as: UTF8.self)
            return text.flatMap { Int($0.dropLast()) } ?? .max
        }

        @Test(.enabled(if: queueLength() <= 1 << 16, "the kernel's queue is too long to be filled in a test"))
        func overflow() async throws {
            let watcher = try await HeldWatcher(watched)
            let (a, b) = ("\(watched)/a", "\(watched)/b")
            try put("x", a)
            for _ in 0...(Self.queueLength() / 4 + 1500) { try #require(rename(a, b) == 0 && rename(b, a) == 0) }
            watcher.release()
            #expect(try await wait(for: .overflow, from: watcher.hints))
            // The end of the watch might have been among what was lost.
            #expect(try await wait(for: .rearmed(watched), from: watcher.hints))
            try put("x", "\(watched)/web.yaml")
            #expect(try await wait(for: .change(file: "\(watched)/web.yaml"), from: watcher.hints))
            watcher.stop()
        }

        /// The library reads many events at once into a buffer that poll(2) does not see.
        @Test func allOfABurstIsSeenAtOnce() async throws {
            let watcher = try await HeldWatcher(watched)
            for name in ["a", "b", "c", "last"] { try put("x", "\(watched)/\(name)") }
            watcher.release()
            #expect(try await wait(for: .change(file: "\(watched)/last"), from: watcher.hints))
            watcher.stop()
        }

        /// Comparing inode numbers is not enough: the new directory may have the old one's.
        @Test func replacedByADirectoryOfTheSameInode() async throws {
            func inode() throws -> ino_t {
                var status = stat()
                try #require(stat(watched, &status) == 0)
                return status.st_ino
            }
            let watcher = try await HeldWatcher(watched)
            try put("x", "\(watched)/web.yaml")
            let old = try inode()
            try #require(unlink("\(watched)/web.yaml") == 0 && rmdir(watched) == 0 && mkdir(watched, 0o755) == 0)
            // Other file systems than ext4 do not give the number again; the rest holds there too.
            let same = try inode() == old
            watcher.release()
            #expect(try await wait(for: .rearmed(watched), from: watcher.hints), "same inode: \(same)")
            try put("x", "\(watched)/new.yaml")
            #expect(try await wait(for: .change(file: "\(watched)/new.yaml"), from: watcher.hints))
            watcher.stop()
        }

        /// The library's buffer outlives its cleanup, and watch descriptors begin at 1 again.
        @Test func whatOneWatcherLeavesDoesNotReachTheNext() async throws {
            let other = try temporary.directory("other")
            let first = try await HeldWatcher(watched)
            try put("x", "\(watched)/a")
            for _ in 0..<6000 {
                try #require(rename("\(watched)/a", "\(watched)/b") == 0 && rename("\(watched)/b", "\(watched)/a") == 0)
            }
            first.release()
            first.stop()
            let second = try await HeldWatcher(other)
            second.release()
            try put("x", "\(other)/web.yaml")
            var iterator = second.hints.makeAsyncIterator()
            #expect(await iterator.next() == .change(file: "\(other)/web.yaml"))
            second.stop()
        }
    }
}

/// A watcher's loop on a thread of its own that stops at its first change until it is released.
private final class HeldWatcher {
    let hints: AsyncStream<Hint>
    private let thread: pthread_t
    private let gate: Descriptor
    private let stopper: Descriptor

    /// Returns when the directory is watched.
    init(_ path: String) async throws {
        let (hints, continuation) = AsyncStream<Hint>.makeStream()
        let (gate, barrier) = try socketPair()
        let (stopper, stop) = try socketPair()
        thread = startThread {
            var loop = try? WatchLoop(paths: [path], retry: .milliseconds(20), recheck: .seconds(30)) { hint in
                // Returns at the end of the stream, then and always.
                var byte: UInt8 = 0
                if case .change = hint { _ = read(barrier.raw, &byte, 1) }
                continuation.yield(hint)
            }
            loop?.run(until: stop)
            continuation.finish()
        }
        (self.hints, self.gate, self.stopper) = (hints, gate, stopper)
        var iterator = hints.makeAsyncIterator()
        #expect(await iterator.next() == .started)
    }

    func release() { shutdown(gate.raw, Int32(SHUT_RDWR)) }

    func stop() {
        shutdown(stopper.raw, Int32(SHUT_RDWR))
        pthread_join(thread, nil)
    }
}

private func socketPair() throws -> (Descriptor, Descriptor) {
    var ends: [Int32] = [-1, -1]
    try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0)
    return (Descriptor(adopting: ends[0]), Descriptor(adopting: ends[1]))
}

private func startThread(_ body: @escaping @Sendable () -> Void) -> pthread_t {
    final class Box: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    pthread_create(
        &thread, nil,
        { context in
            if let context { Unmanaged<Box>.fromOpaque(context).takeRetainedValue().body() }
            return nil
        }, Unmanaged.passRetained(Box(body)).toOpaque())
    return thread
}
