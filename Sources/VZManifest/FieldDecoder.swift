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

    var isFull: Bool { mistakes.count >= most }

    init(most: Int) { self.most = most }

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
        case .group: nil
        case .word(let words): word(node, words, path).map { .text($0) }
        case .integer(let range): integer(node, range, path).map { .integer($0) }
        case .text(let rule): text(node, rule, path).map { .text($0) }
        case .list(let first, let rest): list(node, type, first, rest, path).map { .list($0) }
        case .map(let names, let values): map(node, type, names, values, path).map { .map($0) }
        case .size(let minimum): size(node, minimum, path).map { .size($0) }
        case .bounds(let equal): bounds(node, equal: equal, path).map { .bounds($0) }
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
        var result: [Entry] = []
        for (key, value) in pairs {
            guard case .scalar(let name, let plain) = key.content else {
                refuse(key.mark, path, "expected a name as key, got \(Self.shown(key))")
                continue
            }
            if case .badTag = CoreScalar(name, plain: plain, tag: key.tag) {
                refuse(key.mark, path, "expected a name as key, got \(Self.shown(key))")
            } else if name == "<<", plain {
                refuse(key.mark, path, "merge keys (<<) are not read; expected every field to be written out")
            } else if let earlier = first[name] {
                refuse(key.mark, Self.join(path, name), "given twice; the first is at \(earlier.line):\(earlier.column)")
            } else {
                first[name] = key.mark
                result.append(Entry(name: name, key: key.mark, value: value))
            }
        }
        return result
    }

    // MARK: - One function for each type

    private mutating func word(_ node: YAMLNode, _ words: [String], _ path: String) -> String? {
        if case .string(let text) = Self.resolve(node), words.contains(text) { return text }
        var message = "expected \(words.joined(separator: " or ")), got \(Self.shown(node))"
        if case .string(let text) = Self.resolve(node), let near = NearestName.of(text, among: words) {
            message += "; did you mean \(near)?"
        }
        refuse(node.mark, path, message)
        return nil
    }

    private mutating func integer(_ node: YAMLNode, _ range: ClosedRange<Int>, _ path: String) -> Int? {
        if case .integer(let number) = Self.resolve(node), range.contains(Int(number)) { return Int(number) }
        refuse(node.mark, path, "expected an integer \(range.lowerBound)…\(range.upperBound), got \(Self.shown(node))")
        return nil
    }

    private mutating func text(_ node: YAMLNode, _ rule: TextRule, _ path: String) -> String? {
        switch Self.resolve(node) {
        case .string(let text) where rule.accepts(text): return text
        case .bool, .integer, .float, .leadingZero:
            refuse(node.mark, path, "expected a string, got \(Self.shown(node)); to mean the string, put it in quotation marks")
        case .string(let text) where text.utf8.count > rule.length.upperBound:
            refuse(node.mark, path, "expected \(rule.expectation), got \(text.utf8.count) bytes")
        default: refuse(node.mark, path, "expected \(rule.expectation), got \(Self.shown(node))")
        }
        return nil
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
            if let text = text(item, index == 0 ? first : rest, "\(path)[\(index)]") { result.append(text) }
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
            result[entry.name] = text(entry.value, values, Self.join(path, entry.name))
        }
        return mistakes.count == before ? result : nil
    }

    private mutating func size(_ node: YAMLNode, _ minimum: Int64, _ path: String) -> Int64? {
        var bound = minimum > 0 ? " above 0" : ""
        var hint = ""
        do throws(Size.Problem) {
            switch Self.resolve(node) {
            case .integer(let bytes) where bytes > Size.largest: throw .tooLarge
            case .integer(let bytes) where bytes >= minimum: return Size.roundedToPages(bytes)
            case .string(let text):
                let bytes = try Size.parse(text)
                if bytes >= minimum { return Size.roundedToPages(bytes) }
            default: break
            }
        } catch {
            if error == .tooLarge { bound = " below 8388608T" }
            if case .string(let text) = Self.resolve(node), text.lowercased() == "unlimited" {
                hint = "; for no limit, leave the field out"
            }
        }
        refuse(node.mark, path, "expected a size\(bound), such as 512M, got \(Self.shown(node))\(hint)")
        return nil
    }
}

