internal import VZModel

/// Reads one document by the table of fields: the first mistake does not stop it.
struct DocumentReader {
    private var decoder: FieldDecoder
    private(set) var kind: ManifestKind?
    private(set) var values: [String: FieldValue] = [:]
    /// Where the value of each field that is given stands.
    private(set) var places: [String: YAMLMark] = [:]
    private let isPatch: Bool

    var mistakes: [Mistake] { decoder.mistakes }
    var deletions: [Layer.Deletion] { decoder.deletions }
    var entryMarks: [(path: String, mark: YAMLMark)] { decoder.entryMarks }

    /// - Parameters:
    ///   - most: how many mistakes to tell of at most.
    ///   - patched: of a drop-in, the kind of the document that it is merged into.
    init(_ root: YAMLNode, most: Int, patching patched: ManifestKind? = nil) {
        isPatch = patched != nil
        decoder = FieldDecoder(most: most, isPatch: isPatch)
        kind = patched ?? Self.kind(of: root)
        // Growing them step by step costs as much as all the rest of a small document.
        values.reserveCapacity(48)
        places.reserveCapacity(64)
        read(group: "", from: root)
    }

    /// `metadata.name` of a document that may have any mistake, as far as it can be read.
    static func name(in root: YAMLNode?) -> String? {
        guard let node = root?.value("metadata")?.value("name"), case .scalar(let text, let plain) = node.content,
            case .string(let name) = CoreScalar(text, plain: plain, tag: node.tag), TextRule.name.accepts(name)
        else { return nil }
        return name
    }

    /// `kind` of a document that may have any mistake; `nil` when it is none that is known.
    static func kind(of root: YAMLNode?) -> ManifestKind? {
        guard let node = root?.value("kind"), case .scalar(let text, _) = node.content else { return nil }
        return ManifestKind(rawValue: text)
    }

    /// The value of one field; `nil` when it has a mistake.
    static func value(of field: Field, in node: YAMLNode, isPatch: Bool) -> FieldValue? {
        var reader = DocumentReader(most: 1, isPatch: isPatch)
        let value: FieldValue?
        if case .records = field.type {
            value = reader.records(node, field).map { .records($0) }
        } else {
            value = reader.decoder.decode(node, as: field.type, field.path)
        }
        return reader.mistakes.isEmpty ? value : nil
    }

    private init(most: Int, isPatch: Bool) {
        self.isPatch = isPatch
        decoder = FieldDecoder(most: most, isPatch: isPatch)
    }

    private mutating func read(group: String, from node: YAMLNode) {
        guard let entries = decoder.entries(node, group) else { return }
        let known = FieldTable.childrenByName[group] ?? [:]
        for entry in entries {
            // A file of nothing but mistakes shall not cost more time than a good one.
            if decoder.isFull { return }
            guard let field = known[entry.name] else {
                let path = FieldDecoder.join(group, entry.name)
                decoder.refuse(entry.key, path, Self.unknown(entry.name, among: fields(of: group)))
                continue
            }
            if let kind, !field.kinds.contains(kind) {
                decoder.refuse(entry.key, field.path, Self.misplaced(field, in: kind))
                continue
            }
            places[field.path] = entry.value.mark
            if decoder.deletes(entry.value) {
                delete(field, entry.value.mark)
            } else if case .group = field.type {
                read(group: field.path, from: entry.value)
            } else if case .records = field.type {
                values[field.path] = records(entry.value, field).map { .records($0) }
            } else if let value = decoder.decode(entry.value, as: field.type, field.path) {
                values[field.path] = value
            }
        }
        if isPatch { return }
        for field in FieldTable.requiredChildren[group] ?? [] where !entries.contains(where: { $0.name == field.name }) {
            if let kind, !field.kinds.contains(kind) || field.optionalIn.contains(kind) { continue }
            decoder.refuse(node.mark, field.path, "must be given; expected \(field.type.expectation)")
        }
    }

    /// The fields of a group that a document of this kind may have.
    private func fields(of group: String) -> [Field] {
        (FieldTable.children[group] ?? []).filter { field in kind.map { field.kinds.contains($0) } ?? true }
    }

    private mutating func delete(_ field: Field, _ mark: YAMLMark) {
        places[field.path] = nil
        guard field.path.hasPrefix("spec.") || field.path == "metadata.labels" else {
            decoder.refuse(mark, field.path, "cannot be deleted; expected \(field.type.expectation)")
            return
        }
        decoder.deletions.append(.field(field.path))
    }

    private static func misplaced(_ field: Field, in kind: ManifestKind) -> String {
        switch (field.path, kind) {
        case ("spec.profile", .profile): "a profile does not start from another one; expected it to say everything itself"
        case ("metadata.name", .defaults): "kind Defaults has no name: it holds for every container of the node"
        default:
            "not in kind \(kind.rawValue), only in \(ManifestKind.allCases.filter(field.kinds.contains).map(\.rawValue).joined(separator: ", "))"
        }
    }

    private static func unknown(_ name: String, among fields: [Field]) -> String {
        if let near = NearestName.of(name, among: fields.map(\.name)) { return "unknown field; did you mean \(near)?" }
        if let other = FieldTable.elsewhere(named: name) { return "unknown field; did you mean \(other.path)?" }
        if fields.count > 12 { return "unknown field; vzctl explain lists all that there are" }
        return "unknown field; expected one of \(fields.map(\.name).joined(separator: ", "))"
    }

    // MARK: Lists of mappings

    private mutating func records(_ node: YAMLNode, _ field: Field) -> [[String: FieldValue]]? {
        guard case .sequence(let items) = node.content, FieldDecoder.hasTag(node, of: "seq") else {
            decoder.refuse(node.mark, field.path, "expected \(field.type.expectation), got \(FieldDecoder.shown(node))")
            return nil
        }
        let before = decoder.mistakes.count
        let fields = FieldTable.children["\(field.path)[]"] ?? []
        var records: [[String: FieldValue]] = []
        var first: [FieldValue: YAMLMark] = [:]
        for (index, item) in items.enumerated() {
            if decoder.isFull { return nil }
            let path = "\(field.path)[\(index)]"
            let record = record(item, path, fields)
            // What an interface is called and where a directory is mounted is one thing's own.
            if let key = record[field.path == "spec.mounts" ? "target" : "name"] {
                if let earlier = first[key] {
                    decoder.refuse(
                        item.mark, path,
                        "the same \(field.path == "spec.mounts" ? "target" : "name") is at \(earlier.line):\(earlier.column)")
                }
                first[key] = item.mark
            }
            records.append(record)
        }
        return decoder.mistakes.count == before ? records : nil
    }

    private mutating func record(_ node: YAMLNode, _ path: String, _ fields: [Field]) -> [String: FieldValue] {
        var record: [String: FieldValue] = [:]
        guard let entries = decoder.entries(node, path) else { return record }
        for entry in entries {
            guard let field = fields.first(where: { $0.name == entry.name }) else {
                decoder.refuse(entry.key, FieldDecoder.join(path, entry.name), Self.unknown(entry.name, among: fields))
                continue
            }
            record[entry.name] = decoder.decode(entry.value, as: field.type, "\(path).\(field.name)")
        }
        for field in fields where field.required && !entries.contains(where: { $0.name == field.name }) {
            decoder.refuse(node.mark, "\(path).\(field.name)", "must be given; expected \(field.type.expectation)")
        }
        return record
    }
}
