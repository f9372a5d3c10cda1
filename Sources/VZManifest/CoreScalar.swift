/// What a scalar means by YAML 1.2's core schema (10.3), less what YAML 1.1 reads as another number.
enum CoreScalar: Equatable {
    case null
    case bool(Bool)
    /// Saturated at the ends of `Int64`, which are no value of any field.
    case integer(Int64)
    case float
    /// Decimal digits after a zero: decimal by YAML 1.2, octal by 1.1.
    case leadingZero
    case string(String)
    /// A tag that is none of the core schema's, or whose form the text does not have.
    case badTag(String)

    static let tagPrefix = "tag:yaml.org,2002:"

    init(_ text: String, plain: Bool, tag: String?) {
        let resolved = Self.resolvePlain(text)
        guard let tag else {
            self = plain ? resolved : .string(text)
            return
        }
        switch (tag, resolved) {
        case ("!", _), (Self.tagPrefix + "str", _): self = .string(text)
        case (Self.tagPrefix + "null", .null), (Self.tagPrefix + "bool", .bool), (Self.tagPrefix + "int", .integer),
            (Self.tagPrefix + "float", .float):
            self = resolved
        case (Self.tagPrefix + "float", .integer): self = .float
        default: self = .badTag(tag)
        }
    }

    /// What the text means when it stands plain.
    static func resolvePlain(_ text: String) -> CoreScalar {
        // Most texts can be nothing but a string by their first character.
        if let first = text.utf8.first, !isDigit(first), !"~nNtTfF.+-".utf8.contains(first) { return .string(text) }
        switch text {
        case "", "~", "null", "Null", "NULL": return .null
        case "true", "True", "TRUE": return .bool(true)
        case "false", "False", "FALSE": return .bool(false)
        default: break
        }
        let bytes = Array(text.utf8)
        guard let first = bytes.first, isDigit(first) || first == dot || first == plus || first == minus else {
            return .string(text)
        }
        if text.hasPrefix("0x") { return based(bytes.dropFirst(2), radix: 16) ?? .string(text) }
        if text.hasPrefix("0o") { return based(bytes.dropFirst(2), radix: 8) ?? .string(text) }
        let signed = first == plus || first == minus
        let magnitude = signed ? bytes.dropFirst() : bytes[...]
        if let head = magnitude.first, magnitude.allSatisfy(isDigit) {
            if head == UInt8(ascii: "0"), magnitude.count > 1 { return .leadingZero }
            return .integer(first == minus ? -decimal(magnitude) : decimal(magnitude))
        }
        return isFloat(magnitude, signed: signed) ? .float : .string(text)
    }

    /// The number that decimal digits spell, `Int64.max` when it is larger.
    static func decimal(_ digits: some Sequence<UInt8>) -> Int64 { number(digits, radix: 10) ?? 0 }

    /// The number that digits of a base spell, `Int64.max` when it is larger; `nil` when one is no digit.
    private static func number(_ digits: some Sequence<UInt8>, radix: Int64) -> Int64? {
        var value: Int64 = 0
        for byte in digits {
            guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue, digit < radix else { return nil }
            let (scaled, over) = value.multipliedReportingOverflow(by: radix)
            let (sum, overAgain) = scaled.addingReportingOverflow(Int64(digit))
            value = over || overAgain ? .max : sum
        }
        return value
    }

    private static func based(_ digits: ArraySlice<UInt8>, radix: Int64) -> CoreScalar? {
        digits.isEmpty ? nil : number(digits, radix: radix).map { .integer($0) }
    }

    /// `[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?`, the same with nothing before the point, or an infinity, or no number at all.
    private static func isFloat(_ text: ArraySlice<UInt8>, signed: Bool) -> Bool {
        let name = String(decoding: text, as: UTF8.self)
        if [".inf", ".Inf", ".INF"].contains(name) { return true }
        if !signed, [".nan", ".NaN", ".NAN"].contains(name) { return true }
        var rest = text
        let whole = rest.prefix(while: isDigit)
        rest = rest.dropFirst(whole.count)
        if rest.first == dot {
            rest = rest.dropFirst()
            let fraction = rest.prefix(while: isDigit)
            rest = rest.dropFirst(fraction.count)
            if whole.isEmpty, fraction.isEmpty { return false }
        } else if whole.isEmpty {
            return false
        }
        guard let mark = rest.first else { return true }
        guard mark == UInt8(ascii: "e") || mark == UInt8(ascii: "E") else { return false }
        rest = rest.dropFirst()
        if rest.first == plus || rest.first == minus { rest = rest.dropFirst() }
        return !rest.isEmpty && rest.allSatisfy(isDigit)
    }

    private static let dot = UInt8(ascii: ".")
    private static let plus = UInt8(ascii: "+")
    private static let minus = UInt8(ascii: "-")
    private static func isDigit(_ byte: UInt8) -> Bool { (48...57).contains(byte) }
}
