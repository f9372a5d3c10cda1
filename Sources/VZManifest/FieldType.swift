internal import VZModel

/// What may stand in a field.
enum FieldType: Sendable {
    /// A mapping of other fields of the table.
    case group
    /// One of a closed set of words.
    case word([String])
    case integer(ClosedRange<Int>)
    case text(TextRule)
    /// At least one string; the first has a rule of its own.
    case list(first: TextRule, rest: TextRule)
    case map(names: TextRule, values: TextRule)
    /// Bytes, rounded up to pages.
    case size(minimum: Int64)
    /// A beancounter's barrier and limit, in items; `equal` when OpenVZ wants both alike (`openvz.md` section 1.6).
    case bounds(equal: Bool)

    var description: String {
        switch self {
        case .group: "mapping"
        case .word(let words): words.joined(separator: " or ")
        case .integer(let range): "integer \(range.lowerBound)…\(range.upperBound)"
        case .text(let rule): rule.expectation
        case .list: "list of strings, at least one"
        case .map: "mapping of names to strings"
        case .size(let minimum):
            "size\(minimum > 0 ? " above 0" : ""): bytes, or a number with B K M G T (times 1024 each) or P (pages of 4096 bytes)"
        case .bounds(let equal):
            "N, \"barrier:limit\" in quotation marks, {barrier: N, limit: N}, or unlimited" + (equal ? "; both alike" : "")
        }
    }

    /// What to write behind "expected".
    var expectation: String {
        switch self {
        case .group: "a mapping"
        case .word(let words): words.joined(separator: " or ")
        case .integer: "an \(description)"
        case .text(let rule): rule.expectation
        case .list: "a list of strings, such as [/sbin/init]"
        case .map: "a mapping of names to strings"
        case .size(let minimum): "a size\(minimum > 0 ? " above 0" : ""), such as 512M"
        case .bounds: "a number, \"barrier:limit\", {barrier: N, limit: N} or unlimited"
        }
    }
}

/// The decoded value of a field.
enum FieldValue: Equatable, Sendable {
    case text(String)
    case integer(Int)
    case list([String])
    case map([String: String])
    /// Bytes.
    case size(Int64)
    case bounds(BarrierLimit)
}
