internal import VZModel

/// Single values for fields of a container, as `vzctl set` takes them, and the drop-ins that they make.
public enum FieldAssignment {
    /// One field and the drop-in that sets it.
    public struct Assignment: Equatable, Sendable {
        /// Below `spec`: `cpuunits`, `beancounters.numproc`.
        public var path: String
        /// A drop-in that says this and nothing else.
        public var dropIn: String
    }

    /// Why a value is none.
    public struct Refusal: Error, Sendable {
        public var message: String
    }

    /// The path below `spec` of a field as a manifest, or as an option of OpenVZ's vzctl, spells it: `cpuunits`, `numproc`,
    /// `stop-timeout`. `nil` when there is none.
    public static func path(of option: String) -> String? {
        guard let field = FieldTable.field(option.replacing("-", with: "_")), field.path.hasPrefix("spec."), !isGroup(field),
            !field.path.contains("[]")
        else { return nil }
        return String(field.path.dropFirst(5))
    }

    private static func isGroup(_ field: Field) -> Bool { if case .group = field.type { true } else { false } }

    /// A field set to a value.
    /// - Parameter value: as a manifest spells it; what YAML would read otherwise need not be quoted.
    public static func assign(_ value: String, to path: String, of name: String) throws(Refusal) -> Assignment {
        var first: String?
        // What is no list and no mapping is meant as it stands: 100:110 is a text, whatever YAML makes of it.
        for spelling in [value, Quoting.doubleQuoted(value)] where !spelling.isEmpty {
            guard !spelling.utf8.contains(10) else { continue }
            let groups = path.split(separator: ".")
            var text = "metadata: {name: \(name)}\nspec:\n"
            for (depth, group) in groups.enumerated() {
                text +=
                    String(repeating: "  ", count: depth + 1) + "\(group):" + (depth == groups.count - 1 ? " \(spelling)\n" : "\n")
            }
            let (parts, diagnostics) = ManifestParser.layers(Array(text.utf8), file: path, isDropIn: true)
            let errors = diagnostics.filter { $0.severity == .error }
            if errors.isEmpty, let layer = parts.first?.layer, layer.values["spec.\(path)"] != nil {
                return Assignment(path: path, dropIn: text)
            }
            first = first ?? errors.first?.message
        }
        throw Refusal(message: first ?? "expected a value of one line")
    }

    // MARK: The file that we write

    private static let header = "# Written by vzctl set, which changes it; put values of your own into another drop-in.\n"

    /// The text of our own drop-in with some fields set and others taken out; `nil` when nothing is left in it.
    /// - Parameters:
    ///   - text: of the file as it is; `nil`: there is none.
    ///   - dropIns: each sets one field.
    ///   - unset: paths of fields.
    public static func merge(
        _ text: String?, setting dropIns: [String], unsetting unset: [String] = [], of name: String
    ) throws(Refusal) -> String? {
        if let text, !text.hasPrefix(header) {
            throw Refusal(message: "expected a file that vzctl set wrote, got somebody else's: change it by hand")
        }
        var layer = Layer()
        for part in (text.map { [$0] } ?? []) + dropIns {
            let (parts, diagnostics) = ManifestParser.layers(Array(part.utf8), file: "drop-in", isDropIn: true)
            if let error = diagnostics.first(where: { $0.severity == .error }) { throw Refusal(message: "\(error)") }
            if let below = parts.first?.layer { layer.merge(below) }
        }
        for path in unset { layer.merge(Layer(deletions: [.field("spec.\(path)")])) }
        layer.values["metadata.name"] = .text(name)
        let given = Set(layer.values.keys.filter { $0.hasPrefix("spec.") })
        guard !given.isEmpty else { return nil }
        return header + ManifestWriter.yaml(layer.draft.spec, explicit: given)
    }
}
