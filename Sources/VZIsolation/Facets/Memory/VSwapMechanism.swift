public import VZKernel

/// By what a container that is over its `ram` becomes slow on this host (`openvz.md` section 3.2). A pure decision from what was seen.
public enum VSwapMechanism: Equatable, Sendable {
    /// Compressed RAM that vzd made, filled before every other area.
    case zram
    /// The same, but for these areas, which the kernel fills before or beside it.
    case outranked(by: [String])
    /// Compressed RAM that somebody else made.
    case foreignZRAM
    /// Nothing yet: vzd makes it when a manifest asks for swap.
    case onDemand
    /// Swap on a disk with compressed RAM before it, from which the kernel writes to the disk as it likes.
    case zswap
    /// Swap on a disk alone.
    case disk
    /// No swap space, and none to be had.
    case none

    /// What the decision rests on.
    public struct Facts: Equatable, Sendable {
        /// The swap areas in use.
        public var areas: [SwapArea]
        /// Those of them that vzd made.
        public var ours: Set<String>
        /// Whether zswap is on.
        public var zswap: Bool
        /// Whether zram devices can be made.
        public var canMakeZRAM: Bool

        public init(areas: [SwapArea], ours: Set<String>, zswap: Bool, canMakeZRAM: Bool) {
            self.areas = areas
            self.ours = ours
            self.zswap = zswap
            self.canMakeZRAM = canMakeZRAM
        }
    }

    public init(_ facts: Facts) {
        let ours = facts.areas.filter { facts.ours.contains($0.path) }
        if let lowest = ours.map(\.priority).min() {
            let before = facts.areas.filter { $0.zram == nil && $0.priority >= lowest }
            self = before.isEmpty ? .zram : .outranked(by: before.map(\.path))
        } else if facts.areas.contains(where: { $0.zram != nil }) {
            self = .foreignZRAM
        } else if facts.canMakeZRAM {
            self = .onDemand
        } else if facts.areas.isEmpty {
            self = .none
        } else {
            self = facts.zswap ? .zswap : .disk
        }
    }

    /// The one of this host, for the node whose swap areas these are.
    public static func ofThisHost(_ vswap: VSwap) -> VSwapMechanism { VSwapMechanism(vswap.facts()) }

    /// What there is, in a few words.
    public var description: String {
        switch self {
        case .zram: "swap in compressed RAM (zram), made by vzd"
        case .outranked(let areas): "swap in compressed RAM (zram), made by vzd, behind or beside \(areas.joined(separator: ", "))"
        case .foreignZRAM: "swap in compressed RAM (zram), made by somebody else"
        case .onDemand: "none now; vzd makes swap in compressed RAM (zram) when a manifest asks for swap and the host has memory"
        case .zswap: "swap on a disk behind zswap"
        case .disk: "swap on a disk"
        case .none: "no swap space"
        }
    }

    /// What follows for a container that is over its `ram`.
    public var consequence: String {
        switch self {
        case .zram, .onDemand:
            "above ram a container is slowed and no disk is written, as long as the sum of all swap is at most the host's RAM; while "
                + "the host is short of memory vzd moves it to swap on a disk, where there is some"
        case .outranked, .disk: "above ram a container is slowed by writing to the disk, also while the host has free memory"
        case .foreignZRAM:
            "above ram a container is slowed and no disk is written, as long as that area holds the sum of all swap; vzd adds what lacks"
        case .zswap:
            "above ram a container is slowed; the kernel writes what cannot be compressed to the disk, also while the host has free "
                + "memory, and the rest when zswap's pool is full"
        case .none: "above ram the container is killed, not slowed"
        }
    }

    /// What to do about it; `nil` when nothing is wrong.
    public var mend: String? {
        switch self {
        case .zram, .foreignZRAM, .onDemand: nil
        case .outranked(let areas):
            "give \(areas.joined(separator: ", ")) a priority below \(VSwap.priority): swapoff, then swapon -p"
        case .zswap, .disk, .none: "boot a kernel with zram (CONFIG_ZRAM), or install its module"
        }
    }

    /// Why a manifest cannot have swap here; `nil` when it can.
    var refusal: String? { self == .none ? "\(description): \(consequence); \(mend ?? "")" : nil }
}
