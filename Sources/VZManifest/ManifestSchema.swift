internal import VZModel

/// The JSON Schema of manifests, for editors and for checks away from the node.
public enum ManifestSchema {
    /// Draft-07, made of the table of fields; the same text every time.
    ///
    /// It says what can be said about one value. That a barrier equals its limit, that swap needs ram, and that names are unique is
    /// the parser's to check.
    public static func jsonSchema() -> String {
        var members: [(String, JSON)] = [
            ("$schema", .string("http://json-schema.org/draft-07/schema#")),
            ("title", .string("Container manifest")),
            ("description", .string("One document of /etc/vz.d: a container, in OpenVZ's own terms.")),
        ]
        members += group("")
        return JSON.object(members).pretty() + "\n"
    }

    private static func group(_ path: String) -> [(String, JSON)] {
        let fields = FieldTable.children[path] ?? []
        let required = fields.filter(\.required)
        var members: [(String, JSON)] = [("type", .string("object"))]
        if !required.isEmpty { members.append(("required", .array(required.map { .string($0.name) }))) }
        members.append(("properties", .object(fields.map { ($0.name, schema(of: $0)) })))
        members.append(("additionalProperties", .bool(false)))
        return members
    }

    private static func schema(of field: Field) -> JSON {
        var members: [(String, JSON)] = [("title", .string(title(of: field))), ("description", .string(field.summary))]
        if case .group = field.type { return .object(members + group(field.path)) }
        members += constraints(of: field.type)
        if !field.required, let value = field.get(Draft()) { members.append(("default", json(value))) }
        return .object(members)
    }

    private static func title(of field: Field) -> String {
        let notes = [field.unit, field.openVZKey.map { "OpenVZ: \($0)" } ?? "", field.disruption?.rawValue ?? ""]
            .filter { !$0.isEmpty }
        return notes.isEmpty ? field.name : "\(field.name) (\(notes.joined(separator: "; ")))"
    }

    private static func constraints(of type: FieldType) -> [(String, JSON)] {
        switch type {
        case .group: return [("type", .string("object"))]
        case .word(let words): return [("enum", .array(words.map { .string($0) }))]
        case .integer(let range): return integer(from: range.lowerBound) + [("maximum", .integer(range.upperBound))]
        case .text(let rule): return text(rule)
        case .list(let first, let rest):
            return [
                ("type", .string("array")), ("minItems", .integer(1)),
                ("items", .array([.object(text(first))])), ("additionalItems", .object(text(rest))),
            ]
        case .map(let names, let values):
            return [
                ("type", .string("object")), ("propertyNames", .object(text(names))),
                ("additionalProperties", .object(text(values))),
            ]
        case .size(let minimum):
            let size: [(String, JSON)] = [
                ("type", .string("string")), ("pattern", .string((minimum > 0 ? "^(?=.*[1-9])" : "^") + Size.pattern)),
            ]
            return [("anyOf", .array([.object(integer(from: Int(minimum))), .object(size)]))]
        case .bounds:
            let bound = JSON.object([("anyOf", .array([.object(integer(from: 0)), unlimited]))])
            let part = "(0|[1-9][0-9]*|unlimited)"
            let pair: [(String, JSON)] = [
                ("type", .string("object")), ("required", .array([.string("barrier"), .string("limit")])),
                ("properties", .object([("barrier", bound), ("limit", bound)])), ("additionalProperties", .bool(false)),
            ]
            let text: [(String, JSON)] = [("type", .string("string")), ("pattern", .string("^\(part):\(part)$"))]
            return [("anyOf", .array([.object(integer(from: 0)), unlimited, .object(text), .object(pair)]))]
        }
    }

    private static let unlimited = JSON.object([("enum", .array([.string("unlimited")]))])

    private static func integer(from minimum: Int) -> [(String, JSON)] {
        [("type", .string("integer")), ("minimum", .integer(minimum))]
    }

    /// Lengths are bytes to the parser and characters to JSON Schema: its bound is never the narrower one.
    private static func text(_ rule: TextRule) -> [(String, JSON)] {
        [
            ("type", .string("string")), ("minLength", .integer(min(1, rule.length.lowerBound))),
            ("maxLength", .integer(rule.length.upperBound)), ("pattern", .string(rule.pattern)),
        ]
    }

    private static func json(_ value: FieldValue) -> JSON {
        switch value {
        case .text(let text): .string(text)
        case .integer(let number): .integer(number)
        case .list(let list): .array(list.map { .string($0) })
        case .map(let map): .object(map.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) })
        case .size, .bounds: .string(YAMLText.flow(value))
        }
    }
}

/// JSON whose members keep their order.
indirect enum JSON {
    case object([(String, JSON)])
    case array([JSON])
    case string(String)
    case integer(Int)
    case bool(Bool)

    func pretty(_ indent: String = "") -> String {
        let inner = indent + "  "
        switch self {
        case .object(let members):
            if members.isEmpty { return "{}" }
            let lines = members.map { "\(inner)\(Self.quoted($0.0)): \($0.1.pretty(inner))" }
            return "{\n" + lines.joined(separator: ",\n") + "\n\(indent)}"
        case .array(let items):
            let isShort = items.allSatisfy { if case .object = $0 { false } else { true } }
            if isShort { return "[" + items.map { $0.pretty(inner) }.joined(separator: ", ") + "]" }
            return "[\n" + items.map { inner + $0.pretty(inner) }.joined(separator: ",\n") + "\n\(indent)]"
        case .string(let text): return Self.quoted(text)
        case .integer(let number): return String(number)
        case .bool(let bool): return bool ? "true" : "false"
        }
    }

    private static func quoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": out += "\\\(scalar)"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out + "\""
    }
}
