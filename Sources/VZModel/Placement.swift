/// A set of CPUs or of NUMA nodes: given numbers, or all of them.
public enum NumberSet: Equatable, Sendable {
    case all
    /// Closed ranges, sorted, neither overlapping nor adjoining.
    case ranges([ClosedRange<Int>])

    /// The numbers that a set may hold: OpenVZ's masks have 4096 bits (`openvz.md` section 2).
    public static let range = 0...4095

    /// From a list of decimal numbers and ascending ranges, `0-3,5`, or `all`; `nil` when it is none. Numbers may come in any order
    /// and more than once.
    public init?(text: String) {
        if text == "all" {
            self = .all
            return
        }
        var given: [ClosedRange<Int>] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { Self.number($0) }
            guard (1...2).contains(ends.count), let lower = ends[0], let upper = ends[ends.count - 1], lower <= upper else {
                return nil
            }
            given.append(lower...upper)
        }
        var merged: [ClosedRange<Int>] = []
        for next in given.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = merged.last, next.lowerBound <= last.upperBound + 1 {
                merged[merged.count - 1] = last.lowerBound...max(last.upperBound, next.upperBound)
            } else {
                merged.append(next)
            }
        }
        self = .ranges(merged)
    }

    /// A decimal number of the range, without a sign or a leading zero.
    private static func number(_ text: Substring) -> Int? {
        guard (1...4).contains(text.utf8.count), text.utf8.allSatisfy({ (48...57).contains($0) }), let number = Int(text),
            range.contains(number), number == 0 ? text.utf8.count == 1 : !text.hasPrefix("0")
        else { return nil }
        return number
    }

    /// Whether every number of this set is in `other`; `all` is only in `all`.
    public func isSubset(of other: NumberSet) -> Bool {
        switch (self, other) {
        case (_, .all): true
        case (.all, _): false
        case (.ranges(let mine), .ranges(let theirs)):
            // Neither overlap nor adjoin, so that each of mine lies within one of theirs.
            mine.allSatisfy { one in theirs.contains { $0.lowerBound <= one.lowerBound && one.upperBound <= $0.upperBound } }
        }
    }

    /// OpenVZ's canonical form: `0-3,5`, or `all`.
    public var text: String {
        switch self {
        case .all: "all"
        case .ranges(let ranges):
            ranges.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }.joined(separator: ",")
        }
    }
}

/// How a container's root is kept on disk.
public enum Layout: String, Sendable, CaseIterable {
    /// A directory of the host's file system (OpenVZ: simfs).
    case dir
    /// An image with a file system of its own (OpenVZ: ploop).
    case image
}

/// A directory of the host that a container sees.
public struct MountSpec: Equatable, Sendable {
    public var source: String
    /// Absolute, inside.
    public var target: String
    /// Of `ro`, `rw`, `nosuid`, `nodev`, `noexec`, `noatime`.
    public var options: [String]

    public init(source: String, target: String, options: [String] = []) {
        self.source = source
        self.target = target
        self.options = options
    }
}

/// Capabilities beyond, or less than, the default set; names in lower case without `cap_`.
public struct CapabilityChanges: Equatable, Sendable {
    public var add: [String] = []
    public var drop: [String] = []

    public init(add: [String] = [], drop: [String] = []) {
        self.add = add
        self.drop = drop
    }
}
