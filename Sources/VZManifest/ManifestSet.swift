internal import VZModel

/// What several files say together.
public struct ManifestSet: Sendable {
    /// The valid containers of all files, complete, by name.
    public private(set) var documents: [ManifestDocument] = []
    /// How many valid profiles and defaults there are.
    public private(set) var baseCount = 0
    /// Everything there is to tell about all files, by place. An error refuses the document that it lies in.
    public private(set) var diagnostics: [Diagnostic] = []
    /// Why there is no valid container of a name that some document declares, by name.
    public private(set) var rejected: [String: String] = [:]
    /// The files with a document whose name cannot be read: it may be anybody's.
    public private(set) var nameless: Set<String> = []
    /// The file with the `kind: Defaults` document that every container starts from, valid or not; `nil` when none is to be seen.
    public private(set) var defaultsFile: String?

    /// The valid containers of all files, by name, and everything there is to tell, by place.
    public static func check(_ parsed: [ParsedManifest]) -> (valid: [ManifestDocument], diagnostics: [Diagnostic]) {
        let set = ManifestSet(parsed)
        return (set.documents, set.diagnostics)
    }

    /// Reads files with their drop-ins and puts together what they say.
    public static func compose(_ files: [ManifestFile]) -> ManifestSet { ManifestSet(files.map(ManifestParser.parse)) }

    /// Puts together what files say: built-in < `kind: Defaults` < `kind: Profile` < document < drop-ins.
    ///
    /// A name and a CTID may stand in one container only, a profile's name in one profile, and `Defaults` in one document. A clash makes
    /// *each* document that takes part in it invalid, and each is told the other's place; a container whose name also stands in a
    /// document with mistakes is invalid too, so that mending that one does not break this one. So is a container whose profile, or
    /// whose defaults, cannot be used.
    public init(_ parsed: [ParsedManifest]) {
        var composer = SetComposer(parsed)
        composer.composeAll()
        composer.refuseClashes()
        documents = composer.valid.sorted { $0.spec.name < $1.spec.name }
        if !composer.diagnostics.isEmpty {
            let texts = parsed.reduce(into: [:]) { $0.merge($1.texts) { first, _ in first } }
            diagnostics = composer.diagnostics.map { $0.showing(texts[$0.location.file]?.line($0.location.line)) }
                .sorted(by: Diagnostic.inOrder)
        }
        rejected = composer.rejected
        baseCount = composer.baseCount
        for file in parsed {
            let containers = file.declarations.filter { $0.kind == .container }
            let isBroken = file.declarations.isEmpty && file.ownDiagnostics.contains { $0.severity == .error }
            if isBroken || containers.contains(where: \.name.isEmpty) { nameless.insert(file.file) }
            if let place = file.declarations.first(where: { $0.kind == .defaults })?.location { defaultsFile = place.file }
        }
    }
}

/// The state of putting files together.
private struct SetComposer {
    private let parsed: [ParsedManifest]
    private let declarations: [Declaration]
    private(set) var diagnostics: [Diagnostic]
    private(set) var rejected: [String: String] = [:]
    private(set) var baseCount = 0
    private var composed: [ManifestDocument] = []
    private var invalid: Set<Int> = []
    /// Containers that what they start from makes invalid.
    private var refused: [(name: String, file: String)] = []

    var valid: [ManifestDocument] { composed.indices.filter { !invalid.contains($0) }.map { composed[$0] } }

    init(_ parsed: [ParsedManifest]) {
        self.parsed = parsed
        declarations = parsed.flatMap(\.declarations)
        diagnostics = parsed.flatMap(\.ownDiagnostics)
    }

    // MARK: Profiles and defaults

    /// A document that others start from.
    private enum Base {
        case usable(Layer)
        case faulty(SourceLocation)
    }

    mutating func composeAll() {
        let defaults = defaults()
        let profiles = profiles()
        baseCount = ([defaults] + profiles.values.map { $0 }).count { if case .usable = $0 { true } else { false } }
        for declaration in declarations where declaration.kind == .container {
            let result = compose(declaration, defaults, profiles)
            diagnostics += result.diagnostics
            if let document = result.document {
                composed.append(document)
            } else {
                let why = result.diagnostics.first { $0.severity == .error }.map(\.description)
                if declaration.name.isEmpty { continue }
                refused.append((declaration.name, declaration.location.file))
                rejected[declaration.name] = why ?? Self.reason(declaration)
            }
        }
    }

    private static func reason(_ declaration: Declaration) -> String {
        declaration.isFaulty
            ? "the document at \(declaration.location) has a mistake"
            : "the kind: Defaults document that it starts from has a mistake"
    }

