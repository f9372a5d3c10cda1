internal import ArgumentParser
internal import VZManifest

/// `vzctl schema`: the JSON Schema of manifests.
struct Schema: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print the JSON Schema of manifests, for editors and for checks away from the node.")

    @Argument(help: "container, profile or defaults.")
    var kind = "container"

    func validate() throws {
        guard Self.kind(kind) == nil else { return }
        throw ValidationError("no kind \"\(kind)\"; expected container, profile or defaults")
    }

    func run() {
        print(ManifestSchema.jsonSchema(of: Self.kind(kind) ?? .container), terminator: "")
    }

    private static func kind(_ text: String) -> ManifestKind? {
        ManifestKind.allCases.first { $0.rawValue.lowercased() == text.lowercased() }
    }
}
