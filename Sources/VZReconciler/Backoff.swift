/// How long to wait before the next try of something that failed: 1 s, doubled each time, 5 minutes at most, with jitter so that many
/// failures of one cause do not come back together.
struct Backoff: Sendable {
    private(set) var failures = 0
    private(set) var notBefore: ContinuousClock.Instant?

    static let first = Duration.seconds(1)
    static let longest = Duration.seconds(300)

    /// Notes a failure and answers how long to wait now.
    mutating func fail(now: ContinuousClock.Instant = .now, jitter: Double = .random(in: 0.9...1.1)) -> Duration {
        let doubled = Self.first * (1 << min(failures, 16))
        let wait = min(doubled, Self.longest) * jitter
        failures += 1
        notBefore = now + wait
        return wait
    }

    /// What is still to be waited; `nil` when it may be tried.
    func remaining(now: ContinuousClock.Instant = .now) -> Duration? {
        guard let notBefore, notBefore > now else { return nil }
        return notBefore - now
    }

    mutating func reset() { self = Backoff() }
}
