internal import VZModel

/// What several files say together.
public enum ManifestSet {
    /// The valid documents of all files, by name, and every mistake of all files, by place.
    ///
    /// A name and a CTID may stand in one document only. A clash makes *each* document that takes part in it invalid, and each is told
    /// the other's place; a document whose name also stands in a document with mistakes is invalid too, so that mending that one
    /// does not break this one.
    public static func check(_ parsed: [ParsedManifest]) -> (valid: [ManifestDocument], diagnostics: [Diagnostic]) {
        let documents = parsed.flatMap(\.documents)
        var diagnostics = parsed.flatMap(\.diagnostics)
        var invalid: Set<Int> = []

        func refuse(_ index: Int, _ field: String, _ message: String) {
            invalid.insert(index)
            let location = documents[index].fieldLocations[field] ?? documents[index].location
            diagnostics.append(Diagnostic(location: location, field: field, message: message))
        }
        func refuseClashes(_ field: String, of identity: (ContainerSpec) -> String?) {
            let groups = Dictionary(grouping: documents.indices) { identity(documents[$0].spec) }
            for case (let name?, let group) in groups where group.count > 1 {
                for index in group {
                    guard let other = group.first(where: { $0 != index }) else { continue }
                    let place = documents[other].fieldLocations[field] ?? documents[other].location
                    refuse(index, field, "\(name) is also given at \(place); expected it once on the node")
                }
            }
        }
        refuseClashes("metadata.name") { "the name \($0.name)" }
        refuseClashes("spec.ctid") { spec in spec.ctid.map { "the CTID \($0)" } }

        let rejected = parsed.flatMap { file in file.rejectedNames.map { (name: $0, file: file.file) } }
        let rejectedFiles = Dictionary(rejected.map { ($0.name, $0.file) }) { first, _ in first }
        for index in documents.indices {
            guard let file = rejectedFiles[documents[index].spec.name] else { continue }
            refuse(
                index, "metadata.name",
                "the name \(documents[index].spec.name) is also given in \(Quoting.visible(file)), in a document with mistakes; "
                    + "expected it once on the node")
        }
        let valid = documents.indices.filter { !invalid.contains($0) }.map { documents[$0] }.sorted { $0.spec.name < $1.spec.name }
        return (valid, diagnostics.sorted(by: Diagnostic.inOrder))
    }
}
