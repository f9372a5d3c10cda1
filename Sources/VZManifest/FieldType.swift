internal import VZModel

/// What may stand in a field.
enum FieldType: Sendable {
    /// A mapping of other fields of the table.
    case group
    /// One of a closed set of words.
    case word([String])
    case bool
    case integer(ClosedRange<Int>)
    /// A decimal number with or without a fraction.
    case decimal(ClosedRange<Double>)
    case text(TextRule)
    /// A list of strings, each of which stands there once when they are a set.
    case texts(TextRule, isSet: Bool)
    /// At least one string; the first has a rule of its own.
    case list(first: TextRule, rest: TextRule)
    /// `inherit`, or a list of strings.
    case inherited(TextRule)
    case map(names: TextRule, values: TextRule)
    /// A list of mappings of the fields of the table below `path[]`.
    case records
    /// Bytes, rounded up to pages where they are memory.
    case size(minimum: Int64, inPages: Bool)
    /// Two bounds of one thing.
    case bounds(BoundsRule)
    /// Seconds.
    case duration(ClosedRange<Int>)

    var description: String {
        switch self {
        case .group: "mapping"
        case .word(let words): Self.alternatives(words)
        case .bool: "true or false"
        case .integer(let range): "integer \(range.lowerBound)…\(range.upperBound)"
        case .decimal(let range): "number \(YAMLText.decimal(range.lowerBound))…\(YAMLText.decimal(range.upperBound))"
        case .text(let rule): rule.expectation
        case .texts(let rule, let isSet): "list, each \(isSet ? "once and " : "")\(rule.expectation)"
        case .list: "list of strings, at least one"
        case .inherited(let rule): "inherit, or a list, each \(rule.expectation)"
        case .map: "mapping of names to strings"
        case .records: "list of mappings"
        case .size(let minimum, _):
            "size\(minimum > 0 ? " above 0" : ""): bytes, or a number with B K M G T (times 1024 each) or P (pages of 4096 bytes)"
        case .bounds(let rule): rule.description
        case .duration(let range): "duration such as 120s, 5m or 2h, \(range.lowerBound)…\(range.upperBound) seconds"
        }
    }

    /// `a, b or c`.
    static func alternatives(_ words: [String]) -> String {
        guard let last = words.last, words.count > 1 else { return words.first ?? "" }
        return words.dropLast().joined(separator: ", ") + " or " + last
    }

    /// What to write behind "expected".
    var expectation: String {
        switch self {
        case .group: "a mapping"
        case .integer: "an \(description)"
        case .decimal: "a \(description)"
        case .texts: "a list of strings"
        case .list: "a list of strings, such as [/sbin/init]"
        case .inherited: "inherit or a list of strings"
        case .map: "a mapping of names to strings"
        case .records: "a list of mappings"
        case .size(let minimum, _): "a size\(minimum > 0 ? " above 0" : ""), such as 512M"
        case .bounds(let rule): rule.expectation
        case .duration: "a duration, such as 120s, 5m or 2h"
        case .word, .bool, .text: description
        }
    }
}

/// What two bounds of one thing may be: a beancounter's barrier and limit, or a disk quota's soft and hard limit.
struct BoundsRule: Sendable {
    var unit: Beancounter.Unit
    /// How the bounds of a beancounter relate, which the consistency rules ask for (`openvz.md` 1.6).
    var shape: Beancounter.Shape?
    /// What the two are called.
    var lower = "barrier"
    var upper = "limit"
    /// Whether `unlimited` is a bound.
    var isUnlimitedKnown = true

    var description: String {
        let suffix =
            switch unit {
            case .items: ""
            case .pages: "; N is pages, or a size with B K M G T P"
            case .bytes: "; N is bytes, or a size with B K M G T P"
            }
        let relation =
            switch shape {
            case .equal: "; both alike"
            case .ordered: "; the barrier is at most the limit"
            case .guarantee: "; the limit is unlimited"
            case .limitOnly: "; the barrier is 0"
            case nil: ""
            }
        return "N, \"\(lower):\(upper)\" in quotation marks, {\(lower): N, \(upper): N}\(isUnlimitedKnown ? ", or unlimited" : "")"
            + suffix + relation
    }

    var expectation: String {
        isUnlimitedKnown
            ? "a number, \"\(lower):\(upper)\", {\(lower): N, \(upper): N} or unlimited"
            : "a number, \"\(lower):\(upper)\" or {\(lower): N, \(upper): N}"
    }

    /// What to write behind "expected" for one of the two.
    var partExpectation: String {
        let number = unit == .items ? "an integer from 0" : "an integer from 0, a size such as 8M"
        return isUnlimitedKnown ? "\(number) or unlimited" : number
    }
}

/// The decoded value of a field.
enum FieldValue: Hashable, Sendable {
    case text(String)
    case bool(Bool)
    case integer(Int)
    case decimal(Double)
    case list([String])
    case map([String: String])
    /// Each by the name of its field.
    case records([[String: FieldValue]])
    /// Bytes.
    case size(Int64)
    /// In the unit of the rule.
    case bounds(BarrierLimit)
    /// Of a drop-in: one bound, which replaces that one alone.
    case lowerBound(Int64)
    case upperBound(Int64)
    /// Seconds.
    case duration(Int)
}
