internal import Glibc

/// Keys that wait for work, and threads of our own that do it: work here blocks in system calls, which the cooperative pool must not.
///
/// A key that is queued twice is worked on once; one that is queued while it is being worked on is worked on again afterwards, never
/// by two threads at once.
public final class WorkQueue<Key: Hashable & Sendable>: @unchecked Sendable {  // all state is under `mutex`
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var ready: [Key] = []
    private var isReady: Set<Key> = []
    private var working: Set<Key> = []
    private var again: Set<Key> = []
    private var delayed: [Key: ContinuousClock.Instant] = [:]
    private var stopping = false
    private var threads: [pthread_t] = []
    private let work: @Sendable (Key) -> Void

    /// - Parameters:
    ///   - work: does one key's work; called on threads of the queue.
    public init(work: @escaping @Sendable (Key) -> Void) {
        self.work = work
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    /// Starts `count` threads.
    public func start(threads count: Int) {
        for _ in 0..<count {
            var thread = pthread_t()
            let box = Unmanaged.passRetained(ThreadBody { self.run() })
            let error = pthread_create(&thread, nil, runThreadBody, box.toOpaque())
            if error == 0 { locked { threads.append(thread) } } else { box.release() }
        }
    }

    /// Takes no more work, and waits for what is being done unless `abandoning` it.
    public func stop(abandoning: Bool = false) {
        let waiting = locked {
            stopping = true
            pthread_cond_broadcast(condition)
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
        if working.contains(key) {
            again.insert(key)
        } else if isReady.insert(key).inserted {
            ready.append(key)
            pthread_cond_signal(condition)  // one key, one thread
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
                    working.insert(key)
                    return key
                }
                if let time = delayed.values.min() {
                    var until = timespec()
                    clock_gettime(CLOCK_MONOTONIC, &until)
                    let wait = (time - now).components
                    until.tv_sec += Int(wait.seconds)
                    until.tv_nsec += Int(wait.attoseconds / 1_000_000_000) + 1
                    if until.tv_nsec >= 1_000_000_000 {
                        (until.tv_sec, until.tv_nsec) = (until.tv_sec + 1, until.tv_nsec - 1_000_000_000)
                    }
                    pthread_cond_timedwait(condition, mutex, &until)
                } else {
                    pthread_cond_wait(condition, mutex)
                }
            }
            return nil
        }
    }

    private func run() {
        while let key = next() {
            work(key)
            locked {
                working.remove(key)
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
