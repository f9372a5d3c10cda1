import Synchronization
import Testing

@testable import VZReconciler

@Suite(.timeLimit(.minutes(1)))
struct SettledTests {
    private let clock = ManualClock()
    private let feed = Feed()

    private func settled() -> Settled<ManualClock> {
        feed.hints.settled(quiet: .milliseconds(100), atMost: .seconds(1), clock: clock)
    }

    private func next(_ settled: Settled<ManualClock>) -> Task<Burst?, Never> {
        Task {
            var iterator = settled.makeAsyncIterator()
            return await iterator.next()
        }
    }

    private static func hint(_ number: Int) -> Hint { .change(file: "/etc/vz.d/\(number).yaml") }

    @Test func aHintIsGivenAfterTheQuiet() async {
        let settled = settled()
        await feed.send(Self.hint(1))
        let burst = next(settled)
        await clock.untilSomebodySleeps(until: .milliseconds(100))
        clock.advance(to: .milliseconds(100))
        #expect(await burst.value == Burst(count: 1, latest: Self.hint(1)))
    }

    @Test func everyHintProlongsIt() async {
        let settled = settled()
        let burst = next(settled)
        await feed.send(Self.hint(1))
        await clock.untilSomebodySleeps(until: .milliseconds(100))
        clock.advance(to: .milliseconds(60))
        await feed.send(Self.hint(2))
        clock.advance(to: .milliseconds(100))
        // Nothing was given at 100 ms: it sleeps on.
        await clock.untilSomebodySleeps(until: .milliseconds(160))
        clock.advance(to: .milliseconds(160))
        #expect(await burst.value == Burst(count: 2, latest: Self.hint(2)))
    }

    @Test func neverLongerThanTheMost() async {
        let settled = settled()
        let burst = next(settled)
        for number in 0...11 {
            clock.advance(to: .milliseconds(90 * number))
            await feed.send(Self.hint(number))
        }
        clock.advance(to: .seconds(1))
        #expect(await burst.value == Burst(count: 12, latest: Self.hint(11)))
    }

    @Test func whatIsMoreThanAChangeIsKept() async {
        let settled = settled()
        for hint in [Hint.started, Self.hint(1), .overflow, .rearmed("/etc/vz.d"), .overflow, Self.hint(2)] {
            await feed.send(hint)
        }
        let burst = next(settled)
        await clock.untilSomebodySleeps(until: .milliseconds(100))
        clock.advance(to: .milliseconds(100))
        #expect(await burst.value == Burst(count: 6, latest: Self.hint(2), notable: [.overflow, .rearmed("/etc/vz.d")]))
    }

    @Test func whatComesWhileTheConsumerIsBusyIsOneBurst() async {
        let settled = settled()
        for number in 1...1000 { await feed.send(Self.hint(number)) }
        clock.advance(to: .milliseconds(100))
        #expect(await next(settled).value == Burst(count: 1000, latest: Self.hint(1000)))
        // And nothing is left of it.
        let following = next(settled)
        await feed.send(Self.hint(0))
        await clock.untilSomebodySleeps(until: .milliseconds(200))
        clock.advance(to: .milliseconds(200))
        #expect(await following.value == Burst(count: 1, latest: Self.hint(0)))
    }

    @Test func endsWithItsBase() async {
        let settled = settled()
        await feed.send(Self.hint(1))
        await feed.finish()
        clock.advance(to: .milliseconds(100))
        var bursts: [Burst] = []
        for await burst in settled { bursts.append(burst) }
        #expect(bursts == [Burst(count: 1, latest: Self.hint(1))])
    }

    @Test func endsWhenCancelled() async {
        let settled = settled()
        let waiting = next(settled)
        waiting.cancel()
        #expect(await waiting.value == nil)

        let other = SettledTests()
        let sleeping = other.settled()
        let burst = other.next(sleeping)
        await other.feed.send(Self.hint(1))
        await other.clock.untilSomebodySleeps(until: .milliseconds(100))
        burst.cancel()
        #expect(await burst.value == nil)
    }

