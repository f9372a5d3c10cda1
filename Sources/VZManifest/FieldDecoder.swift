internal import VZModel

/// A mistake in a document, before it is known which file that is.
struct Mistake: Equatable {
    var mark: YAMLMark
    var field: String
    var message: String
}

/// Turns nodes into values of the types that the table of fields asks for, and gathers every mistake on the way.
struct FieldDecoder {
    private(set) var mistakes: [Mistake] = []
    /// How many mistakes are of interest.
    let most: Int
    /// Whether this is a drop-in, where `null` deletes (RFC 7386).
    let isPatch: Bool
    /// What a drop-in deletes.
    var deletions: [Layer.Deletion] = []
    /// Where each entry of a mapping of names to strings stands.
    var entryMarks: [(path: String, mark: YAMLMark)] = []

    var isFull: Bool { mistakes.count >= most }

    init(most: Int, isPatch: Bool = false) {
        self.most = most
        self.isPatch = isPatch
    }

    /// Whether the value of an entry takes away what is below it.
    func deletes(_ node: YAMLNode) -> Bool { isPatch && Self.resolve(node) == .null }

    /// One entry of a mapping whose key is usable.
    struct Entry {
        var name: String
        var key: YAMLMark
        var value: YAMLNode
    }

    mutating func refuse(_ mark: YAMLMark, _ field: String, _ message: String) {
        if !isFull { mistakes.append(Mistake(mark: mark, field: field, message: message)) }
    }

    /// The value of `node` as `type`; `nil` when it is none, which is then among the mistakes.
    mutating func decode(_ node: YAMLNode, as type: FieldType, _ path: String) -> FieldValue? {
        switch type {
        case .group, .records: nil
        case .word(let words): word(node, words, path).map { .text($0) }
        case .bool: bool(node, path).map { .bool($0) }
        case .integer(let range): integer(node, range, path).map { .integer($0) }
        case .decimal(let range): decimal(node, type, range, path).map { .decimal($0) }
        case .text(let rule): text(node, rule, path).map { .text($0) }
        case .texts(let rule, let isSet): texts(node, type, rule, isSet: isSet, path).map { .list($0) }
        case .list(let first, let rest): list(node, type, first, rest, path).map { .list($0) }
        case .inherited(let rule): inherited(node, type, rule, path)
        case .map(let names, let values): map(node, type, names, values, path).map { .map($0) }
        case .size(let minimum, let inPages): size(node, minimum, path).map { .size(inPages ? Size.roundedToPages($0) : $0) }
        case .bounds(let rule): bounds(node, rule, path)
        case .duration(let range): duration(node, type, range, path).map { .duration($0) }
        }
    }

    /// The entries of a mapping in their order, less those whose key is no string, a merge key or a repetition; `nil` when `node` is
    /// no mapping.
    mutating func entries(_ node: YAMLNode, _ path: String, expected: String = "a mapping") -> [Entry]? {
        guard case .mapping(let pairs) = node.content, Self.hasTag(node, of: "map") else {
            refuse(node.mark, path, "expected \(expected), got \(Self.shown(node))")
            return nil
        }
        var first: [String: YAMLMark] = [:]
        // A few names are found faster by looking at each.
        let isLong = pairs.count > 8
        if isLong { first.reserveCapacity(pairs.count) }
        var result: [Entry] = []
        result.reserveCapacity(pairs.count)
        for (key, value) in pairs {
            guard case .scalar(let name, let plain) = key.content else {
                refuse(key.mark, path, "expected a name as key, got \(Self.shown(key))")
                continue
            }
            if key.tag != nil, case .badTag = CoreScalar(name, plain: plain, tag: key.tag) {
                refuse(key.mark, path, "expected a name as key, got \(Self.shown(key))")
            } else if name == "<<", plain {
                refuse(key.mark, path, "merge keys (<<) are not read; expected every field to be written out")
            } else if let earlier = isLong ? first[name] : result.first(where: { $0.name == name })?.key {
                refuse(key.mark, Self.join(path, name), "given twice; the first is at \(earlier.line):\(earlier.column)")
            } else {
                if isLong { first[name] = key.mark }
                result.append(Entry(name: name, key: key.mark, value: value))
            }
        }
        return result
    }

    // MARK: - One function for each type

    private mutating func word(_ node: YAMLNode, _ words: [String], _ path: String) -> String? {
        if case .string(let text) = Self.resolve(node), words.contains(text) { return text }
        var message = "expected \(FieldType.alternatives(words)), got \(Self.shown(node))"
        if case .string(let text) = Self.resolve(node), let near = NearestName.of(text, among: words) {
            message += "; did you mean \(near)?"
        }
        refuse(node.mark, path, message)
        return nil
    }

