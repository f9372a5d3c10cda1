public import VZModel

/// One valid `kind: Container` document: what it says, and where it says it.
public struct ManifestDocument: Equatable, Sendable {
    /// What the container shall be, every default filled in.
    public let spec: ContainerSpec
    /// Where the document begins.
    public let location: SourceLocation
    /// `metadata.labels`.
    public let labels: [String: String]
    /// The name of the profile that the container starts from.
    public let profile: String?
    /// Where the value of each field that is set stands, by field path (`spec.cpuunits`, `spec.env.TERM`): in the document, a drop-in,
    /// the profile or the defaults. A field that is not here has its built-in value.
    public let fieldLocations: [String: SourceLocation]

    public init(
        spec: ContainerSpec, location: SourceLocation, labels: [String: String] = [:], profile: String? = nil,
        fieldLocations: [String: SourceLocation] = [:]
    ) {
        self.spec = spec
        self.location = location
        self.labels = labels
        self.profile = profile
        self.fieldLocations = fieldLocations
    }
}

/// A manifest as it lies on the disk, with its drop-ins.
public struct ManifestFile: Equatable, Sendable {
    /// The directory as it was given, a slash, and the file's name.
    public var path: String
    public var bytes: [UInt8]
    /// Of `web.yaml` the manifests in `web.yaml.d`, in the order in which they are merged into its documents.
    public var dropIns: [ManifestFile]

    public init(path: String, bytes: [UInt8], dropIns: [ManifestFile] = []) {
        self.path = path
        self.bytes = bytes
        self.dropIns = dropIns
    }
}

/// What one file says by itself, its drop-ins included: its containers, and every mistake.
///
/// What profiles, defaults and other files add is `ManifestSet`'s to tell.
public struct ParsedManifest: Sendable {
    /// The path as it was given to the parser.
    public let file: String
    /// The containers without a mistake, in the order of the file, without what a profile or the defaults give them.
    public let documents: [ManifestDocument]
    /// Everything there is to tell, by file and place. Without errors exactly when the whole file is valid.
    public let diagnostics: [Diagnostic]
    /// `metadata.name` of each container that has a mistake, as far as it can be read.
    ///
    /// A name may be missing here: a file that breaks a bound on the input (size, documents, nodes, alias expansions) or is no text
    /// gives no documents, and only those names that stand before the fault.
    public let rejectedNames: [String]

    /// Every document that could be read as far as its kind and name, in order.
    let declarations: [Declaration]
    /// Mistakes that lie in the file itself, whatever other files say.
    let ownDiagnostics: [Diagnostic]
    /// The lines of the file and of its drop-ins, by path.
    let texts: [String: SourceText]
}

/// One document as its file gives it.
struct Declaration: Sendable {
    var kind: ManifestKind
    var name: String
    /// Where the document begins.
    var location: SourceLocation
    /// What it says, its drop-ins merged into it.
    var layer: Layer
    /// Whether it has a mistake of its own, or one of its drop-ins has.
    var isFaulty = false
    /// What it comes to when no profile and no defaults are there.
    var alone: ComposedDocument

    /// The profile that it names, and where.
    var profile: String? {
        if case .text(let name) = layer.values["spec.profile"] { return name }
        return nil
    }

    /// Whether a drop-in takes away the profile, also that of the defaults.
    var deletesProfile: Bool {
        layer.deletions.contains { if case .field("spec.profile") = $0 { true } else { false } }
    }

    func place(_ field: String) -> SourceLocation { layer.places[field] ?? location }
}

/// A document with everything that it starts from, or why it is none.
struct ComposedDocument: Sendable {
    /// `nil` when `diagnostics` holds an error.
    var document: ManifestDocument?
    var diagnostics: [Diagnostic] = []
}