    private func compose(_ declaration: Declaration, _ defaults: Base?, _ profiles: [String: Base]) -> ComposedDocument {
        var bases: [Layer] = []
        switch defaults {
        // Told once, where the mistake is, and not once more for every container of the node.
        case .faulty: return ComposedDocument()
        case .usable(let layer): bases.append(layer)
        case nil: break
        }
        var wanted = declaration.layer.values["spec.profile"]
        if wanted == nil, !declaration.deletesProfile { wanted = bases.first?.values["spec.profile"] }
        guard case .text(let profile) = wanted else {
            return bases.isEmpty ? declaration.alone : Composition.compose(declaration, over: bases)
        }
        let place = declaration.layer.places["spec.profile"] ?? bases.first?.places["spec.profile"] ?? declaration.location
        func refused(_ message: String) -> ComposedDocument {
            ComposedDocument(diagnostics: [Diagnostic(location: place, field: "spec.profile", message: message)])
        }
        switch profiles[profile] {
        case .usable(let layer): return Composition.compose(declaration, over: bases + [layer])
        case .faulty(let location):
            return refused("the profile \(profile) at \(location) has a mistake; it is needed to know what this container shall be")
        case nil:
            let near = NearestName.of(profile, among: profiles.keys.sorted()).map { "; did you mean \($0)?" }
            let known =
                profiles.isEmpty
                ? "; there is no kind: Profile document"
                : "; there are \(profiles.keys.sorted().prefix(20).joined(separator: ", "))"
            return refused("there is no profile \(profile)\(near ?? known)")
        }
    }

    private static func base(_ declaration: Declaration) -> Base {
        declaration.isFaulty || !declaration.alone.diagnostics.isEmpty
            ? .faulty(declaration.location) : .usable(declaration.layer.spec)
    }

    private mutating func defaults() -> Base? {
        let all = declarations.filter { $0.kind == .defaults }
        if all.count > 1 {
            for (index, one) in all.enumerated() {
                let other = all[index == 0 ? 1 : 0]
                refuse(one.location, "", "there is another kind: Defaults document at \(other.location); expected one on the node")
            }
            return .faulty(all[0].location)
        }
        return all.first.map(Self.base)
    }

    private mutating func profiles() -> [String: Base] {
        var result: [String: Base] = [:]
        var first: [String: Declaration] = [:]
        for declaration in declarations where declaration.kind == .profile {
            let name = declaration.name
            if let other = first[name] {
                refuseClash("the profile name \(name)", "metadata.name", declaration, other)
                if case .usable = result[name] { refuseClash("the profile name \(name)", "metadata.name", other, declaration) }
                result[name] = .faulty(other.location)
                continue
            }
            first[name] = declaration
            result[name] = Self.base(declaration)
        }
        for declaration in declarations where declaration.kind != .container { diagnostics += declaration.alone.diagnostics }
        return result
    }

    private mutating func refuseClash(_ what: String, _ field: String, _ one: Declaration, _ other: Declaration) {
        refuse(one.place(field), field, "\(what) is also given at \(other.place(field)); expected it once on the node")
    }

    private mutating func refuse(_ location: SourceLocation, _ field: String, _ message: String) {
        diagnostics.append(Diagnostic(location: location, field: field, message: message))
    }

    // MARK: Identity

    mutating func refuseClashes() {
        refuseClashes("metadata.name", "the name") { $0.name }
        refuseClashes("spec.ctid", "the CTID") { $0.ctid }
        let rejectedFiles = Dictionary(refused.map { ($0.name, $0.file) }) { first, _ in first }
        for index in composed.indices {
            let name = composed[index].spec.name
            guard let file = rejectedFiles[name] else { continue }
            refuse(
                index, "metadata.name",
                "the name \(name) is also given in \(Quoting.visible(file)), in a document with mistakes; expected it once on the node"
            )
        }
    }

    private mutating func refuseClashes<Identity: Hashable>(
        _ field: String, _ what: String, of identity: (ContainerSpec) -> Identity?
    ) {
        let groups = Dictionary(grouping: composed.indices) { identity(composed[$0].spec) }
        for case (let value?, let group) in groups where group.count > 1 {
            for index in group {
                guard let other = group.first(where: { $0 != index }) else { continue }
                let place = composed[other].fieldLocations[field] ?? composed[other].location
                refuse(index, field, "\(what) \(value) is also given at \(place); expected it once on the node")
            }
        }
    }

    private mutating func refuse(_ index: Int, _ field: String, _ message: String) {
        invalid.insert(index)
        let location = composed[index].fieldLocations[field] ?? composed[index].location
        let diagnostic = Diagnostic(location: location, field: field, message: message)
        diagnostics.append(diagnostic)
        rejected[composed[index].spec.name] = "\(diagnostic)"
    }
}
