internal import ArgumentParser
internal import VZManifest

/// `vzctl schema`: the JSON Schema of manifests.
struct Schema: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print the JSON Schema of manifests, for editors and for checks away from the node.")

    func run() {
        print(ManifestSchema.jsonSchema(), terminator: "")
    }
}
