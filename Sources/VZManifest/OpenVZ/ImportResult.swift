public import VZModel

/// What became of an OpenVZ configuration: the manifest, and an account of every line.
public struct ImportResult: Sendable {
    /// A key that the manifest says now.
    public struct Mapped: Equatable, Sendable {
        public let key: String
        public let location: SourceLocation
        /// Path of the field, such as `spec.cpuunits`.
        public let field: String
    }

    /// A line that is not in the manifest, or not as it stood there, and why.
    public struct Note: Equatable, Sendable, CustomStringConvertible {
        public let key: String
        public let location: SourceLocation
        public let reason: String

        public var description: String { "\(location): note: \(Quoting.visible(key)): \(reason)" }
    }

    public let kind: ManifestKind
    /// What the manifest says. Of a profile the name is the profile's.
    public let spec: ContainerSpec
    /// The text of the manifest; `nil` when nothing could be made of the file.
    public let manifest: String?
    public let mapped: [Mapped]
    public let notes: [Note]
    /// Values that are wrong, each at its place; the rest of the file is taken over without them.
    public let diagnostics: [Diagnostic]
    /// OpenVZ's own verdict on the file (vzcfgvalidate), but for its rules about the host.
    public let verdict: [Finding]
    /// The errors that hold of the manifest too, or that only its administrator can judge: parameters that OpenVZ demands and that
    /// are missing. The other errors of `verdict` are mended by the way from the file to the manifest.
    public let remaining: [Finding]
    /// Where each key stands, by its present name.
    let places: [String: SourceLocation]

    /// Whether the manifest says everything right that the file says and a manifest can say.
    public var isClean: Bool { manifest != nil && diagnostics.isEmpty && !remaining.contains { $0.severity == .error } }

    /// Where the value that breaks a rule stands; `nil` when it is missing.
    public func location(of finding: Finding) -> SourceLocation? {
        FieldTable.byPath[finding.field]?.openVZKey.flatMap { places[$0] }
    }

    /// The exit code of OpenVZ's vzcfgvalidate: 2 with errors or warnings, else 0.
    public var validatorExit: Int32 { verdict.contains { $0.severity != .advice } ? 2 : 0 }
}
