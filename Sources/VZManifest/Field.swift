public import VZModel

/// One field of a manifest: everything that the parser, the writer, the JSON Schema and `vzctl explain` know about it.
///
/// A field is added by one entry in the parts of `FieldTable.all`.
public final class Field: Sendable {
    /// Where it stands: `spec.cpuunits`. A field of each mapping in a list has `[]` before its name: `spec.network.veth[].mac`.
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
    /// The kinds of documents that need not have it all the same.
    let optionalIn: Set<ManifestKind>
    /// The kinds of documents that may have it.
    public let kinds: Set<ManifestKind>
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
    public var defaultText: String? { required ? nil : get(Draft()).map { YAMLText.flow($0, of: self) } }

    /// The documentation of the field, in a few lines.
    public var explanation: String {
        let table = facts.map { name, text in "  " + name + String(repeating: " ", count: 10 - name.count) + text }
        return ([path] + table + ["", "  " + summary]).joined(separator: "\n")
    }

    /// What there is to say in a word or two, each with its name.
    var facts: [(name: String, text: String)] {
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
        if kinds != Set(ManifestKind.allCases) {
            rows.append(("in", ManifestKind.allCases.filter(kinds.contains).map(\.rawValue).joined(separator: ", ")))
        }
        return rows
    }

    /// What every kind of field has besides its path and its place in the draft.
    struct About {
        var unit = ""
        var openVZ: String?
        var disruption: Disruption?
        var required = false
        var optionalIn: Set<ManifestKind> = []
        var kinds = Set(ManifestKind.allCases)
        var summary: String
    }

    init(
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
        self.optionalIn = about.optionalIn
        self.kinds = about.kinds
        self.summary = about.summary
        self.put = put
        self.get = get
    }
}

/// What a document declares.
public enum ManifestKind: String, Sendable, Hashable, CaseIterable {
    /// A container.
    case container = "Container"
    /// What containers that name it start from.
    case profile = "Profile"
    /// What every container of the node starts from; there is one such document at most.
    case defaults = "Defaults"
}

/// A document under construction: what the fields of the table are put into and taken from.
struct Draft: Sendable {
    var kind = ManifestKind.container
    var spec = ContainerSpec(name: "")
    var labels: [String: String] = [:]
    /// The name of the profile that the document asks for.
    var profile: String?
    /// One element of a list of mappings.
    var interface = EthernetInterface(name: "")
    var mount = MountSpec(source: "", target: "")
}
