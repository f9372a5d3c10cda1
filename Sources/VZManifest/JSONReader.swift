/// Reads JSON (RFC 8259) and tells where it is none.
struct JSONReader {
    /// Deeper nesting is refused.
    static let depthLimit = 64

    struct Fault: Error, Equatable {
        /// What was expected, and what stands there.
        var message: String
        /// Of the byte, from 0.
        var offset: Int
    }

    private let bytes: [UInt8]
    private var position = 0

    private init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// The one value that all of the bytes are.
    static func read(_ bytes: [UInt8]) throws(Fault) -> JSON {
        var reader = JSONReader(bytes)
        let value = try reader.value(depth: 0)
        reader.skipBlanks()
        guard reader.position == bytes.count else { throw reader.expected("the end") }
        return value
    }

    /// Line and column of an offset, from 1; a column is a character (a Unicode code point).
    static func place(of offset: Int, in bytes: [UInt8]) -> (line: Int, column: Int) {
        let before = bytes.prefix(offset)
        let start = before.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
        return (before.count { $0 == UInt8(ascii: "\n") } + 1, before[start...].count { $0 & 0xC0 != 0x80 } + 1)
    }

    // MARK: values

    private mutating func value(depth: Int) throws(Fault) -> JSON {
        guard depth < Self.depthLimit else {
            throw Fault(message: "expected no more than \(Self.depthLimit) values within each other", offset: position)
        }
        skipBlanks()
        switch peek {
        case UInt8(ascii: "{"): return try object(depth)
        case UInt8(ascii: "["): return try array(depth)
        case UInt8(ascii: "\""): return .string(try string())
        case let byte? where byte == UInt8(ascii: "-") || TextRule.isDigit(byte): return try number()
        default:
            for (word, value) in [("true", JSON.bool(true)), ("false", .bool(false)), ("null", .null)]
            where bytes[position...].starts(with: word.utf8) {
                position += word.utf8.count
                return value
            }
            throw expected("a value")
        }
    }

    private mutating func object(_ depth: Int) throws(Fault) -> JSON {
        position += 1
        var members: [(String, JSON)] = []
        var names: Set<String> = []
        skipBlanks()
        if take("}") { return .object(members) }
        while true {
            skipBlanks()
            guard peek == UInt8(ascii: "\"") else { throw expected("a name in quotation marks") }
            let start = position
            let name = try string()
            guard names.insert(name).inserted else {
                throw Fault(message: "expected each name once, got \(Quoting.shown(name)) again", offset: start)
            }
            skipBlanks()
            guard take(":") else { throw expected("\":\"") }
            members.append((name, try value(depth: depth + 1)))
            skipBlanks()
            if take("}") { return .object(members) }
            guard take(",") else { throw expected("\",\" or \"}\"") }
        }
    }

    private mutating func array(_ depth: Int) throws(Fault) -> JSON {
        position += 1
        var items: [JSON] = []
        skipBlanks()
        if take("]") { return .array(items) }
        while true {
            items.append(try value(depth: depth + 1))
            skipBlanks()
            if take("]") { return .array(items) }
            guard take(",") else { throw expected("\",\" or \"]\"") }
        }
    }

    private mutating func number() throws(Fault) -> JSON {
        let start = position
        _ = take("-")
        if !take("0"), digits() == 0 { throw expected("a digit") }
        var isWhole = true
        if take(".") {
            isWhole = false
            if digits() == 0 { throw expected("a digit") }
        }
        if take("e") || take("E") {
            isWhole = false
            if !take("+") { _ = take("-") }
            if digits() == 0 { throw expected("a digit") }
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        return isWhole ? Int(text).map(JSON.integer) ?? .number(text) : .number(text)
    }

    private mutating func digits() -> Int {
        let start = position
        while let byte = peek, TextRule.isDigit(byte) { position += 1 }
        return position - start
    }

    // MARK: strings

    private mutating func string() throws(Fault) -> String {
        let start = position
        position += 1
        var text: [UInt8] = []
        while let byte = peek {
            switch byte {
            case UInt8(ascii: "\""):
                position += 1
                guard let text = String(validating: text, as: UTF8.self) else {
                    throw Fault(message: "expected UTF-8 in this string", offset: start)
                }
                return text
            case UInt8(ascii: "\\"): text += try escape().utf8
            case 0..<0x20: throw expected("no control character in a string")
            default:
                text.append(byte)
                position += 1
            }
        }
        throw expected("a quotation mark")
    }

    private mutating func escape() throws(Fault) -> String {
        let start = position
        position += 1
        let letter = peek
        position += 1
        switch letter {
        case UInt8(ascii: "\""): return "\""
        case UInt8(ascii: "\\"): return "\\"
        case UInt8(ascii: "/"): return "/"
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{C}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"):
            var units = [try unit(start)]
            if UTF16.isLeadSurrogate(units[0]), bytes[position...].starts(with: "\\u".utf8) {
                position += 2
                units.append(try unit(start))
            }
            guard let text = String(validating: units, as: UTF16.self) else {
                throw Fault(message: "expected an escape that is a character", offset: start)
            }
            return text
        default: throw Fault(message: "expected one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u", offset: start)
        }
    }

    private mutating func unit(_ start: Int) throws(Fault) -> UInt16 {
        let digits = bytes[position...].prefix(4)
        guard digits.count == 4, digits.allSatisfy({ Character(UnicodeScalar($0)).isHexDigit }),
            let unit = UInt16(String(decoding: digits, as: UTF8.self), radix: 16)
        else { throw Fault(message: "expected four hexadecimal digits after \\u", offset: start) }
        position += 4
        return unit
    }

    // MARK: bytes

    private var peek: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard peek == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    private mutating func skipBlanks() {
        while let byte = peek, [0x20, 0x09, 0x0A, 0x0D].contains(byte) { position += 1 }
    }

    private func expected(_ what: String) -> Fault {
        let rest = bytes[position...]
        guard !rest.isEmpty else { return Fault(message: "expected \(what), got the end", offset: position) }
        // As far as a character reaches.
        let got = rest.prefix(1) + rest.dropFirst().prefix(3).prefix { $0 & 0xC0 == 0x80 }
        return Fault(message: "expected \(what), got \(Quoting.shown(String(decoding: got, as: UTF8.self)))", offset: position)
    }
}
