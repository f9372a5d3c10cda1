import Glibc
import Synchronization
import Testing

@testable import VZReconciler

@Suite struct WorkQueueTests {
    /// Collects what was worked on, and wakes whoever waits for it.
    private final class Collected: Sendable {
        private let keys = Mutex<[Int]>([])
        private let running = Mutex<(now: [Int: Int], most: Int)>(([:], 0))
        let stream: AsyncStream<Int>
        private let continuation: AsyncStream<Int>.Continuation

        init() { (stream, continuation) = AsyncStream.makeStream() }

        func enter(_ key: Int) {
            running.withLock { running in
                running.now[key, default: 0] += 1
                running.most = max(running.most, running.now[key] ?? 0)
            }
        }

        func leave(_ key: Int) {
            running.withLock { $0.now[key, default: 0] -= 1 }
            keys.withLock { $0.append(key) }
            continuation.yield(key)
        }

        var all: [Int] { keys.withLock { $0 } }
        /// The most that were ever at work on one key at the same time.
        var mostAtOnce: Int { running.withLock { $0.most } }
    }

    @Test(.timeLimit(.minutes(1))) func everyKeyIsWorkedOn() async {
        let done = Collected()
        let queue = WorkQueue<Int> { key in
            done.enter(key)
            done.leave(key)
        }
        queue.start(threads: 4)
        for key in 0..<1000 { queue.add(key) }
        var seen = 0
        for await _ in done.stream {
            seen += 1
            if seen == 1000 { break }
        }
        queue.stop()
        #expect(Set(done.all).count == 1000)
    }

    @Test(.timeLimit(.minutes(1))) func aKeyIsNeverWorkedOnTwiceAtOnceAndNoRequestIsLost() async {
        let done = Collected()
        let last = Mutex(0)
        let written = Mutex(0)
        let queue = WorkQueue<Int> { key in
            done.enter(key)
            // Whoever works after a request sees what stood there when it was made.
            written.withLock { written in last.withLock { $0 = written } }
            done.leave(key)
        }
        queue.start(threads: 4)
        for value in 1...2000 {
            written.withLock { $0 = value }
            queue.add(7)
        }
        for await _ in done.stream where last.withLock({ $0 }) == 2000 { break }
        queue.stop()
        #expect(done.mostAtOnce == 1)
    }

    @Test(.timeLimit(.minutes(1))) func aDelayIsKeptAndAnEarlierOneStands() async {
        let done = Collected()
        let queue = WorkQueue<Int> { key in
            done.enter(key)
            done.leave(key)
        }
        queue.start(threads: 1)
        let start = ContinuousClock.now
        queue.add(1, after: .seconds(30))
        queue.add(1, after: .milliseconds(50))
        queue.add(1, after: .seconds(60))
        for await _ in done.stream { break }
        let waited = ContinuousClock.now - start
        queue.stop()
        #expect(waited >= .milliseconds(50) && waited < .seconds(20))
    }

    /// Threads that hang keep nobody else waiting.
    @Test(.timeLimit(.minutes(1))) func whenAllThreadsAreBusyForLongThereAreMore() async {
        let done = Collected()
        let gate = Gate()
        let queue = WorkQueue<Int>(patience: .milliseconds(40)) { key in
            done.enter(key)
            if key < 8 { gate.wait() }
            done.leave(key)
        }
        queue.start(threads: 2)
        for key in 0..<16 { queue.add(key) }
        var seen: Set<Int> = []
        for await key in done.stream {
            seen.insert(key)
            if seen.count == 8 { break }
        }
        #expect(seen == Set(8..<16))
        #expect(queue.isAlive)
        gate.open()
        for await key in done.stream {
            seen.insert(key)
            if seen.count == 16 { break }
        }
        queue.stop()
    }

    @Test func eachItemIsTakenOnce() {
        let seen = Mutex<[Int]>([])
        concurrently(Array(0..<500), threads: 8) { item in seen.withLock { $0.append(item) } }
        #expect(seen.withLock { $0.sorted() } == Array(0..<500))
        concurrently([Int](), threads: 3) { _ in }
    }
}

@Suite struct BackoffTests {
    @Test func doublesFromOneSecondToFiveMinutes() {
        var backoff = Backoff()
        let now = ContinuousClock.now
        let waits = (0..<12).map { _ in backoff.fail(now: now, jitter: 1).components.seconds }
        #expect(waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300])
    }

    @Test func nothingIsToBeWaitedAfterASuccess() {
        var backoff = Backoff()
        let now = ContinuousClock.now
        _ = backoff.fail(now: now, jitter: 1)
        #expect(backoff.remaining(now: now) == .seconds(1))
        #expect(backoff.remaining(now: now + .seconds(1)) == nil)
        backoff.reset()
        #expect(backoff.remaining(now: now) == nil)
    }
}

/// Keeps threads until it is opened.
private final class Gate: @unchecked Sendable {  // the mutex guards it
    private var mutex = pthread_mutex_t()
    private var condition = pthread_cond_t()
    private var isOpen = false

    init() {
        pthread_mutex_init(&mutex, nil)
        pthread_cond_init(&condition, nil)
    }

    func wait() {
        pthread_mutex_lock(&mutex)
        while !isOpen { pthread_cond_wait(&condition, &mutex) }
        pthread_mutex_unlock(&mutex)
    }

    func open() {
        pthread_mutex_lock(&mutex)
        isOpen = true
        pthread_cond_broadcast(&condition)
        pthread_mutex_unlock(&mutex)
    }
}
