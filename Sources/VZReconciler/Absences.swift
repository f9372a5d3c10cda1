/// Since when things are gone that were there, so that one that is only being replaced is not taken for removed.
///
/// Editors and git take a file away before they put the new one in its place, git removes all files that go before it writes any that
/// come, and `rm -r` takes away the files before the directory. What is gone counts as removed when it stays so for `patience` in which
/// nothing else changes either, and after `most` in any case. Pure; the caller tells the time.
struct Absences<Key: Hashable & Sendable>: Sendable {
    /// While nothing else changes.
    let patience: Duration
    private let most = Duration.seconds(30)
    private var since: [Key: ContinuousClock.Instant] = [:]
    private var generation = ""
    private var changed: ContinuousClock.Instant?

    /// - Parameter patience: zero believes everything at once.
    init(patience: Duration) { self.patience = patience }

    /// Notes what is gone by now.
    /// - Parameters:
    ///   - missing: all that was there and is not.
    ///   - generation: of all manifests; another one means that something changed.
    /// - Returns: what of it does not count as removed yet.
    mutating func recent(among missing: Set<Key>, generation: String, at now: ContinuousClock.Instant) -> Set<Key> {
        guard patience > .zero else { return [] }
        if generation != self.generation { (self.generation, changed) = (generation, now) }
        guard !missing.isEmpty || !since.isEmpty else { return [] }
        since = since.filter { missing.contains($0.key) }
        for key in missing where since[key] == nil { since[key] = now }
        return missing.filter { due($0).map { $0 > now } ?? false }
    }

    /// When the next one counts as removed that does not yet; `nil` when there is none.
    func nextDue(at now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        since.keys.compactMap(due).filter { $0 > now }.min()
    }

    private func due(_ key: Key) -> ContinuousClock.Instant? {
        guard let since = since[key] else { return nil }
        return max(since, min(changed ?? since, since + most)) + patience
    }
}
