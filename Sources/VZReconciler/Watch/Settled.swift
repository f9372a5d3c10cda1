internal import Synchronization

/// A burst of hints as one: what `settled` gives.
public struct Burst: Equatable, Sendable {
    /// How many hints it stands for, at least one.
    public var count: Int
    /// The last of them.
    public var latest: Hint
    /// Those that tell more than a change, each once, in their order.
    public var notable: [Hint]

    public init(count: Int, latest: Hint, notable: [Hint] = []) {
        self.count = count
        self.latest = latest
        self.notable = notable
    }
}

/// When a burst is over: after `quiet` without a hint, at the latest `atMost` after its first. Pure; the caller tells the time.
struct BurstWindow<Instant: InstantProtocol> {
    let quiet: Instant.Duration
    let atMost: Instant.Duration
    private var first: Instant?
    private var last: Instant?
    private var burst: Burst?

    init(quiet: Instant.Duration, atMost: Instant.Duration) {
        self.quiet = quiet
        self.atMost = atMost
    }

    mutating func record(_ hint: Hint, at now: Instant) {
        if first == nil { first = now }
        last = now
        var next = burst ?? Burst(count: 0, latest: hint)
        next.count += 1
        next.latest = hint
        // The bound is there for directories of drop-ins that come and go without end.
        if hint.isNotable, next.notable.count < 100, !next.notable.contains(hint) { next.notable.append(hint) }
        burst = next
    }

    /// When the burst is over as far as is known now, nil when there is none. It moves later with each hint, never earlier.
    var due: Instant? {
        guard let first, let last else { return nil }
        return min(last.advanced(by: quiet), first.advanced(by: atMost))
    }

    /// Takes the burst if it is over at `now`.
    mutating func take(at now: Instant) -> Burst? {
        guard let due, due <= now else { return nil }
        defer { (first, last, burst) = (nil, nil, nil) }
        return burst
    }
}

extension AsyncSequence where Element == Hint, Failure == Never, Self: Sendable {
    /// Gives one burst after `quiet` without a hint, at the latest `atMost` after its first hint.
    ///
    /// Hints that come while the consumer is busy are one burst, given as soon as it asks and the burst is over. The sequence is for
    /// one consumer and ends after its base has ended; the base is taken from at once.
    public func settled<C: Clock<Duration>>(
        quiet: Duration = .milliseconds(100), atMost: Duration = .seconds(1), clock: C = ContinuousClock()
    ) -> Settled<C> {
        Settled(self, quiet: quiet, atMost: atMost, clock: clock)
    }
}

/// Bursts of hints; made by `settled`.
public struct Settled<C: Clock<Duration>>: AsyncSequence, Sendable {
    private let recorder: Recorder<C>

    init(_ base: some AsyncSequence<Hint, Never> & Sendable, quiet: Duration, atMost: Duration, clock: C) {
        recorder = Recorder(base, window: BurstWindow(quiet: quiet, atMost: atMost), clock: clock)
    }

    public func makeAsyncIterator() -> Iterator {
        Iterator(recorder: recorder, wake: recorder.wake.makeAsyncIterator())
    }

    public struct Iterator: AsyncIteratorProtocol {
        fileprivate let recorder: Recorder<C>
        fileprivate var wake: AsyncStream<Void>.Iterator

        public mutating func next() async -> Burst? {
            await next(isolation: nil)
        }

        public mutating func next(isolation actor: isolated (any Actor)?) async -> Burst? {
            while true {
                if let burst = recorder.take() { return burst }
                if let due = recorder.due {
                    do { try await recorder.clock.sleep(until: due, tolerance: nil) } catch { return nil }
                } else if await wake.next(isolation: actor) == nil, recorder.due == nil {
                    return nil
                }
            }
        }
    }
}

/// Takes hints as they come and notes their time, whatever the consumer does.
private final class Recorder<C: Clock<Duration>>: Sendable {
    let clock: C
    /// Something was recorded since last asked; ends with the base.
    let wake: AsyncStream<Void>
    private let shared: Shared
    private let task: Task<Void, Never>

    private final class Shared: Sendable {
        let window: Mutex<BurstWindow<C.Instant>>
        init(_ window: BurstWindow<C.Instant>) { self.window = Mutex(window) }
    }

    init(_ base: some AsyncSequence<Hint, Never> & Sendable, window: BurstWindow<C.Instant>, clock: C) {
        let (wake, waker) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        let shared = Shared(window)
        (self.clock, self.wake, self.shared) = (clock, wake, shared)
        task = Task {
            for await hint in base {
                shared.window.withLock { $0.record(hint, at: clock.now) }
                waker.yield()
            }
            waker.finish()
        }
    }

    deinit { task.cancel() }

    var due: C.Instant? { shared.window.withLock { $0.due } }

    func take() -> Burst? { shared.window.withLock { $0.take(at: clock.now) } }
}
