internal import VZModel

/// Values as YAML text that every reader, of YAML 1.1 or 1.2, understands alike.
enum YAMLText {
    /// A value on one line.
    static func flow(_ value: FieldValue) -> String {
        switch value {
        case .text(let text): scalar(text)
        case .integer(let number): String(number)
        case .list(let list): "[" + list.map(scalar).joined(separator: ", ") + "]"
        case .map(let map): "{" + pairs(map).map { "\($0): \($1)" }.joined(separator: ", ") + "}"
        case .size(let bytes): Size.text(bytes)
        case .bounds(let bounds): self.bounds(bounds)
        }
    }

    /// Names and values in the names' order, each as a scalar.
    static func pairs(_ map: [String: String]) -> [(String, String)] {
        map.sorted { $0.key < $1.key }.map { (scalar($0.key), scalar($0.value)) }
    }

    /// A scalar that is the string `text`: plain where no reader can take it for anything else, else in quotation marks.
    static func scalar(_ text: String) -> String {
        let bytes = Array(text.utf8)
        guard let first = bytes.first, isLetter(first) || first == UInt8(ascii: "/"), bytes.allSatisfy(isPlain),
            !words.contains(text.lowercased())
        else { return Quoting.doubleQuoted(text) }
        return text
    }

    private static func bounds(_ bounds: BarrierLimit) -> String {
        func number(_ value: Int64) -> String { value == BarrierLimit.unlimited ? "unlimited" : String(value) }
        if bounds.barrier == bounds.limit { return number(bounds.barrier) }
        return "\"\(number(bounds.barrier)):\(number(bounds.limit))\""
    }

    /// What YAML 1.1 or 1.2 reads as something other than a string.
    private static let words: Set<String> = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"]

    private static func isLetter(_ byte: UInt8) -> Bool { (97...122).contains(byte | 0x20) }

    private static func isPlain(_ byte: UInt8) -> Bool {
        isLetter(byte) || (48...57).contains(byte) || "/._-".utf8.contains(byte)
    }
}
