internal import VZModel

/// Writes one document in canonical form, and takes the comments along.
struct FormatWriter {
    var comments: SourceComments
    /// Whether it is a drop-in, where nothing stands for what is deleted.
    let isPatch: Bool

    private typealias Refusal = SourceTree.Refusal
    private typealias Node = SourceTree.Node

    /// One entry of a mapping, or one item of a list, with its comments: the lines of its own.
    private struct Entry {
        /// Its place in the table, or in the source where that has none.
        var order: Int
        var leading: [SourceComments.Item]
        var lines: [String]
    }

    /// - Parameter bound: the line where the next document begins.
    mutating func document(_ document: SourceTree, before bound: Int) throws(SourceTree.Refusal) -> String {
        // A comment beside --- comes first.
        var head = comments.alone(before: document.line)
        if document.root.start.line > document.line, let beside = comments.behind(line: document.line) { head.append(beside) }
        guard case .mapping(let pairs) = document.root.content, document.root.isBlock, let first = pairs.first else {
            throw Refusal(mark: document.root.start, message: "this document stands in brackets, as JSON does")
        }
        head += comments.alone(before: first.key.start.line)
        let lines = try group("", pairs, column: document.root.start.column, indent: "", before: bound)
        return (Self.text(head, "", isFirst: true) + lines).map { $0 + "\n" }.joined()
    }

    // MARK: Mappings

    /// The fields of a group in the table's order.
    private mutating func group(
        _ path: String, _ pairs: [(key: Node, value: Node)], column: Int, indent: String, before bound: Int
    ) throws(SourceTree.Refusal) -> [String] {
        let fields = FieldTable.children[path] ?? []
        var entries: [Entry] = []
        for (index, pair) in pairs.enumerated() {
            let next = index + 1 < pairs.count ? pairs[index + 1].key.start.line : bound
            guard case .scalar(let name, _) = pair.key.content, let order = fields.firstIndex(where: { $0.name == name }) else {
                throw Refusal(mark: pair.key.start, message: "unknown field")
            }
            let leading = comments.alone(before: pair.key.start.line)
            let lines = try entry(fields[order], name, pair.key, pair.value, indent: indent, before: next)
            entries.append(Entry(order: order, leading: leading, lines: lines))
        }
        return finished(entries, column: column, indent: indent, before: bound)
    }

    private mutating func finished(_ entries: [Entry], column: Int, indent: String, before bound: Int) -> [String] {
        let tail = comments.alone(before: bound, fromColumn: column)
        var lines: [String] = []
        for entry in entries.sorted(by: { $0.order < $1.order }) {
            lines += Self.text(entry.leading, indent, isFirst: lines.isEmpty) + entry.lines
        }
        return lines + Self.text(tail, indent, isFirst: false)
    }

    /// One field with its value.
    private mutating func entry(
        _ field: Field, _ name: String, _ key: Node, _ value: Node, indent: String, before next: Int
    ) throws(SourceTree.Refusal) -> [String] {
        if value.isBlock, !isBounds(field) {
            let head = beside("\(indent)\(name):", line: key.start.line)
            return [head] + (try block(field, value, keyColumn: key.start.column, indent: indent + "  ", before: next))
        }
        if case .group = field.type, case .mapping(let pairs) = value.content, !pairs.isEmpty {
            // Brackets around fields become lines, which is how a group is written.
            try refuseComments(from: key, through: value)
            var inside = FormatWriter(comments: SourceComments(), isPatch: isPatch)
            let lines = try inside.group(field.path, pairs, column: 1, indent: indent + "  ", before: .max)
            return [beside("\(indent)\(name):", line: value.end.line)] + lines
        }
        try refuseComments(from: key, through: value)
        return [beside("\(indent)\(name): \(try inline(field, value))", line: value.end.line)]
    }

    private func isBounds(_ field: Field) -> Bool {
        if case .bounds = field.type { return true }
        return false
    }

    /// The lines of a collection without brackets.
    /// - Parameter keyColumn: where its key stands: a list may stand right below that, and then what is behind it does not belong to it.
    private mutating func block(_ field: Field, _ node: Node, keyColumn: Int, indent: String, before bound: Int)
        throws(SourceTree.Refusal) -> [String]
    {
        switch (field.type, node.content) {
        case (.group, .mapping(let pairs)):
            return try group(field.path, pairs, column: node.start.column, indent: indent, before: bound)
        case (.map, .mapping(let pairs)):
            var entries: [Entry] = []
            for (index, pair) in pairs.enumerated() {
                let leading = comments.alone(before: pair.key.start.line)
                try refuseComments(from: pair.key, through: pair.value)
                guard case .scalar(let name, _) = pair.key.content else { throw Refusal(mark: pair.key.start, message: "no name") }
                let line = beside("\(indent)\(YAMLText.scalar(name)): \(scalar(pair.value))", line: pair.value.end.line)
                entries.append(Entry(order: index, leading: leading, lines: [line]))
            }
            return finished(entries, column: node.start.column, indent: indent, before: bound)
        case (_, .sequence(let items)):
            var entries: [Entry] = []
            for (index, item) in items.enumerated() {
                let next = index + 1 < items.count ? items[index + 1].start.line : bound
                let leading = comments.alone(before: item.start.line)
                entries.append(
                    Entry(order: index, leading: leading, lines: try self.item(field, item, indent: indent, before: next)))
            }
            return finished(
                entries, column: max(node.start.column, keyColumn + 1), indent: indent, before: bound)
        default: throw Refusal(mark: node.start, message: "expected \(field.type.expectation)")
        }
    }

