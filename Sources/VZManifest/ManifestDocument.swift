public import VZModel

/// One valid `kind: Container` document: what it says, and where it says it.
public struct ManifestDocument: Equatable, Sendable {
    /// What the container shall be, every default filled in.
    public let spec: ContainerSpec
    /// Where the document begins.
    public let location: SourceLocation
    /// `metadata.labels`.
    public let labels: [String: String]
    /// Where the value of each field that the document sets stands, by field path (`spec.cpuunits`).
    public let fieldLocations: [String: SourceLocation]

    public init(
        spec: ContainerSpec, location: SourceLocation, labels: [String: String] = [:],
        fieldLocations: [String: SourceLocation] = [:]
    ) {
        self.spec = spec
        self.location = location
        self.labels = labels
        self.fieldLocations = fieldLocations
    }
}

/// What one file says: its valid documents, and every mistake in the others.
public struct ParsedManifest: Sendable {
    /// The path as it was given to the parser.
    public let file: String
    /// The documents without a mistake, in the order of the file.
    public let documents: [ManifestDocument]
    /// Every mistake, in the order of the file. Empty exactly when the whole file is valid.
    public let diagnostics: [Diagnostic]
    /// `metadata.name` of each document that has a mistake, as far as it can be read.
    ///
    /// A name may be missing here: a file that breaks a bound on the input (size, documents, nodes, alias expansions) or is no text
    /// gives no documents, and only those names that stand before the fault.
    public let rejectedNames: [String]

    public init(file: String, documents: [ManifestDocument], diagnostics: [Diagnostic], rejectedNames: [String] = []) {
        self.file = file
        self.documents = documents
        self.diagnostics = diagnostics
        self.rejectedNames = rejectedNames
    }
}
