/// A user beancounter, by OpenVZ's own name, in the order of its table (`openvz.md` section 1.2).
public enum Beancounter: String, Hashable, Sendable, CaseIterable {
    case kmemsize, lockedpages, privvmpages, shmpages, numproc, physpages, vmguarpages, oomguarpages, numtcpsock, numflock, numpty
    case numsiginfo, tcpsndbuf, tcprcvbuf, othersockbuf, dgramrcvbuf, numothersock, dcachesize, numfile, numiptent, swappages

    /// What a beancounter counts.
    public enum Unit: String, Sendable {
        case items, pages, bytes
    }

    /// How its two bounds relate (`openvz.md` sections 1.2 and 1.6).
    public enum Shape: Sendable {
        /// The barrier equals the limit.
        case equal
        /// The barrier is at most the limit.
        case ordered
        /// Only the barrier counts, as a guarantee; the limit is unlimited.
        case guarantee
        /// Only the limit counts; the barrier is 0.
        case limitOnly
    }

    public var unit: Unit {
        switch self {
        case .numproc, .numtcpsock, .numothersock, .numfile, .numflock, .numpty, .numsiginfo, .numiptent: .items
        case .lockedpages, .privvmpages, .shmpages, .physpages, .vmguarpages, .oomguarpages, .swappages: .pages
        case .kmemsize, .tcpsndbuf, .tcprcvbuf, .othersockbuf, .dgramrcvbuf, .dcachesize: .bytes
        }
    }

    public var shape: Shape {
        switch self {
        case .numproc, .numtcpsock, .numothersock, .shmpages, .numfile, .numpty, .numsiginfo, .numiptent: .equal
        case .vmguarpages, .oomguarpages: .guarantee
        case .physpages, .swappages: .limitOnly
        case .kmemsize, .lockedpages, .privvmpages, .numflock, .tcpsndbuf, .tcprcvbuf, .othersockbuf, .dgramrcvbuf, .dcachesize:
            .ordered
        }
    }
}

/// Two bounds of one thing: a beancounter's barrier and limit, or a disk quota's soft and hard limit.
public struct BarrierLimit: Equatable, Hashable, Sendable {
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
