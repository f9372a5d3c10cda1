internal import VZModel

// Two bounds of one thing: beancounters and disk quotas.
extension FieldDecoder {
    /// `.bounds`, or in a drop-in one of the two alone.
    mutating func bounds(_ node: YAMLNode, _ rule: BoundsRule, _ path: String) -> FieldValue? {
        if case .mapping = node.content { return boundsMapping(node, rule, path) }
        if case .scalar(let text, let plain) = node.content, node.tag == nil, plain, text.contains(":") {
            let (lower, upper) = Self.halves(text, rule)
            refuse(
                node.mark, path,
                "\(Quoting.visible(String(text.prefix(60)))) without quotation marks is a number to some YAML readers; "
                    + "expected \"\(lower):\(upper)\" or {\(rule.lower): \(lower), \(rule.upper): \(upper)}")
            return nil
        }
        if let both = Self.bound(node, rule) { return .bounds(BarrierLimit(both: both)) }
        if case .string(let text) = Self.resolve(node) {
            let parts = text.split(separator: ":", omittingEmptySubsequences: false).map { Self.bound(String($0), rule) }
            if parts.count == 2, let lower = parts[0], let upper = parts[1] {
                return .bounds(BarrierLimit(barrier: lower, limit: upper))
            }
        }
        refuse(node.mark, path, "expected \(rule.expectation), got \(Self.shown(node))")
        return nil
    }

    private mutating func boundsMapping(_ node: YAMLNode, _ rule: BoundsRule, _ path: String) -> FieldValue? {
        let before = mistakes.count
        var values: [String: Int64] = [:]
        let entries = entries(node, path) ?? []
        for entry in entries {
            let field = Self.join(path, entry.name)
            if ![rule.lower, rule.upper].contains(entry.name) {
                refuse(entry.key, field, "unknown field; expected \(rule.lower) and \(rule.upper)")
            } else if let bound = Self.bound(entry.value, rule) {
                values[entry.name] = bound
            } else {
                refuse(entry.value.mark, field, "expected \(rule.partExpectation), got \(Self.shown(entry.value))")
            }
        }
        if isPatch, mistakes.count == before, values.count == 1 {
            return values[rule.lower].map { .lowerBound($0) } ?? values[rule.upper].map { .upperBound($0) }
        }
        for name in [rule.lower, rule.upper] where !entries.contains(where: { $0.name == name }) {
            refuse(node.mark, path, "expected \(rule.lower) and \(rule.upper), got no \(name)")
        }
        guard mistakes.count == before, let lower = values[rule.lower], let upper = values[rule.upper] else { return nil }
        return .bounds(BarrierLimit(barrier: lower, limit: upper))
    }

    private static func bound(_ node: YAMLNode, _ rule: BoundsRule) -> Int64? {
        switch resolve(node) {
        case .integer(let number) where number >= 0: number
        case .string("unlimited") where rule.isUnlimitedKnown: BarrierLimit.unlimited
        case .string(let text): size(text, rule)
        default: nil
        }
    }

    /// One side of `barrier:limit`. A number too large for OpenVZ is OpenVZ's largest, which is no bound.
    private static func bound(_ text: String, _ rule: BoundsRule) -> Int64? {
        if text == "unlimited", rule.isUnlimitedKnown { return BarrierLimit.unlimited }
        if !text.isEmpty, text.utf8.allSatisfy(TextRule.isDigit) {
            return text.hasPrefix("0") && text != "0" ? nil : CoreScalar.decimal(text.utf8)
        }
        return size(text, rule)
    }

    /// A number with a suffix, in the rule's unit; `nil` for items, which have none (`openvz.md` 6.3).
    private static func size(_ text: String, _ rule: BoundsRule) -> Int64? {
        guard rule.unit != .items, let last = text.utf8.last, !TextRule.isDigit(last), let bytes = try? Size.parse(text) else {
            return nil
        }
        return rule.unit == .bytes ? bytes : Size.roundedToPages(bytes) / Size.page
    }

    private static func halves(_ text: String, _ rule: BoundsRule) -> (String, String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, bound(parts[0], rule) != nil, bound(parts[1], rule) != nil else { return ("240", "240") }
        return (parts[0], parts[1])
    }
}
