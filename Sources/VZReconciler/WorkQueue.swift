internal import Glibc
internal import Synchronization

/// Keys that wait for work, and threads of our own that do it: work here blocks in system calls, which the cooperative pool must not.
///
/// A key that is queued twice is worked on once; one that is queued while it is being worked on is worked on again afterwards, never
/// by two threads at once. When all threads are at something that takes long, more are started, so that what takes long never keeps the
/// rest waiting.
public final class WorkQueue<Key: Hashable & Sendable>: @unchecked Sendable {  // all state is under `mutex`
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    /// For the thread that looks after the others: all are busy, and something waits.
    private let allBusy = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var ready: [Key] = []
    private var isReady: Set<Key> = []
    private var working: [Key: ContinuousClock.Instant] = [:]
    private var idle = 0
    private var count = 0
    /// The thread that looks after the others looks again by itself.
    private var isWatched = false
    private let patience: Duration
    private var again: Set<Key> = []
    private var delayed: [Key: ContinuousClock.Instant] = [:]
    private var stopping = false
    private var threads: [pthread_t] = []
    private let work: @Sendable (Key) -> Void

    /// - Parameters:
    ///   - patience: how long all threads may be busy while something waits before there is one more.
    ///   - work: does one key's work; called on threads of the queue.
    public init(patience: Duration = .seconds(5), work: @escaping @Sendable (Key) -> Void) {
        self.work = work
        self.patience = patience
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(condition, &attributes)
        pthread_cond_init(allBusy, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_cond_destroy(allBusy)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        allBusy.deallocate()
        mutex.deallocate()
    }

    /// Starts `count` threads, and one that looks after them.
    public func start(threads count: Int) {
        for _ in 0..<count where startThread({ self.run() }) { locked { self.count += 1 } }
        _ = startThread { self.reinforce() }
    }

    private func startThread(_ body: @escaping () -> Void) -> Bool {
        var thread = pthread_t()
        let box = Unmanaged.passRetained(ThreadBody(body))
        guard pthread_create(&thread, nil, runThreadBody, box.toOpaque()) == 0 else {
            box.release()
            return false
        }
        locked { threads.append(thread) }
        return true
    }

    /// More threads than these are never started, whatever hangs.
    private static var mostThreads: Int { 512 }

    /// Whether what waits is taken up: something does, or some thread is free, or has not been busy for long.
    public var isAlive: Bool { locked { !isStuck || count < Self.mostThreads } }

    private var isStuck: Bool {
        let now = ContinuousClock.now
        return idle == 0 && !ready.isEmpty && working.values.allSatisfy { now - $0 > patience }
    }

    /// Starts one more thread whenever all have been busy for long while something waits. Sleeps while something is free.
    private func reinforce() {
        while true {
            let (end, more) = locked { () -> (Bool, Bool) in
                while !stopping && (idle > 0 || ready.isEmpty) { pthread_cond_wait(allBusy, mutex) }
                isWatched = true
                if !stopping && !isStuck { wait(on: allBusy, for: patience / 8) }
                isWatched = false
                return (stopping, isStuck && count < Self.mostThreads)
            }
            if end { return }
            if more, startThread({ self.run() }) { locked { count += 1 } }
        }
    }

    /// Takes no more work, and waits for what is being done unless `abandoning` it.
    public func stop(abandoning: Bool = false) {
        let waiting = locked {
            stopping = true
            pthread_cond_broadcast(condition)
            pthread_cond_broadcast(allBusy)
            defer { threads = [] }
            return threads
        }
        for thread in waiting {
            if abandoning { pthread_detach(thread) } else { pthread_join(thread, nil) }
        }
    }

    /// Puts a key in the queue.
    public func add(_ key: Key) {
        locked { insert(key) }
    }

    /// Puts a key in the queue when `delay` has passed; an earlier time for the same key stands.
    public func add(_ key: Key, after delay: Duration) {
        locked {
            let time = ContinuousClock.now + delay
            delayed[key] = min(delayed[key] ?? time, time)
            pthread_cond_broadcast(condition)
        }
    }

    private func locked<T>(_ body: () -> T) -> T {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body()
    }

    private func insert(_ key: Key) {
        delayed[key] = nil
        if working[key] != nil {
            again.insert(key)
        } else if isReady.insert(key).inserted {
            ready.append(key)
            pthread_cond_signal(idle > 0 ? condition : allBusy)  // one key, one thread
        }
    }

    private func next() -> Key? {
        locked {
            while !stopping {
                let now = ContinuousClock.now
                for (key, time) in delayed where time <= now { insert(key) }
                if !ready.isEmpty {
                    let key = ready.removeFirst()
                    isReady.remove(key)
                    working[key] = .now
                    if idle == 0 && !ready.isEmpty && !isWatched { pthread_cond_signal(allBusy) }
                    return key
                }
                idle += 1
                if let time = delayed.values.min() {
                    wait(on: condition, for: time - now)
                } else {
                    pthread_cond_wait(condition, mutex)
                }
                idle -= 1
            }
            return nil
        }
    }

    /// Waits for a signal or until the time is over; under the mutex.
    private func wait(on condition: UnsafeMutablePointer<pthread_cond_t>, for duration: Duration) {
        var until = timespec()
        clock_gettime(CLOCK_MONOTONIC, &until)
        let wait = max(duration, .zero).components
        until.tv_sec += Int(wait.seconds)
        until.tv_nsec += Int(wait.attoseconds / 1_000_000_000) + 1
        if until.tv_nsec >= 1_000_000_000 {
            (until.tv_sec, until.tv_nsec) = (until.tv_sec + 1, until.tv_nsec - 1_000_000_000)
        }
        pthread_cond_timedwait(condition, mutex, &until)
    }

    private func run() {
        while let key = next() {
            work(key)
            locked {
                working[key] = nil
                if again.remove(key) != nil { insert(key) }
            }
        }
    }
}

/// What a new thread runs: C entry points capture nothing.
final class ThreadBody {
    let run: () -> Void
    init(_ run: @escaping () -> Void) { self.run = run }
}

/// The entry point of a thread that was given a retained `ThreadBody`.
func runThreadBody(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    if let argument { Unmanaged<ThreadBody>.fromOpaque(argument).takeRetainedValue().run() }
    return nil
}

/// Does something to each of `items` on so many threads, this one among them, and comes back when all is done.
func concurrently<Item: Sendable>(_ items: [Item], threads count: Int, _ body: @escaping @Sendable (Item) -> Void) {
    let left = Remaining(items)
    let run: @Sendable () -> Void = { while let item = left.next() { body(item) } }
    var threads: [pthread_t] = []
    for _ in 1..<max(count, 1) {
        var thread = pthread_t()
        let box = Unmanaged.passRetained(ThreadBody(run))
        if pthread_create(&thread, nil, runThreadBody, box.toOpaque()) == 0 { threads.append(thread) } else { box.release() }
    }
    run()
    for thread in threads { pthread_join(thread, nil) }
}

private final class Remaining<Item: Sendable>: Sendable {
    private let items: Mutex<ArraySlice<Item>>
    init(_ items: [Item]) { self.items = Mutex(items[...]) }
    func next() -> Item? { items.withLock { $0.popFirst() } }
}
