/// One node of a YAML document: its place, its tag, and its text or children. Aliases are resolved.
struct YAMLNode {
    indirect enum Content {
        /// Text as it stands between the quotation marks, and whether it stood there plain.
        case scalar(String, plain: Bool)
        case sequence([YAMLNode])
        case mapping([(key: YAMLNode, value: YAMLNode)])
    }

    var content: Content
    var mark: YAMLMark
    var tag: String?
    /// What this node costs whoever walks it: itself and everything below, each alias counted as what it stands for.
    var cost: Cost

    struct Cost {
        var nodes = 1
        /// Aliases that are expanded on the way.
        var expansions = 0
        /// Bytes of text.
        var text = 0

        static func += (total: inout Self, part: Self) {
            total.nodes += part.nodes
            total.expansions += part.expansions
            total.text += part.text
        }
    }

    /// The value of the first entry of this name; `nil` when there is none or this is no mapping.
    func value(_ key: String) -> YAMLNode? {
        guard case .mapping(let entries) = content else { return nil }
        for entry in entries {
            if case .scalar(let text, _) = entry.key.content, text == key { return entry.value }
        }
        return nil
    }
}

/// One document of a stream. With a fault, `root` holds what stands before it.
struct YAMLDocument {
    var mark: YAMLMark
    var root: YAMLNode?
    var fault: YAMLFault?
}

/// Bounds on the input, so that no file costs more than a moment.
enum InputBounds {
    static let bytes = 1 << 20
    static let depth = 64
    static let documents = 1000
    static let expansions = 10_000
    static let nodes = 200_000
    /// Bytes of text when aliases are expanded.
    static let text = 2 << 20
    /// Not a bound on the file but on what is told about it.
    static let mistakes = 1000
}