// MARK: - Beancounters

extension FieldDecoder {
    private mutating func bounds(_ node: YAMLNode, equal: Bool, _ path: String) -> BarrierLimit? {
        guard let bounds = bounds(node, path) else { return nil }
        if equal, bounds.barrier != bounds.limit {
            refuse(node.mark, path, "expected a barrier that equals the limit, got \(Self.text(bounds))")
            return nil
        }
        return bounds
    }

    private mutating func bounds(_ node: YAMLNode, _ path: String) -> BarrierLimit? {
        if case .mapping = node.content { return boundsMapping(node, path) }
        if case .scalar(let text, let plain) = node.content, node.tag == nil, plain, text.contains(":") {
            let (barrier, limit) = Self.halves(text)
            refuse(
                node.mark, path,
                "\(Quoting.visible(String(text.prefix(60)))) without quotation marks is a number to some YAML readers; "
                    + "expected \"\(barrier):\(limit)\" or {barrier: \(barrier), limit: \(limit)}")
            return nil
        }
        if let both = Self.bound(node) { return BarrierLimit(both: both) }
        if case .string(let text) = Self.resolve(node) {
            let parts = text.split(separator: ":", omittingEmptySubsequences: false).map { Self.bound(String($0)) }
            if parts.count == 2, let barrier = parts[0], let limit = parts[1] {
                return BarrierLimit(barrier: barrier, limit: limit)
            }
        }
        refuse(node.mark, path, "expected \(FieldType.bounds(equal: false).expectation), got \(Self.shown(node))")
        return nil
    }

    private mutating func boundsMapping(_ node: YAMLNode, _ path: String) -> BarrierLimit? {
        let before = mistakes.count
        var values: [String: Int64] = [:]
        let entries = entries(node, path) ?? []
        for entry in entries {
            let field = Self.join(path, entry.name)
            if !["barrier", "limit"].contains(entry.name) {
                refuse(entry.key, field, "unknown field; expected barrier and limit")
            } else if let bound = Self.bound(entry.value) {
                values[entry.name] = bound
            } else {
                refuse(entry.value.mark, field, "expected an integer from 0 or unlimited, got \(Self.shown(entry.value))")
            }
        }
        for name in ["barrier", "limit"] where !entries.contains(where: { $0.name == name }) {
            refuse(node.mark, path, "expected barrier and limit, got no \(name)")
        }
        guard mistakes.count == before, let barrier = values["barrier"], let limit = values["limit"] else { return nil }
        return BarrierLimit(barrier: barrier, limit: limit)
    }

    private static func bound(_ node: YAMLNode) -> Int64? {
        switch resolve(node) {
        case .integer(let number) where number >= 0: number
        case .string("unlimited"): BarrierLimit.unlimited
        default: nil
        }
    }

    /// One side of `barrier:limit`. A number too large for OpenVZ is OpenVZ's largest, which is no bound.
    private static func bound(_ text: String) -> Int64? {
        if text == "unlimited" { return BarrierLimit.unlimited }
        guard !text.hasPrefix("-"), case .integer(let number) = CoreScalar.resolvePlain(text) else { return nil }
        return number
    }

    private static func halves(_ text: String) -> (String, String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, bound(parts[0]) != nil, bound(parts[1]) != nil else { return ("240", "240") }
        return (parts[0], parts[1])
    }

    private static func text(_ bounds: BarrierLimit) -> String {
        func number(_ value: Int64) -> String { value == BarrierLimit.unlimited ? "unlimited" : String(value) }
        return "\(number(bounds.barrier)):\(number(bounds.limit))"
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

    private static func resolve(_ node: YAMLNode) -> CoreScalar? {
        guard case .scalar(let text, let plain) = node.content else { return nil }
        return CoreScalar(text, plain: plain, tag: node.tag)
    }

    private static func hasTag(_ node: YAMLNode, of type: String) -> Bool {
        node.tag == nil || node.tag == "!" || node.tag == CoreScalar.tagPrefix + type
    }

    /// What stands there, for "got …".
    private static func shown(_ node: YAMLNode) -> String {
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