    /// One item of a list, behind its hyphen.
    private mutating func item(_ field: Field, _ item: Node, indent: String, before next: Int) throws(SourceTree.Refusal)
        -> [String]
    {
        if case .mapping(let pairs) = item.content, item.isBlock {
            var lines = try group("\(field.path)[]", pairs, column: item.start.column, indent: indent + "  ", before: next)
            // The hyphen stands before the first field, below the comments above that.
            guard let first = lines.firstIndex(where: { !$0.drop { $0 == " " }.hasPrefix("#") && !$0.isEmpty }), first == 0 else {
                throw Refusal(
                    mark: item.start, message: "a comment before the first field of a list's mapping would stand above its hyphen")
            }
            lines[0] = "\(indent)- " + lines[0].dropFirst(indent.count + 2)
            return lines
        }
        try refuseComments(from: item, through: item)
        let text: String
        if case .records = field.type, case .records(let records) = try value(field, SourceTree.Node.list(of: item)) {
            text = String(YAMLText.flow(.records(records), of: field).dropFirst().dropLast())
        } else {
            text = canonical(item, field.type)
        }
        return [beside("\(indent)- \(text)", line: item.end.line)]
    }

    // MARK: Values on one line

    private func inline(_ field: Field, _ node: Node) throws(SourceTree.Refusal) -> String {
        if isPatch, FieldDecoder.resolve(node.yaml) == .null { return "null" }
        if case .group = field.type { return "{}" }
        // Free mappings keep their order, and what is deleted in them.
        if case .map = field.type, case .mapping(let pairs) = node.content {
            let parts = pairs.map { pair in
                if case .scalar(let name, _) = pair.key.content { return "\(YAMLText.scalar(name)): \(scalar(pair.value))" }
                return ""
            }
            return "{" + parts.joined(separator: ", ") + "}"
        }
        let value = try value(field, node)
        if case .bounds(let rule) = field.type {
            if case .lowerBound = value { return "{\(rule.lower): \(YAMLText.flow(value, of: field))}" }
            if case .upperBound = value { return "{\(rule.upper): \(YAMLText.flow(value, of: field))}" }
        }
        return YAMLText.flow(value, of: field)
    }

    private func value(_ field: Field, _ node: Node) throws(SourceTree.Refusal) -> FieldValue {
        guard let value = DocumentReader.value(of: field, in: node.yaml, isPatch: isPatch) else {
            throw Refusal(mark: node.start, message: "expected \(field.type.expectation)")
        }
        return value
    }

    private func scalar(_ node: Node) -> String {
        if isPatch, FieldDecoder.resolve(node.yaml) == .null { return "null" }
        if case .scalar(let text, _) = node.content { return YAMLText.scalar(text) }
        return ""
    }

    /// An item of a list of strings in its one spelling.
    private func canonical(_ node: Node, _ type: FieldType) -> String {
        guard case .scalar(let text, _) = node.content else { return "" }
        switch type {
        case .texts(let rule, _), .inherited(let rule): return YAMLText.scalar(rule.read(text) ?? text)
        default: return YAMLText.scalar(text)
        }
    }

    // MARK: Comments

    /// A line with the comment that stands beside it in the source, which keeps its column where it can.
    private mutating func beside(_ text: String, line: Int) -> String {
        guard let comment = comments.behind(line: line) else { return text }
        let width = text.unicodeScalars.count
        return text + String(repeating: " ", count: max(comment.column - 1 - width, 2)) + comment.text
    }

    /// Between a key and the end of its value there is no place for a comment.
    private mutating func refuseComments(from: Node, through: Node) throws(SourceTree.Refusal) {
        if let inside = comments.left(before: max(through.end.line, from.start.line)) {
            throw Refusal(
                mark: YAMLMark(line: inside.line, column: inside.column),
                message: "a comment inside of a value has no place that could be kept: put it above")
        }
    }

    /// Comments on lines of their own; of several empty lines, one.
    private static func text(_ items: [SourceComments.Item], _ indent: String, isFirst: Bool) -> [String] {
        var lines: [String] = []
        for item in items {
            if item.text.isEmpty {
                if lines.last != "", !(isFirst && lines.isEmpty) { lines.append("") }
            } else {
                lines.append(indent + item.text)
            }
        }
        return lines
    }
}

extension SourceTree.Node {
    /// A list of one item.
    static func list(of item: Self) -> Self {
        Self(content: .sequence([item]), start: item.start, end: item.end, style: .flow)
    }
}