    private mutating func bool(_ node: YAMLNode, _ path: String) -> Bool? {
        if case .bool(let bool) = Self.resolve(node) { return bool }
        refuse(node.mark, path, "expected true or false, got \(Self.shown(node))")
        return nil
    }

    private mutating func decimal(
        _ node: YAMLNode, _ type: FieldType, _ range: ClosedRange<Double>, _ path: String
    ) -> Double? {
        var number: Double?
        if case .scalar(let text, _) = node.content {
            switch Self.resolve(node) {
            case .integer(let integer): number = Double(integer)
            case .float: number = Double(text)
            default: break
            }
        }
        if let number, range.contains(number) { return number }
        refuse(node.mark, path, "expected \(type.expectation), got \(Self.shown(node))")
        return nil
    }

    private mutating func duration(_ node: YAMLNode, _ type: FieldType, _ range: ClosedRange<Int>, _ path: String) -> Int? {
        if case .string(let text) = Self.resolve(node), let seconds = Self.seconds(text), range.contains(seconds) { return seconds }
        var hint = ""
        if case .integer(let number) = Self.resolve(node), number >= 0 { hint = "; to mean seconds, write \(number)s" }
        refuse(node.mark, path, "expected \(type.expectation), of at most \(range.upperBound)s, got \(Self.shown(node))\(hint)")
        return nil
    }

    /// A decimal number of s, m or h; saturated, which is beyond every range.
    private static func seconds(_ text: String) -> Int? {
        let digits = text.utf8.dropLast()
        let units: [UInt8: Int64] = [UInt8(ascii: "s"): 1, UInt8(ascii: "m"): 60, UInt8(ascii: "h"): 3600]
        guard let unit = text.utf8.last.flatMap({ units[$0] }), !digits.isEmpty, digits.allSatisfy(TextRule.isDigit),
            digits.first != UInt8(ascii: "0") || digits.count == 1
        else { return nil }
        let product = CoreScalar.decimal(digits).multipliedReportingOverflow(by: unit)
        return Int(product.overflow ? .max : product.partialValue)
    }

    private mutating func integer(_ node: YAMLNode, _ range: ClosedRange<Int>, _ path: String) -> Int? {
        if case .integer(let number) = Self.resolve(node), range.contains(Int(number)) { return Int(number) }
        refuse(node.mark, path, "expected an integer \(range.lowerBound)…\(range.upperBound), got \(Self.shown(node))")
        return nil
    }

    /// - Parameter index: of an item of a list, its place.
    private mutating func text(_ node: YAMLNode, _ rule: TextRule, _ path: String, index: Int? = nil) -> String? {
        let resolved = Self.resolve(node)
        if case .string(let text) = resolved, let value = rule.read(text) { return value }
        let path = index.map { "\(path)[\($0)]" } ?? path
        switch resolved {
        case .bool, .integer, .float, .leadingZero:
            refuse(node.mark, path, "expected a string, got \(Self.shown(node)); to mean the string, put it in quotation marks")
        case .string(let text) where text.utf8.count > rule.length.upperBound:
            refuse(node.mark, path, "expected \(rule.expectation), got \(text.utf8.count) bytes")
        case .string(let text):
            let near = NearestName.of(text, among: rule.words).map { "; did you mean \($0)?" } ?? ""
            refuse(node.mark, path, "expected \(rule.expectation), got \(Self.shown(node))\(near)")
        default: refuse(node.mark, path, "expected \(rule.expectation), got \(Self.shown(node))")
        }
        return nil
    }

    private mutating func texts(
        _ node: YAMLNode, _ type: FieldType, _ rule: TextRule, isSet: Bool, _ path: String
    ) -> [String]? {
        guard case .sequence(let items) = node.content, Self.hasTag(node, of: "seq") else {
            refuse(node.mark, path, "expected \(type.expectation), got \(Self.shown(node))")
            return nil
        }
        let before = mistakes.count
        var result: [String] = []
        var first: [String: YAMLMark] = [:]
        for (index, item) in items.enumerated() {
            guard let text = text(item, rule, path, index: index) else { continue }
            if isSet, items.count > 1, let earlier = first[text] {
                refuse(
                    item.mark, "\(path)[\(index)]",
                    "\(Quoting.shown(text)) is given twice; the first is at \(earlier.line):\(earlier.column)")
            }
            if isSet, items.count > 1 { first[text] = item.mark }
            if isSet, let opposite = rule.opposite(of: text), let earlier = first[opposite] {
                refuse(
                    item.mark, "\(path)[\(index)]",
                    "\(Quoting.shown(text)) contradicts \(Quoting.shown(opposite)) at \(earlier.line):\(earlier.column)")
            }
            result.append(text)
        }
        return mistakes.count == before ? result : nil
    }

