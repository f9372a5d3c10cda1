/// The name that somebody most likely meant.
enum NearestName {
    /// The one of `candidates` that differs least from `name`, letters' case aside; `nil` when none is near.
    static func of(_ name: String, among candidates: [String]) -> String? {
        guard (1...64).contains(name.utf8.count) else { return nil }
        let wanted = Array(name.lowercased().utf8)
        let allowed = max(1, wanted.count / 3)
        let near = candidates.map { (name: $0, distance: distance(wanted, Array($0.lowercased().utf8))) }
            .filter { $0.distance <= allowed && $0.distance < wanted.count }
        return near.min { ($0.distance, $0.name) < ($1.distance, $1.name) }?.name
    }

    /// How many bytes must be put in, taken out, exchanged, or swapped with their neighbour.
    private static func distance(_ a: [UInt8], _ b: [UInt8]) -> Int {
        var beforeLast: [Int] = []
        var last = Array(0...b.count)
        for i in 0..<a.count {
            var row = [i + 1]
            for j in 0..<b.count {
                var cost = min(last[j] + (a[i] == b[j] ? 0 : 1), last[j + 1] + 1, row[j] + 1)
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { cost = min(cost, beforeLast[j - 1] + 1) }
                row.append(cost)
            }
            (beforeLast, last) = (last, row)
        }
        return last[b.count]
    }
}
