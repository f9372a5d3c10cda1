internal import VZModel

/// Reads one document by the table of fields: the first mistake does not stop it.
struct DocumentReader {
    private var decoder: FieldDecoder
    private(set) var draft = Draft()
    /// Where the value of each field that is given stands.
    private(set) var places: [String: YAMLMark] = [:]

    var mistakes: [Mistake] { decoder.mistakes }

    /// - Parameter most: how many mistakes to tell of at most.
    init(_ root: YAMLNode, most: Int) {
        decoder = FieldDecoder(most: most)
        read(group: "", from: root)
        checkTogether()
    }

    /// `metadata.name` of a document that may have any mistake, as far as it can be read.
    static func name(in root: YAMLNode?) -> String? {
        guard let node = root?.value("metadata")?.value("name"), case .scalar(let text, let plain) = node.content,
            case .string(let name) = CoreScalar(text, plain: plain, tag: node.tag), TextRule.name.accepts(name)
        else { return nil }
        return name
    }

    private mutating func read(group: String, from node: YAMLNode) {
        guard let entries = decoder.entries(node, group) else { return }
        let fields = FieldTable.children[group] ?? []
        var given: Set<String> = []
        for entry in entries {
            // A file of nothing but mistakes shall not cost more time than a good one.
            if decoder.isFull { return }
            guard let field = fields.first(where: { $0.name == entry.name }) else {
                decoder.refuse(entry.key, FieldDecoder.join(group, entry.name), Self.unknown(entry.name, among: fields))
                continue
            }
            given.insert(field.name)
            places[field.path] = entry.value.mark
            if case .group = field.type {
                read(group: field.path, from: entry.value)
            } else if let value = decoder.decode(entry.value, as: field.type, field.path) {
                field.put(&draft, value)
            }
        }
        for field in fields where field.required && !given.contains(field.name) {
            decoder.refuse(node.mark, field.path, "must be given; expected \(field.type.expectation)")
        }
    }

    private static func unknown(_ name: String, among fields: [Field]) -> String {
        if let near = NearestName.of(name, among: fields.map(\.name)) { return "unknown field; did you mean \(near)?" }
        if let other = FieldTable.elsewhere(named: name) { return "unknown field; did you mean \(other.path)?" }
        return "unknown field; expected one of \(fields.map(\.name).joined(separator: ", "))"
    }

    /// The rules over more than one field.
    private mutating func checkTogether() {
        if let swap = places["spec.swap"], places["spec.ram"] == nil {
            decoder.refuse(swap, "spec.swap", "swap is only limited beside ram; expected spec.ram to be given too")
        }
    }
}
