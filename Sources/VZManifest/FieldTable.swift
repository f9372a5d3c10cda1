internal import VZModel

/// Every field that a manifest can have: the one place that says so.
public enum FieldTable {
    /// In the order in which a manifest is written.
    public static let all: [Field] =
        envelope + identity + processes + cpu + io + memory + disk + beancounters + network + inside + lifecycle

    /// The field at a path. Where that is clear, the groups may be left out: `cpuunits`, `numproc`. `nil` when there is none.
    public static func field(_ path: String) -> Field? {
        if let field = byPath[path] ?? byPath["spec.\(path)"] { return field }
        let named = all.filter { $0.name == path }
        return named.count == 1 ? named[0] : nil
    }

    /// The path of the field that somebody most likely meant by one that does not exist; `nil` when none is near.
    public static func suggestion(for path: String) -> String? {
        NearestName.of(
            path, among: all.flatMap { $0.path.hasPrefix("spec.") ? [$0.path, String($0.path.dropFirst(5))] : [$0.path] })
            ?? elsewhere(named: path)?.path
    }

    static let byPath = Dictionary(all.map { ($0.path, $0) }) { first, _ in first }
    /// By the path of the group that they stand in.
    static let children = Dictionary(grouping: all, by: \.parent)
    /// The same by name.
    static let childrenByName = children.mapValues { fields in Dictionary(fields.map { ($0.name, $0) }) { first, _ in first } }

    static let requiredChildren = children.mapValues { $0.filter(\.required) }

    /// A field of this name in another group, or of this name in OpenVZ's files.
    static func elsewhere(named name: String) -> Field? {
        all.first { $0.name == name.lowercased() } ?? all.first { $0.openVZKey == name.uppercased() }
    }
}
