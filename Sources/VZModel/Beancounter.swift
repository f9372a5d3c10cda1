/// A user beancounter, by OpenVZ's own name (`openvz.md` section 1.2).
public enum Beancounter: String, Hashable, Sendable, Codable, CodingKeyRepresentable, CaseIterable {
    /// Tasks: processes and threads; unit: items; the barrier is enforced and equals the limit.
    case numproc
}

/// A beancounter's two bounds, in the unit of that beancounter.
public struct BarrierLimit: Equatable, Sendable, Codable {
    public var barrier: Int64
    public var limit: Int64
    /// OpenVZ's `LONG_MAX`: no bound.
    public static let unlimited = Int64.max

    public init(barrier: Int64, limit: Int64) {
        self.barrier = barrier
        self.limit = limit
    }

    /// Both bounds alike, as OpenVZ reads a single number.
    public init(both value: Int64) { self.init(barrier: value, limit: value) }
}
