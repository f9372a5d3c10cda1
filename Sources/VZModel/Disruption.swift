/// How much a change of a field disturbs what runs, least first.
public enum Disruption: String, Sendable, Codable, Comparable, CaseIterable {
    /// At once; nothing is restarted.
    case live
    /// At the next start of the container.
    case restart
    /// With a new root or a new container only.
    case recreate

    public static func < (a: Self, b: Self) -> Bool {
        (allCases.firstIndex(of: a) ?? 0) < (allCases.firstIndex(of: b) ?? 0)
    }
}
