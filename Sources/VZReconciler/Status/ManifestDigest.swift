internal import VZManifest
public import VZModel

/// A short name for what a manifest says, whatever its spelling: two that say the same have the same.
public enum ManifestDigest {
    /// 16 hexadecimal digits: FNV-1a, 64 bits, of the manifest in its canonical spelling. Against accidents, not against attackers.
    ///
    /// Costs as much as writing the manifest: to be taken once for each that is accepted.
    public static func of(_ spec: ContainerSpec) -> String {
        var digest = Digest()
        digest.add(ManifestWriter.yaml(spec).utf8)
        return digest.text
    }

    /// What the manifests in these directories say of one container, as the daemon will read them.
    public enum Declared: Equatable, Sendable {
        /// A valid manifest of this digest.
        case valid(String)
        /// There is one, and it is not valid.
        case invalid
        /// There is none.
        case missing
        /// The directories cannot be read by this process.
        case unknown
    }

    /// Reads all manifests: what one says depends on profiles, defaults and drop-ins.
    /// - Parameters:
    ///   - name: of the container.
    ///   - ctid: its number when it is known; a manifest that names this one is its as well.
    ///   - directories: from low to high priority.
    public static func declared(_ name: String, ctid: ContainerID? = nil, in directories: [String]) -> Declared {
        let reading = ManifestDirectory(paths: directories).read()
        let isReadable = reading.conditions.values.allSatisfy { condition in
            if case .unavailable = condition { false } else { true }
        }
        let set = ManifestSet(reading.files.map(ManifestParser.parse))
        let document = set.documents.first { $0.spec.name == name || (ctid != nil && $0.spec.ctid == ctid) }
        guard isReadable, reading.problems.isEmpty else { return .unknown }
        if let document { return .valid(of(document.spec)) }
        if set.rejected[name] != nil { return .invalid }
        // A file with a mistake may be the one that declares it.
        return set.diagnostics.contains { $0.severity == .error } ? .unknown : .missing
    }
}
