public import VZModel

/// A container's spec as the text of a manifest.
public enum ManifestWriter {
    /// The canonical manifest of a spec: the fields in the table's order, without those that have their default.
    ///
    /// `ManifestParser` reads it back as an equal spec, when the values lie in the ranges that `ContainerSpec` tells and sizes are
    /// whole pages.
    public static func yaml(_ spec: ContainerSpec) -> String {
        let draft = Draft(spec: spec)
        let defaults = Draft()
        var lines: [String] = []
        append(group: "", indent: "", from: draft, defaults: defaults, to: &lines)
        return lines.joined(separator: "\n") + "\n"
    }

    private static func append(group: String, indent: String, from draft: Draft, defaults: Draft, to lines: inout [String]) {
        for field in FieldTable.children[group] ?? [] {
            if case .group = field.type {
                var inner: [String] = []
                append(group: field.path, indent: indent + "  ", from: draft, defaults: defaults, to: &inner)
                if !inner.isEmpty {
                    lines += ["\(indent)\(field.name):"] + inner
                } else if field.required {
                    lines.append("\(indent)\(field.name): {}")
                }
            } else if let value = field.get(draft), field.required || value != field.get(defaults) {
                append(field.name, value, indent: indent, to: &lines)
            }
        }
    }

    private static func append(_ name: String, _ value: FieldValue, indent: String, to lines: inout [String]) {
        if case .map(let map) = value {
            lines.append("\(indent)\(name):")
            lines += YAMLText.pairs(map).map { "\(indent)  \($0): \($1)" }
        } else {
            lines.append("\(indent)\(name): \(YAMLText.flow(value))")
        }
    }
}