    @Test func looksComeFromHintsAndFromTheTimer() async {
        let looks = feed.hints.looks(every: .seconds(30), clock: clock)
        let (seen, continuation) = AsyncStream<Look>.makeStream()
        let task = Task { for await look in looks { continuation.yield(look) } }
        var iterator = seen.makeAsyncIterator()
        await clock.untilSomebodySleeps(until: .seconds(30))
        await feed.send(Self.hint(1))
        await clock.untilSomebodySleeps(until: .milliseconds(100))
        clock.advance(to: .milliseconds(100))
        #expect(await iterator.next() == .hints(Burst(count: 1, latest: Self.hint(1))))
        clock.advance(to: .seconds(30))
        #expect(await iterator.next() == .timer)
        await clock.untilSomebodySleeps(until: .seconds(60))
        clock.advance(to: .seconds(60))
        #expect(await iterator.next() == .timer)
        task.cancel()
        await task.value
        await feed.finish()
    }

    /// Against the real clock: a burst of hints is one look, soon.
    @Test func withTheRealClock() async throws {
        let (hints, continuation) = AsyncStream<Hint>.makeStream()
        let settled = hints.settled(quiet: .milliseconds(20))
        for number in 1...100 { continuation.yield(Self.hint(number)) }
        let burst = try await within { () -> Burst? in
            var iterator = settled.makeAsyncIterator()
            return await iterator.next()
        }
        #expect(burst == Burst(count: 100, latest: Self.hint(100)))
    }
}

/// A source of hints whose `send` returns when the hint was taken and dealt with: when the next one is asked for.
private actor Feed {
    nonisolated let hints: AsyncStream<Hint>
    private let asked: AsyncStream<Void>
    private let given: AsyncStream<Hint?>.Continuation
    private var first = true

    init() {
        let (asked, ask) = AsyncStream<Void>.makeStream()
        let (gifts, given) = AsyncStream<Hint?>.makeStream()
        (self.asked, self.given) = (asked, given)
        hints = AsyncStream {
            ask.yield()
            var iterator = gifts.makeAsyncIterator()
            return await iterator.next() ?? nil
        }
    }

    private func untilAsked() async {
        var iterator = asked.makeAsyncIterator()
        _ = await iterator.next()
    }

    func send(_ hint: Hint) async {
        if first { await untilAsked() }
        first = false
        given.yield(hint)
        await untilAsked()
    }

    func finish() { given.yield(nil) }
}

/// A clock that stands still until it is moved.
final class ManualClock: Clock {
    struct Instant: InstantProtocol {
        var offset: Duration
        func advanced(by duration: Duration) -> Instant { Instant(offset: offset + duration) }
        func duration(to other: Instant) -> Duration { other.offset - offset }
        static func < (a: Instant, b: Instant) -> Bool { a.offset < b.offset }
    }

    private struct State {
        var now = Instant(offset: .zero)
        var number = 0
        var sleepers: [Int: (deadline: Instant, continuation: CheckedContinuation<Void, any Error>)] = [:]
        var cancelled: Set<Int> = []
        var observers: [(matches: @Sendable (Duration) -> Bool, continuation: CheckedContinuation<Void, Never>)] = []
    }
    private let state = Mutex(State())

    var now: Instant { state.withLock { $0.now } }
    var minimumResolution: Duration { .nanoseconds(1) }

    func sleep(until deadline: Instant, tolerance: Duration?) async throws {
        let number = state.withLock { state in
            state.number += 1
            return state.number
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                let ready: [CheckedContinuation<Void, Never>] = state.withLock { state in
                    if state.cancelled.contains(number) {
                        continuation.resume(throwing: CancellationError())
                    } else if deadline <= state.now {
                        continuation.resume()
                    } else {
                        state.sleepers[number] = (deadline, continuation)
                    }
                    let ready = state.observers.filter { $0.matches(deadline.offset) }
                    state.observers.removeAll { $0.matches(deadline.offset) }
                    return ready.map(\.continuation)
                }
                for observer in ready { observer.resume() }
            }
        } onCancel: {
            let sleeper = state.withLock { state in
                state.cancelled.insert(number)
                return state.sleepers.removeValue(forKey: number)
            }
            sleeper?.continuation.resume(throwing: CancellationError())
        }
    }

    func advance(to offset: Duration) {
        let due = state.withLock { state in
            state.now = max(state.now, Instant(offset: offset))
            let due = state.sleepers.filter { $0.value.deadline <= state.now }
            for number in due.keys { state.sleepers[number] = nil }
            return due
        }
        for sleeper in due.values { sleeper.continuation.resume() }
    }

    /// Returns when somebody sleeps until that very moment.
    func untilSomebodySleeps(until offset: Duration) async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let already = state.withLock { state in
                if state.sleepers.values.contains(where: { $0.deadline.offset == offset }) { return true }
                state.observers.append(({ $0 == offset }, continuation))
                return false
            }
            if already { continuation.resume() }
        }
    }
}
