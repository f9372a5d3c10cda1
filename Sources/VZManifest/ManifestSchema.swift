internal import VZModel

/// The JSON Schemas of manifests, for editors and for checks away from the node.
public enum ManifestSchema {
    /// Draft-07 for one kind of document, made of the table of fields; the same text every time.
    ///
    /// It says what can be said about one value by itself. What several values or several documents say together (that swap needs ram,
    /// that names are unique, the consistency rules) is the parser's to check, and so are forms of text that take more than a regular
    /// expression: an IPv6 address, ranges that ascend, a length in bytes.
    public static func jsonSchema(of kind: ManifestKind = .container) -> String {
        let what =
            switch kind {
            case .container: "a container, in OpenVZ's own terms."
            case .profile: "what containers that name it start from."
            case .defaults: "what every container of the node starts from."
            }
        var members: [(String, JSON)] = [
            ("$schema", .string("http://json-schema.org/draft-07/schema#")),
            ("title", .string("\(kind.rawValue) manifest")),
            ("description", .string("One document of /etc/vz.d: \(what)")),
        ]
        members += group("", kind)
        return JSON.object(members).pretty() + "\n"
    }

    private static func group(_ path: String, _ kind: ManifestKind) -> [(String, JSON)] {
        let fields = (FieldTable.children[path] ?? []).filter { $0.kinds.contains(kind) }
        let required = fields.filter { $0.required && !$0.optionalIn.contains(kind) }
        var members: [(String, JSON)] = [("type", .string("object"))]
        if !required.isEmpty { members.append(("required", .array(required.map { .string($0.name) }))) }
        members.append(("properties", .object(fields.map { ($0.name, schema(of: $0, kind)) })))
        members.append(("additionalProperties", .bool(false)))
        return members
    }

    private static func schema(of field: Field, _ kind: ManifestKind) -> JSON {
        var members: [(String, JSON)] = [("title", .string(title(of: field))), ("description", .string(field.summary))]
        switch field.type {
        case .group: return .object(members + group(field.path, kind))
        case .records:
            members += [("type", .string("array")), ("items", .object(group("\(field.path)[]", kind)))]
        case .word where field.path == "kind": return .object(members + [("enum", .array([.string(kind.rawValue)]))])
        default: members += constraints(of: field.type)
        }
        if !field.required, let value = field.get(Draft()) { members.append(("default", json(value, of: field))) }
        return .object(members)
    }

    private static func title(of field: Field) -> String {
        let notes = [field.unit, field.openVZKey.map { "OpenVZ: \($0)" } ?? "", field.disruption?.rawValue ?? ""]
            .filter { !$0.isEmpty }
        return notes.isEmpty ? field.name : "\(field.name) (\(notes.joined(separator: "; ")))"
    }

    private static func constraints(of type: FieldType) -> [(String, JSON)] {
        switch type {
        case .group, .records: return []
        case .word(let words): return [("enum", .array(words.map { .string($0) }))]
        case .bool: return [("type", .string("boolean"))]
        case .integer(let range): return integer(from: range.lowerBound) + [("maximum", .integer(range.upperBound))]
        case .decimal(let range):
            return [
                ("type", .string("number")), ("minimum", .integer(Int(range.lowerBound))),
                ("maximum", .integer(Int(range.upperBound))),
            ]
        case .text(let rule): return text(rule)
        case .texts(let rule, let isSet): return list(rule, isSet: isSet)
        case .list(let first, let rest):
            return [
                ("type", .string("array")), ("minItems", .integer(1)),
                ("items", .array([.object(text(first))])), ("additionalItems", .object(text(rest))),
            ]
        case .inherited(let rule):
            return [("anyOf", .array([.object([("enum", .array([.string("inherit")]))]), .object(list(rule, isSet: true))]))]
        case .map(let names, let values):
            return [
                ("type", .string("object")), ("propertyNames", .object(text(names))),
                ("additionalProperties", .object(text(values))),
            ]
        case .size(let minimum, _): return size(minimum)
        case .bounds(let rule): return bounds(rule)
        case .duration: return [("type", .string("string")), pattern("^(0|[1-9][0-9]*)[smh]$")]
        }
    }

