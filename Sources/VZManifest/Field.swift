public import VZModel

/// One field of a manifest: everything that the parser, the writer, the JSON Schema and `vzctl explain` know about it.
///
/// A field is added by one entry in `FieldTable.all`.
public struct Field: Sendable {
    /// Where it stands: `spec.cpuunits`.
    public let path: String
    /// The last part of the path: `cpuunits`.
    public let name: String
    /// The path of the group that it stands in; empty for the document itself.
    let parent: String
    /// What it counts: `percent of one CPU`; empty when it counts nothing.
    public let unit: String
    /// OpenVZ's key in `CTID.conf`; `nil` when OpenVZ has none.
    public let openVZKey: String?
    /// `nil` for what is no setting of the running container: names, groups, the wanted state.
    public let disruption: Disruption?
    /// Whether a document must have it.
    public let required: Bool
    /// What it means, and what leaving it out means, in one or two sentences.
    public let summary: String

    let type: FieldType
    /// Puts a decoded value of `type` where it belongs.
    let put: @Sendable (inout Draft, FieldValue) -> Void
    /// The value again; `nil` when there is nothing to say.
    let get: @Sendable (Draft) -> FieldValue?

    /// What may stand there: `integer 8…500000`.
    public var typeDescription: String { type.description }

    /// The value when the field is left out, as a manifest spells it; `nil` when that is no value that could be written.
    public var defaultText: String? { required ? nil : get(Draft()).map { YAMLText.flow($0) } }

    /// The documentation of the field, in a few lines.
    public var explanation: String {
        var rows = [("type", typeDescription)]
        if !unit.isEmpty { rows.append(("unit", unit)) }
        if required { rows.append(("default", "none: must be given")) }
        if let defaultText { rows.append(("default", defaultText)) }
        if let openVZKey { rows.append(("OpenVZ", openVZKey)) }
        switch disruption {
        case .live: rows.append(("change", "live: takes effect at once"))
        case .restart: rows.append(("change", "restart: takes effect at the next start"))
        case .recreate: rows.append(("change", "recreate: takes effect with a new root only"))
        case nil: break
        }
        let table = rows.map { name, text in "  " + name + String(repeating: " ", count: 10 - name.count) + text }
        return ([path] + table + ["", "  " + summary]).joined(separator: "\n")
    }
}

/// A document under construction: what the fields of the table are put into and taken from.
struct Draft: Sendable {
    var spec = ContainerSpec(name: "")
    var labels: [String: String] = [:]
}

extension Field {
    typealias Path<Value> = any WritableKeyPath<Draft, Value> & Sendable

    /// What every kind of field has besides its path and its place in the draft.
    struct About {
        var unit = ""
        var openVZ: String?
        var disruption: Disruption?
        var required = false
        var summary: String
    }

    private init(
        _ path: String, _ type: FieldType, _ about: About, put: @escaping @Sendable (inout Draft, FieldValue) -> Void,
        get: @escaping @Sendable (Draft) -> FieldValue?
    ) {
        let parts = path.split(separator: ".")
        self.path = path
        self.name = String(parts.last ?? "")
        self.parent = parts.dropLast().joined(separator: ".")
        self.type = type
        self.unit = about.unit
        self.openVZKey = about.openVZ
        self.disruption = about.disruption
        self.required = about.required
        self.summary = about.summary
        self.put = put
        self.get = get
    }

    /// A mapping that other entries of the table stand in.
    static func group(_ path: String, _ about: About) -> Field {
        Field(path, .group, about, put: { _, _ in }, get: { _ in nil })
    }

    /// A word that is always the same.
    static func constant(_ path: String, _ word: String, _ about: About) -> Field {
        Field(path, .word([word]), about, put: { _, _ in }, get: { _ in .text(word) })
    }

    static func word<Value: RawRepresentable<String> & CaseIterable & SendableMetatype>(
        _ path: String, _ place: Path<Value>, _ about: About
    ) -> Field {
        Field(path, .word(Value.allCases.map(\.rawValue)), about) { draft, value in
            if case .text(let text) = value, let word = Value(rawValue: text) { draft[keyPath: place] = word }
        } get: { draft in
            .text(draft[keyPath: place].rawValue)
        }
    }

    static func integer(_ path: String, _ place: Path<Int>, _ range: ClosedRange<Int>, _ about: About) -> Field {
        Field(path, .integer(range), about) { draft, value in
            if case .integer(let number) = value { draft[keyPath: place] = number }
        } get: { draft in
            .integer(draft[keyPath: place])
        }
    }

    static func ctid(_ path: String, _ place: Path<ContainerID?>, _ about: About) -> Field {
        Field(path, .integer(ContainerID.range), about) { draft, value in
            if case .integer(let number) = value { draft[keyPath: place] = ContainerID(number) }
        } get: { draft in
            draft[keyPath: place].map { .integer($0.number) }
        }
    }

    static func text(_ path: String, _ place: Path<String>, _ rule: TextRule, _ about: About) -> Field {
        Field(path, .text(rule), about) { draft, value in
            if case .text(let text) = value { draft[keyPath: place] = text }
        } get: { draft in
            .text(draft[keyPath: place])
        }
    }

    static func text(_ path: String, _ place: Path<String?>, _ rule: TextRule, _ about: About) -> Field {
        Field(path, .text(rule), about) { draft, value in
            if case .text(let text) = value { draft[keyPath: place] = text }
        } get: { draft in
            draft[keyPath: place].map { .text($0) }
        }
    }

    /// A list that is never empty; its first element may have a rule of its own.
    static func list(
        _ path: String, _ place: Path<[String]>, first: TextRule, rest: TextRule, _ about: About
    ) -> Field {
        Field(path, .list(first: first, rest: rest), about) { draft, value in
            if case .list(let list) = value { draft[keyPath: place] = list }
        } get: { draft in
            .list(draft[keyPath: place])
        }
    }

    static func map(
        _ path: String, _ place: Path<[String: String]>, names: TextRule, values: TextRule, _ about: About
    ) -> Field {
        Field(path, .map(names: names, values: values), about) { draft, value in
            if case .map(let map) = value { draft[keyPath: place] = map }
        } get: { draft in
            .map(draft[keyPath: place])
        }
    }

    /// Bytes of memory, rounded up to pages.
    static func size(_ path: String, _ place: Path<Int64?>, minimum: Int64, _ about: About) -> Field {
        Field(path, .size(minimum: minimum), about) { draft, value in
            if case .size(let bytes) = value { draft[keyPath: place] = bytes }
        } get: { draft in
            draft[keyPath: place].map { .size($0) }
        }
    }

    /// One of OpenVZ's user beancounters. Its default is to be left out, which is no bound.
    static func beancounter(_ beancounter: Beancounter, equal: Bool, _ about: About) -> Field {
        Field("spec.beancounters.\(beancounter.rawValue)", .bounds(equal: equal), about) { draft, value in
            if case .bounds(let bounds) = value { draft.spec.beancounters[beancounter] = bounds }
        } get: { draft in
            draft.spec.beancounters[beancounter].map { .bounds($0) }
        }
    }
}
