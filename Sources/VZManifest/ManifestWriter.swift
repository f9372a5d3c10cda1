public import VZModel

/// A container's spec as the text of a manifest.
public enum ManifestWriter {
    /// The canonical manifest of a spec: the fields in the table's order, without those that have their default.
    ///
    /// `ManifestParser` reads it back as an equal spec, when the values lie in the ranges that `ContainerSpec` tells, sizes are whole
    /// pages and lists that are sets hold nothing twice. Of a profile or of the defaults, what such a document does not have (a ctid,
    /// of the defaults also the name) is left out.
    /// - Parameters:
    ///   - profile: the profile that the document names; only what it says beside that is in `spec`.
    ///   - explicit: paths of fields that are written although they have their default: a node's defaults may say otherwise.
    public static func yaml(
        kind: ManifestKind = .container, _ spec: ContainerSpec, profile: String? = nil, explicit: Set<String> = []
    ) -> String {
        let draft = Draft(kind: kind, spec: spec, profile: profile)
        let defaults = Draft()
        var lines: [String] = []
        append(group: "", indent: "", from: draft, defaults: defaults, explicit: explicit, to: &lines)
        return lines.joined(separator: "\n") + "\n"
    }

    /// Every value of a spec, those by default included, as `PATH: VALUE`, in the table's order; a field that says nothing is left out.
    /// - Returns: path below `spec`, value as a manifest spells it, and whether it is the default.
    public static func values(_ spec: ContainerSpec) -> [(path: String, value: String, isDefault: Bool)] {
        let draft = Draft(spec: spec)
        let defaults = Draft()
        return FieldTable.all.flatMap { field -> [(path: String, value: String, isDefault: Bool)] in
            guard field.path.hasPrefix("spec."), !field.path.contains("[]"), let value = field.get(draft) else { return [] }
            let isDefault = value == field.get(defaults)
            guard case .map(let map) = value, !map.isEmpty else {
                return [(field.path, YAMLText.flow(value, of: field), isDefault)]
            }
            return map.sorted { $0.key < $1.key }.map { ("\(field.path).\($0.key)", YAMLText.scalar($0.value), isDefault) }
        }
    }

    private static func append(
        group: String, indent: String, from draft: Draft, defaults: Draft, explicit: Set<String>, to lines: inout [String]
    ) {
        for field in FieldTable.children[group] ?? [] where field.kinds.contains(draft.kind) {
            if case .group = field.type {
                var inner: [String] = []
                append(group: field.path, indent: indent + "  ", from: draft, defaults: defaults, explicit: explicit, to: &inner)
                if !inner.isEmpty {
                    lines += ["\(indent)\(field.name):"] + inner
                } else if field.required, !field.optionalIn.contains(draft.kind) {
                    lines.append("\(indent)\(field.name): {}")
                }
            } else if let value = field.get(draft),
                explicit.contains(field.path) || isWritten(field, value, in: draft, defaults)
            {
                append(field, value, indent: indent, to: &lines)
            }
        }
    }

    private static func isWritten(_ field: Field, _ value: FieldValue, in draft: Draft, _ defaults: Draft) -> Bool {
        // Nodes are only chosen beside CPUs, if it is all of them.
        if field.path == "spec.cpumask", draft.spec.nodemask != defaults.spec.nodemask { return true }
        return field.required || value != field.get(defaults)
    }

    private static func append(_ field: Field, _ value: FieldValue, indent: String, to lines: inout [String]) {
        if case .map(let map) = value {
            lines.append("\(indent)\(field.name):")
            lines += YAMLText.pairs(map).map { "\(indent)  \($0): \($1)" }
        } else {
            lines.append("\(indent)\(field.name): \(YAMLText.flow(value, of: field))")
        }
    }
}
