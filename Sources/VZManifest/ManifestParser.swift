internal import VZModel

/// Reads manifests: bytes in, values and diagnostics out. No input makes it fail otherwise, or take longer than a moment.
public enum ManifestParser {
    /// Everything that a file says, and every mistake in it. Documents without a mistake are valid whatever the others are like.
    ///
    /// Bounds on the input: 1 MiB, 1,000 documents, 10,000 alias expansions and 200,000 nodes in a file, 64 levels in a document.
    /// - Parameter bytes: UTF-8, with or without a byte order mark.
    /// - Parameter file: the path to put into locations; it is not opened.
    public static func parse(_ bytes: [UInt8], file: String) -> ParsedManifest {
        guard bytes.count <= InputBounds.bytes else {
            let location = SourceLocation(file: file, line: 1, column: 1)
            let message = "expected a file of at most 1 MiB (\(InputBounds.bytes) bytes), got more"
            return ParsedManifest(file: file, documents: [], diagnostics: [Diagnostic(location: location, message: message)])
        }
        var reading = FileReading(text: SourceText(bytes), file: file)
        reading.readAll()
        return reading.result()
    }
}

/// The state of reading one file.
private struct FileReading {
    let text: SourceText
    let file: String
    var composer = YAMLComposer()
    var documents: [ManifestDocument] = []
    var diagnostics: [Diagnostic] = []
    var rejectedNames: [String] = []
    /// Whether there are more mistakes than are told.
    var isCut = false

    init(text: SourceText, file: String) {
        self.text = text
        self.file = file
    }

    mutating func readAll() {
        for piece in text.pieces where !read(piece) {
            // The file goes beyond a bound: what was read before is not used either, or half a file would pass for a whole one.
            rejectedNames += documents.map(\.spec.name)
            documents = []
            return
        }
        if documents.isEmpty, diagnostics.isEmpty {
            refuse(YAMLMark(line: 1, column: 1), "", "expected a document with kind: Container, got an empty file")
        }
    }

    func result() -> ParsedManifest {
        var seen: Set<String> = []
        var diagnostics = diagnostics.sorted(by: Diagnostic.inOrder)
        if isCut, let last = diagnostics.last {
            diagnostics.append(Diagnostic(location: last.location, message: "there are more mistakes than these; mend them first"))
        }
        return ParsedManifest(
            file: file, documents: documents, diagnostics: diagnostics,
            rejectedNames: rejectedNames.filter { seen.insert($0).inserted })
    }

    /// Reads one piece; `false` when the file goes beyond a bound.
    private mutating func read(_ piece: SourceText.Piece) -> Bool {
        // Of a piece that is not text only the name is of use, as far as it stands before the fault.
        let range = piece.bytes.lowerBound..<(piece.fault?.offset ?? piece.bytes.upperBound)
        let parsed = text.bytes.withUnsafeBufferPointer {
            composer.documents(in: UnsafeBufferPointer(rebasing: $0[range]), firstLine: piece.firstLine)
        }
        if let fault = piece.fault {
            let (line, column) = text.position(of: fault.offset)
            refuse(YAMLMark(line: line, column: column), "", fault.message)
            rejectedNames += parsed.compactMap { DocumentReader.name(in: $0.root) }
            return true
        }
        for document in parsed {
            take(document)
            if document.fault?.endsFile == true { return false }
        }
        return true
    }

    private mutating func take(_ document: YAMLDocument) {
        if let fault = document.fault {
            refuse(fault.mark, "", fault.message)
            if let name = DocumentReader.name(in: document.root) { rejectedNames.append(name) }
            return
        }
        guard let root = document.root, !isEmpty(root) else { return }
        let reader = DocumentReader(root, most: max(1, InputBounds.mistakes + 1 - diagnostics.count))
        guard reader.mistakes.isEmpty else {
            for mistake in reader.mistakes { refuse(mistake.mark, mistake.field, mistake.message) }
            if let name = DocumentReader.name(in: root) { rejectedNames.append(name) }
            return
        }
        documents.append(
            ManifestDocument(
                spec: reader.draft.spec, location: location(document.mark), labels: reader.draft.labels,
                fieldLocations: reader.places.mapValues(location)))
    }

    /// A document of nothing, as between two lines of `---`, is passed over.
    private func isEmpty(_ root: YAMLNode) -> Bool {
        if case .scalar("", plain: true) = root.content { return root.tag == nil }
        return false
    }

    private mutating func refuse(_ mark: YAMLMark, _ field: String, _ message: String) {
        guard diagnostics.count < InputBounds.mistakes else {
            isCut = true
            return
        }
        diagnostics.append(
            Diagnostic(location: location(mark), field: field, message: message, sourceLine: text.line(mark.line)))
    }

    private func location(_ mark: YAMLMark) -> SourceLocation { SourceLocation(file: file, line: mark.line, column: mark.column) }
}
