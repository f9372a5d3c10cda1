/// One `KEY="value"` of an OpenVZ configuration.
struct ConfAssignment: Equatable {
    /// As it stands there.
    var key: String
    /// Without its quotation marks.
    var value: String
    var location: SourceLocation
    var sourceLine: String?
    /// Whether it stands in the container's own file, not in the global one.
    var isOwn = true
}

/// What OpenVZ's tools make of the lines of a configuration (`openvz.md` 6.2, measured on them).
struct ConfLexer {
    private(set) var assignments: [ConfAssignment] = []
    /// Lines that say nothing to OpenVZ either, and lines that no tool could use.
    private(set) var mistakes: [Diagnostic] = []
    private let file: String
    private let isOwn: Bool

    init(_ bytes: [UInt8], file: String, isOwn: Bool = true) {
        self.file = file
        self.isOwn = isOwn
        guard bytes.count <= InputBounds.bytes else {
            let location = SourceLocation(file: file, line: 1, column: 1)
            let message = "expected a file of at most 1 MiB (\(InputBounds.bytes) bytes), got more"
            mistakes.append(Diagnostic(location: location, message: message))
            return
        }
        for (index, line) in bytes.split(separator: 10, omittingEmptySubsequences: false).enumerated() {
            guard mistakes.count < InputBounds.mistakes, assignments.count < InputBounds.nodes else {
                refuse(
                    index + 1, 1, nil,
                    "there are more mistakes than these, and the lines from here on are not read; mend them first")
                return
            }
            read(line, number: index + 1)
        }
    }

    private mutating func read(_ bytes: ArraySlice<UInt8>, number: Int) {
        let blanks = bytes.prefix(while: Self.isBlank).count
        let bytes = bytes.dropFirst(blanks)
        guard let first = bytes.first, first != UInt8(ascii: "#") else { return }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            return refuse(number, blanks + 1, nil, "expected text in UTF-8, got other bytes; the line is not read")
        }
        let shown = text.utf8.count <= 400 ? Quoting.sameWidth(text) : nil
        if text.unicodeScalars.contains(where: { $0 != "\t" && $0 != "\r" && ($0.value < 32 || (127..<160).contains($0.value)) }) {
            return refuse(number, blanks + 1, shown, "expected text, got a control character; the line is not read")
        }
        guard let equals = bytes.firstIndex(of: UInt8(ascii: "=")) else {
            return refuse(number, blanks + 1, shown, "expected KEY=\"value\", got no =; OpenVZ passes over the line")
        }
        let key = String(decoding: bytes[..<equals], as: UTF8.self)
        guard let value = Self.value(bytes[(equals + 1)...]) else {
            return refuse(
                number, blanks + 1, shown, "\(Quoting.visible(key)): expected a closing quotation mark; OpenVZ passes over the line"
            )
        }
        let location = SourceLocation(file: file, line: number, column: blanks + 1)
        assignments.append(ConfAssignment(key: key, value: value, location: location, sourceLine: shown, isOwn: isOwn))
    }

    /// What stands behind the `=`: up to the closing quotation mark, whatever follows it; without quotation marks up to a comment.
    /// `nil` when the quotation is not closed.
    private static func value(_ bytes: ArraySlice<UInt8>) -> String? {
        let quote = UInt8(ascii: "\"")
        if bytes.first == quote {
            guard let end = bytes.dropFirst().firstIndex(of: quote) else { return nil }
            return String(decoding: bytes[(bytes.startIndex + 1)..<end], as: UTF8.self)
        }
        var content = bytes
        for index in bytes.indices where bytes[index] == UInt8(ascii: "#") {
            if index == bytes.startIndex || isBlank(bytes[index - 1]) {
                content = bytes[..<index]
                break
            }
        }
        while let last = content.last, isBlank(last) { content = content.dropLast() }
        return String(decoding: content, as: UTF8.self)
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 32 || byte == 9 || byte == 13 }

    private mutating func refuse(_ line: Int, _ column: Int, _ sourceLine: String?, _ message: String) {
        mistakes.append(
            Diagnostic(location: SourceLocation(file: file, line: line, column: column), message: message, sourceLine: sourceLine))
    }
}
