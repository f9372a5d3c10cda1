internal import AsyncAlgorithms

/// Why it is time to look again.
public enum Look: Equatable, Sendable, CustomStringConvertible {
    case hints(Burst)
    /// The period is over: for whatever gave no hint.
    case timer

    public var description: String {
        switch self {
        case .hints(let burst) where burst.count == 1: "\(burst.latest)"
        case .hints(let burst): "\(burst.latest) (and \(burst.count - 1) more)"
        case .timer: "timer"
        }
    }
}

extension AsyncSequence where Element == Hint, Failure == Never, Self: Sendable {
    /// The times at which to look: after each settled burst of hints, and every `period` whatever happens.
    ///
    /// Runs until its task is cancelled; the timer goes on when the hints have ended.
    public func looks<C: Clock<Duration>>(
        every period: Duration = .seconds(30), quiet: Duration = .milliseconds(100), atMost: Duration = .seconds(1),
        clock: C = ContinuousClock()
    ) -> some AsyncSequence<Look, Never> & Sendable {
        merge(
            settled(quiet: quiet, atMost: atMost, clock: clock).map { Look.hints($0) },
            AsyncTimerSequence(interval: period, clock: clock).map { _ in Look.timer })
    }
}