    private static func list(_ rule: TextRule, isSet: Bool) -> [(String, JSON)] {
        let items: [(String, JSON)] = [("type", .string("array")), ("items", .object(text(rule)))]
        guard isSet else { return items }
        let pairs = rule.words.filter { $0.hasSuffix(TextRule.off) }.compactMap { word in
            rule.opposite(of: word).map { [$0, word] }
        }
        let both = pairs.map { pair in
            JSON.object([("allOf", .array(pair.map { .object([("contains", .object([("const", .string($0))]))]) }))])
        }
        return items + [("uniqueItems", .bool(true))] + both.map { ("not", $0) }
    }

    private static func size(_ minimum: Int64) -> [(String, JSON)] {
        let size: [(String, JSON)] = [("type", .string("string")), pattern((minimum > 0 ? "^(?=.*[1-9])" : "^") + Size.pattern)]
        let bytes = integer(from: Int(minimum)) + [("maximum", .integer(Int(Size.largest)))]
        return [("anyOf", .array([.object(bytes), .object(size)]))]
    }

    private static func bounds(_ rule: BoundsRule) -> [(String, JSON)] {
        let number = "(0|[1-9][0-9]*)"
        let suffixed = "([0-9]+([Bb]|(\\.[0-9]+)?[KkMmGgTtPp]))"
        var parts = [number]
        var alone = [JSON.object(integer(from: 0))]
        if rule.unit != .items {
            parts.append(suffixed)
            alone.append(.object([("type", .string("string")), pattern("^\(suffixed)$")]))
        }
        if rule.isUnlimitedKnown {
            parts.append("unlimited")
            alone.append(.object([("enum", .array([.string("unlimited")]))]))
        }
        let part = "(" + parts.joined(separator: "|") + ")"
        let one = JSON.object([("anyOf", .array(alone))])
        let pair: [(String, JSON)] = [
            ("type", .string("object")), ("required", .array([.string(rule.lower), .string(rule.upper)])),
            ("properties", .object([(rule.lower, one), (rule.upper, one)])), ("additionalProperties", .bool(false)),
        ]
        let text: [(String, JSON)] = [("type", .string("string")), pattern("^\(part):\(part)$")]
        return [("anyOf", .array(alone + [.object(text), .object(pair)]))]
    }

    private static func integer(from minimum: Int) -> [(String, JSON)] {
        [("type", .string("integer")), ("minimum", .integer(minimum))]
    }

    /// Lengths are bytes to the parser and characters to JSON Schema: its bound is never the narrower one.
    private static func text(_ rule: TextRule) -> [(String, JSON)] {
        if !rule.words.isEmpty { return [("enum", .array(rule.words.map { .string($0) }))] }
        return [
            ("type", .string("string")), ("minLength", .integer(min(1, rule.length.lowerBound))),
            ("maxLength", .integer(rule.length.upperBound)), pattern(rule.pattern),
        ]
    }

    /// To some languages, Python among them, `$` is also before a line break at the end.
    private static func pattern(_ pattern: String) -> (String, JSON) {
        ("pattern", .string(pattern.hasSuffix("$") ? pattern + "(?!\\n)" : pattern))
    }

    private static func json(_ value: FieldValue, of field: Field) -> JSON {
        switch value {
        case .text(let text): .string(text)
        case .bool(let bool): .bool(bool)
        case .integer(let number): .integer(number)
        case .list(let list): .array(list.map { .string($0) })
        case .map(let map): .object(map.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) })
        case .records: .array([])
        case .size(0): .integer(0)
        case .decimal, .size, .duration, .bounds, .lowerBound, .upperBound: .string(YAMLText.flow(value, of: field))
        }
    }
}