    private mutating func inherited(_ node: YAMLNode, _ type: FieldType, _ rule: TextRule, _ path: String) -> FieldValue? {
        if case .string("inherit") = Self.resolve(node) { return .text("inherit") }
        return texts(node, type, rule, isSet: true, path).map { .list($0) }
    }

    private mutating func list(
        _ node: YAMLNode, _ type: FieldType, _ first: TextRule, _ rest: TextRule, _ path: String
    ) -> [String]? {
        guard case .sequence(let items) = node.content, Self.hasTag(node, of: "seq"), !items.isEmpty else {
            refuse(node.mark, path, "expected \(type.expectation), got \(Self.shown(node))")
            return nil
        }
        var result: [String] = []
        for (index, item) in items.enumerated() {
            if let text = text(item, index == 0 ? first : rest, path, index: index) { result.append(text) }
        }
        return result.count == items.count ? result : nil
    }

    private mutating func map(
        _ node: YAMLNode, _ type: FieldType, _ names: TextRule, _ values: TextRule, _ path: String
    ) -> [String: String]? {
        let before = mistakes.count
        guard let entries = entries(node, path, expected: type.expectation) else { return nil }
        var result: [String: String] = [:]
        for entry in entries {
            if !names.accepts(entry.name) {
                refuse(entry.key, path, "expected \(names.expectation), got \(Quoting.shown(entry.name))")
            }
            if deletes(entry.value) {
                deletions.append(.entry(field: path, name: entry.name))
            } else {
                result[entry.name] = text(entry.value, values, Self.join(path, entry.name))
                entryMarks.append((path: "\(path).\(entry.name)", mark: entry.value.mark))
            }
        }
        return mistakes.count == before ? result : nil
    }

    private mutating func size(_ node: YAMLNode, _ minimum: Int64, _ path: String) -> Int64? {
        var bound = minimum > 0 ? " above 0" : ""
        var hint = ""
        do throws(Size.Problem) {
            switch Self.resolve(node) {
            case .integer(let bytes) where bytes > Size.largest: throw .tooLarge
            case .integer(let bytes) where bytes >= minimum: return bytes
            case .string(let text):
                let bytes = try Size.parse(text)
                if bytes >= minimum { return bytes }
            default: break
            }
        } catch {
            if error == .tooLarge { bound = " below 8388608T" }
            if case .string(let text) = Self.resolve(node), text.lowercased() == "unlimited" {
                hint = minimum > 0 ? "; for no limit, leave the field out" : "; for no limit, leave the field out or write 0"
            }
        }
        refuse(node.mark, path, "expected a size\(bound), such as 512M, got \(Self.shown(node))\(hint)")
        return nil
    }
}

// MARK: - What stands there

extension FieldDecoder {
    /// The path of a field in a group, fit for a message.
    static func join(_ path: String, _ name: String) -> String {
        let shown =
            name.isEmpty ? "\"\"" : name.utf8.count <= 80 ? Quoting.visible(name) : Quoting.visible(String(name.prefix(60))) + "…"
        return path.isEmpty ? shown : "\(path).\(shown)"
    }

    static func resolve(_ node: YAMLNode) -> CoreScalar? {
        guard case .scalar(let text, let plain) = node.content else { return nil }
        return CoreScalar(text, plain: plain, tag: node.tag)
    }

    static func hasTag(_ node: YAMLNode, of type: String) -> Bool {
        node.tag == nil || node.tag == "!" || node.tag == CoreScalar.tagPrefix + type
    }

    /// What stands there, for "got …".
    static func shown(_ node: YAMLNode) -> String {
        switch node.content {
        case .mapping: return hasTag(node, of: "map") ? "a mapping" : "the tag \(shownTag(node.tag))"
        case .sequence(let items):
            return hasTag(node, of: "seq") ? items.isEmpty ? "an empty list" : "a list" : "the tag \(shownTag(node.tag))"
        case .scalar(let text, let plain):
            switch CoreScalar(text, plain: plain, tag: node.tag) {
            case .null: return "nothing"
            case .float where node.tag != nil: return "the tag \(shownTag(node.tag))"
            case .bool, .integer, .float: return Quoting.visible(String(text.prefix(60)))
            case .leadingZero: return "\(Quoting.visible(String(text.prefix(60)))) with a leading zero"
            case .badTag(let tag): return "the tag \(shownTag(tag))"
            case .string:
                // Text that would be something else without its quotation marks needs a word more.
                if case .string = CoreScalar.resolvePlain(text) { return Quoting.shown(text) }
                return text.isEmpty ? "an empty string" : "the string \(Quoting.shown(text))"
            }
        }
    }

    private static func shownTag(_ tag: String?) -> String {
        let tag = tag ?? ""
        let short = tag.hasPrefix(CoreScalar.tagPrefix) ? "!!" + tag.dropFirst(CoreScalar.tagPrefix.count) : tag
        return Quoting.visible(String(short.prefix(60)))
    }
}
