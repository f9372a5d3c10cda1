/// Manifests in their canonical form: the fields in the table's order, each value in its one spelling, comments where they were.
public enum ManifestFormatter {
    /// Why a text is left as it is.
    public struct Refusal: Error, Sendable {
        /// At least one.
        public let diagnostics: [Diagnostic]
    }

    /// The canonical text of a manifest that means the same; of a canonical one, the same bytes.
    ///
    /// A comment goes with the field that it stands above or beside. A list or mapping stays in brackets, or on lines of its own, as it
    /// was. Free mappings keep their order.
    /// - Parameter isDropIn: whether it is merged into another manifest and need not be whole.
    /// - Throws: `Refusal` for a manifest with a mistake, and for what cannot be written anew without losing something (anchors, tags,
    ///   directives, comments inside of brackets).
    public static func format(_ bytes: [UInt8], file: String, isDropIn: Bool = false) throws(Refusal) -> [UInt8] {
        let before = try meaning(bytes, file, isDropIn)
        let (text, comments) = try write(bytes, file, isDropIn)
        let formatted = Array(text.utf8)
        // It is a promise: whoever runs this over a repository does not read every line of the outcome.
        let after = try meaning(formatted, file, isDropIn)
        let (again, kept) = try write(formatted, file, isDropIn)
        guard before == after, comments.sorted() == kept.sorted(), again == text else {
            throw refusal(
                SourceTree.Refusal(mark: YAMLMark(line: 1, column: 1), message: "this file cannot be formatted safely"), file)
        }
        return formatted
    }

    private static func write(_ bytes: [UInt8], _ file: String, _ isDropIn: Bool) throws(Refusal) -> (String, [String]) {
        do throws(SourceTree.Refusal) {
            let (documents, scalars) = try SourceTree.read(bytes)
            var comments = try SourceComments(bytes, scalars: scalars)
            let texts = comments.texts
            var parts: [String] = []
            for (index, document) in documents.enumerated() {
                let bound = index + 1 < documents.count ? documents[index + 1].line : Int.max
                var writer = FormatWriter(comments: comments, isPatch: isDropIn)
                parts.append(try writer.document(document, before: bound))
                comments = writer.comments
            }
            if let lost = comments.left(before: .max) {
                throw SourceTree.Refusal(
                    mark: YAMLMark(line: lost.line, column: lost.column),
                    message: "this comment belongs to nothing that could be kept with it")
            }
            return (parts.joined(separator: "---\n"), texts)
        } catch {
            throw refusal(error, file)
        }
    }

    private static func refusal(_ refusal: SourceTree.Refusal, _ file: String) -> Refusal {
        let location = SourceLocation(file: file, line: refusal.mark.line, column: refusal.mark.column)
        return Refusal(diagnostics: [Diagnostic(location: location, message: "not formatted: \(refusal.message)")])
    }

    // MARK: What it means

    private struct Meaning: Equatable {
        var kind: ManifestKind
        var name: String
        var values: [String: FieldValue]
        var deletions: [Layer.Deletion]
    }

    private static func meaning(_ bytes: [UInt8], _ file: String, _ isDropIn: Bool) throws(Refusal) -> [Meaning] {
        let (parts, diagnostics) = ManifestParser.layers(bytes, file: file, isDropIn: isDropIn)
        guard diagnostics.isEmpty else { throw Refusal(diagnostics: diagnostics) }
        return parts.map { part in
            let deletions = part.layer.deletions.sorted { "\($0)" < "\($1)" }
            return Meaning(kind: part.kind, name: part.name, values: part.layer.values, deletions: deletions)
        }
    }
}
