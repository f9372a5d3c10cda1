internal import VZIsolation
public import VZManifest
public import VZModel

/// What the node must remember of a container because nothing in the kernel or in a manifest tells it.
public struct ContainerRecord: Equatable, Sendable, Codable {
    public var ctid: ContainerID
    public var name: String
    /// First of its 65536 user and group ids on the host.
    public var idBase: UInt32
    /// The last manifest that was accepted, complete: it stays in force when its file breaks.
    public var accepted: ContainerSpec
    /// Where that manifest stood.
    public var source: SourceLocation
    /// Its manifest was removed: the container is to be stopped, its data kept.
    public var retired: Bool
    /// The template that the root was made from.
    public var rootTemplate: String?

    public init(
        ctid: ContainerID, name: String, idBase: UInt32, accepted: ContainerSpec, source: SourceLocation, retired: Bool = false,
        rootTemplate: String? = nil
    ) {
        self.ctid = ctid
        self.name = name
        self.idBase = idBase
        self.accepted = accepted
        self.source = source
        self.retired = retired
        self.rootTemplate = rootTemplate
    }
}

extension ContainerRecord {
    private enum Key: String, CodingKey {
        case ctid, name, idBase, manifest, source, retired, rootTemplate
    }

    /// The accepted manifest is kept as a manifest: another version of vz reads it as it reads any, with its own defaults for fields
    /// that were not there yet. Only the consistency rules are not asked again: what was accepted stays so.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        try container.encode(ctid, forKey: .ctid)
        try container.encode(name, forKey: .name)
        try container.encode(idBase, forKey: .idBase)
        try container.encode(ManifestWriter.yaml(accepted), forKey: .manifest)
        try container.encode(source, forKey: .source)
        try container.encode(retired, forKey: .retired)
        try container.encodeIfPresent(rootTemplate, forKey: .rootTemplate)
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        let text = try container.decode(String.self, forKey: .manifest)
        let parsed = ManifestParser.parse(ManifestFile(path: "record", bytes: Array(text.utf8)), askingRules: false)
        guard let document = parsed.documents.first else {
            throw DecodingError.dataCorruptedError(
                forKey: .manifest, in: container, debugDescription: parsed.diagnostics.first?.description ?? "no document")
        }
        self.init(
            ctid: try container.decode(ContainerID.self, forKey: .ctid), name: try container.decode(String.self, forKey: .name),
            idBase: try container.decode(UInt32.self, forKey: .idBase), accepted: document.spec,
            source: try container.decode(SourceLocation.self, forKey: .source),
            retired: try container.decode(Bool.self, forKey: .retired),
            rootTemplate: try container.decodeIfPresent(String.self, forKey: .rootTemplate))
    }
}

/// Ranges of 65536 ids for containers: 0x70000000 and up, above what distributions and systemd give to users, services and
/// containers of their own, and below the range that they reserve at the end (systemd's UIDS-GIDS document).
enum IDRange {
    static let first: UInt32 = 0x7000_0000
    static let count: UInt32 = 4092

    /// The lowest range that nobody has, of those that begin at `from` or above; `nil` when all are taken.
    static func allocate(taken: Set<UInt32>, from: UInt32 = first) -> UInt32? {
        let passed = (from - first) / ContainerStart.idCount
        return (passed..<count).lazy.map { first + $0 * ContainerStart.idCount }.first { !taken.contains($0) }
    }
}
