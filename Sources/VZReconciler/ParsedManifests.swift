internal import VZManifest
internal import VZModel
internal import VZPlan

/// What was made of a reading's bytes.
struct ParsedManifests {
    var input: Acceptance.Input
    /// Where the `kind: Defaults` document is.
    var defaultsFile: String?
    var diagnostics: [String]
    var warnings: [String]
    /// Each file that decides what shall be, drop-ins among them, with the digest of its bytes.
    var digests: [PlanDocument.Input]

    /// One file and its drop-ins.
    struct File: Sendable {
        var manifest: ParsedManifest
        var digests: [PlanDocument.Input]

        init(_ file: ManifestFile) {
            manifest = ManifestParser.parse(file)
            digests = ([file] + file.dropIns).map { part in
                var digest = Digest()
                digest.add(part.bytes)
                return PlanDocument.Input(kind: "manifest", name: part.path, digest: digest.text)
            }
        }
    }

    /// - Parameter partial: the reading is not of all that the node has, so that nothing is removed because it is not there.
    init(_ files: [File], of reading: Reading, partial: Bool) {
        let set = ManifestSet(files.map(\.manifest))
        let errors = set.diagnostics.filter { $0.severity == .error }
        let owners = Dictionary(
            reading.files.flatMap { file in file.dropIns.map { ($0.path, file.path) } }, uniquingKeysWith: { first, _ in first })
        var faulty: [String: String] = [:]
        for diagnostic in errors.reversed() {
            // A mistake in a drop-in is one of the file that it is merged into.
            faulty[owners[diagnostic.location.file] ?? diagnostic.location.file] = "\(diagnostic)"
        }
        for problem in reading.problems { faulty[problem.path] = "\(problem)" }
        input = Acceptance.Input(
            documents: set.documents, faulty: faulty, rejected: set.rejected,
            files: Set(reading.files.map(\.path) + reading.problems.map(\.path)),
            removal: { partial ? .unknown("other manifests were asked for") : reading.removal(of: $0) })
        input.nameless = set.nameless.intersection(faulty.keys).union(reading.problems.map(\.path))
        defaultsFile = set.defaultsFile
        digests = files.flatMap(\.digests)
        for problem in reading.problems + reading.unavailable {
            var digest = Digest()
            digest.add(problem.message.utf8)
            digests.append(PlanDocument.Input(kind: "manifest", name: problem.path, digest: digest.text))
        }
        var generation = Digest()
        for file in digests {
            generation.add(part: file.name)
            generation.add(part: file.digest)
        }
        input.generation = String(generation.text.prefix(12))
        diagnostics =
            errors.map(\.description) + reading.problems.map(\.description)
            + reading.unavailable.map { "\($0): no container is removed while this is so" }
        warnings = set.diagnostics.filter { $0.severity != .error }.map(\.description) + reading.orphans.map(\.description)
    }
}
