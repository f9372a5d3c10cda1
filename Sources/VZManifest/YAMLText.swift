internal import VZModel

/// Values as YAML text that every reader, of YAML 1.1 or 1.2, understands alike.
enum YAMLText {
    /// The value of a field on one line.
    static func flow(_ value: FieldValue, of field: Field) -> String {
        switch (value, field.type) {
        case (.bounds(let bounds), .bounds(let rule)): self.bounds(bounds, rule)
        case (.lowerBound(let one), .bounds(let rule)), (.upperBound(let one), .bounds(let rule)):
            self.bounds(BarrierLimit(both: one), rule)
        case (.records(let records), _): self.records(records, FieldTable.children["\(field.path)[]"] ?? [])
        default: flow(value)
        }
    }

    /// A value that needs no more to be known than itself.
    private static func flow(_ value: FieldValue) -> String {
        switch value {
        case .text(let text): scalar(text)
        case .bool(let bool): bool ? "true" : "false"
        case .integer(let number): String(number)
        case .decimal(let number): decimal(number)
        case .list(let list): "[" + list.map(scalar).joined(separator: ", ") + "]"
        case .map(let map): "{" + pairs(map).map { "\($0): \($1)" }.joined(separator: ", ") + "}"
        case .size(let bytes): Size.text(bytes)
        case .duration(let seconds): duration(seconds)
        case .bounds(let bounds): self.bounds(bounds, BoundsRule(unit: .items))
        case .lowerBound(let number), .upperBound(let number): String(number)
        case .records: ""
        }
    }

    private static func records(_ records: [[String: FieldValue]], _ fields: [Field]) -> String {
        let items = records.map { record in
            let parts = fields.compactMap { field in record[field.name].map { "\(field.name): \(flow($0, of: field))" } }
            return "{" + parts.joined(separator: ", ") + "}"
        }
        return "[" + items.joined(separator: ", ") + "]"
    }

    /// A number that readers of YAML 1.1 and 1.2 read alike.
    static func decimal(_ number: Double) -> String {
        if number == number.rounded(), abs(number) < 1e15 { return String(Int64(number)) }
        let text = "\(number)"
        guard let mark = text.firstIndex(of: "e"), !text.contains(".") else { return text }
        return text[..<mark] + ".0" + text[mark...]
    }

    /// In the largest unit that leaves a handy whole number: `120s`, `5m`, `2h`.
    private static func duration(_ seconds: Int) -> String {
        if seconds >= 3600, seconds % 3600 == 0 { return "\(seconds / 3600)h" }
        return seconds >= 300 && seconds % 60 == 0 ? "\(seconds / 60)m" : "\(seconds)s"
    }

    /// Names and values in the names' order, each as a scalar.
    static func pairs(_ map: [String: String]) -> [(String, String)] {
        map.sorted { $0.key < $1.key }.map { (scalar($0.key), scalar($0.value)) }
    }

    /// A scalar that is the string `text`: plain where no reader can take it for anything else, else in quotation marks.
    static func scalar(_ text: String) -> String {
        let bytes = Array(text.utf8)
        if isAddress(bytes) { return text }
        guard let first = bytes.first, isLetter(first) || first == UInt8(ascii: "/"), bytes.allSatisfy(isPlain),
            !words.contains(text.lowercased())
        else { return Quoting.doubleQuoted(text) }
        return text
    }

    /// A tree in block style, line by line.
    static func block(_ tree: JSON) -> [String] {
        func nested(_ lead: String, _ value: JSON) -> [String] {
            switch value {
            case .object(let members) where !members.isEmpty: [lead] + block(value).map { "  \($0)" }
            case .array(let items) where !items.isEmpty: [lead] + block(value).map { "  \($0)" }
            default: ["\(lead) \(leaf(value))"]
            }
        }
        switch tree {
        case .object(let members) where !members.isEmpty: return members.flatMap { nested("\(scalar($0.0)):", $0.1) }
        case .array(let items) where !items.isEmpty:
            return items.flatMap { item in
                block(item).enumerated().map { ($0.offset == 0 ? "- " : "  ") + $0.element }
            }
        default: return [leaf(tree)]
        }
    }

    private static func leaf(_ value: JSON) -> String {
        switch value {
        case .object: "{}"
        case .array: "[]"
        case .string(let text): scalar(text)
        case .integer, .number, .bool, .null: value.pretty()
        }
    }

    private static func bounds(_ bounds: BarrierLimit, _ rule: BoundsRule) -> String {
        func number(_ value: Int64) -> String {
            if value == BarrierLimit.unlimited, rule.isUnlimitedKnown { return "unlimited" }
            // Of a disk, people count kibibytes, as OpenVZ does; of a buffer they know the number of bytes.
            if !rule.isUnlimitedKnown, rule.unit == .bytes { return Size.text(value) }
            return rule.unit == .bytes && value > 0 && value % (1 << 20) == 0 ? Size.text(value) : String(value)
        }
        if bounds.barrier == bounds.limit { return number(bounds.barrier) }
        return "\"\(number(bounds.barrier)):\(number(bounds.limit))\""
    }

    /// What YAML 1.1 or 1.2 reads as something other than a string.
    private static let words: Set<String> = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"]

    /// Digits with two points or more between them are a number to nobody.
    private static func isAddress(_ bytes: [UInt8]) -> Bool {
        guard let first = bytes.first, TextRule.isDigit(first) else { return false }
        return bytes.allSatisfy { TextRule.isDigit($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "/") }
            && bytes.count { $0 == UInt8(ascii: ".") } == 3
    }

    private static func isLetter(_ byte: UInt8) -> Bool { (97...122).contains(byte | 0x20) }

    private static func isPlain(_ byte: UInt8) -> Bool {
        isLetter(byte) || (48...57).contains(byte) || "/._-".utf8.contains(byte)
    }
}
