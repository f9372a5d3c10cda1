internal import VZModel

/// Reads manifests: bytes in, values and diagnostics out. No input makes it fail otherwise, or take longer than a moment.
public enum ManifestParser {
    /// Everything that a file says, and every mistake in it. Documents without a mistake are valid whatever the others are like.
    ///
    /// Bounds on the input: 1 MiB, 1,000 documents, 10,000 alias expansions and 200,000 nodes in a file, 64 levels in a document.
    /// - Parameter bytes: UTF-8, with or without a byte order mark.
    /// - Parameter file: the path to put into locations; it is not opened.
    public static func parse(_ bytes: [UInt8], file: String) -> ParsedManifest {
        parse(ManifestFile(path: file, bytes: bytes))
    }

    /// Everything that a file says with its drop-ins merged into its documents (RFC 7386), and every mistake in them.
    ///
    /// A drop-in is read within the same bounds. A mistake in it is one of the document that it is for.
    public static func parse(_ file: ManifestFile) -> ParsedManifest { parse(file, askingRules: true) }

    /// - Parameter rules: whether the consistency rules are asked.
    public static func parse(_ file: ManifestFile, askingRules rules: Bool) -> ParsedManifest {
        var reading = FileReading(file: file.path, asksRules: rules)
        reading.read(file.bytes)
        for dropIn in file.dropIns { reading.merge(dropIn) }
        return reading.result()
    }
}

extension ManifestParser {
    /// What the documents of one text say, each by itself, and their mistakes.
    static func layers(
        _ bytes: [UInt8], file: String, isDropIn: Bool
    ) -> (parts: [(kind: ManifestKind, name: String, layer: Layer)], diagnostics: [Diagnostic]) {
        var diagnostics: [Diagnostic] = []
        var parts: [(kind: ManifestKind, name: String, layer: Layer)] = []
        guard var reader = TextReader(bytes, file: file, &diagnostics) else { return (parts, diagnostics) }
        _ = reader.readAll { reader, document in
            guard document.fault == nil, let root = document.root else { return }
            let kind = DocumentReader.kind(of: root) ?? .container
            let fields = DocumentReader(root, most: reader.room, patching: isDropIn ? kind : nil)
            reader.refuse(fields.mistakes)
            parts.append((kind, DocumentReader.name(in: root) ?? "", reader.layer(fields)))
        }
        return (parts, reader.finished())
    }
}

/// The state of reading one file and its drop-ins.
private struct FileReading {
    let file: String
    private var declarations: [Declaration] = []
    private var diagnostics: [Diagnostic] = []
    /// How many documents the file itself has, with and without mistakes.
    private var count = 0
    private var texts: [String: SourceText] = [:]

    private let asksRules: Bool

    init(file: String, asksRules: Bool) {
        self.file = file
        self.asksRules = asksRules
    }

    mutating func read(_ bytes: [UInt8]) {
        guard var reader = TextReader(bytes, file: file, &diagnostics) else { return }
        texts[file] = reader.text
        let isWithinBounds = reader.readAll { reader, document in
            take(document, &reader)
        }
        if !isWithinBounds {
            // The file goes beyond a bound: what was read before is not used either, or half a file would pass for a whole one.
            rejectAll()
        } else if count == 0, reader.diagnostics.isEmpty {
            reader.refuse(YAMLMark(line: 1, column: 1), "", "expected a document with kind: Container, got an empty file")
        }
        diagnostics += reader.finished()
    }

    private mutating func take(_ document: YAMLDocument, _ reader: inout TextReader) {
        count += 1
        let root = document.root
        var declaration = Declaration(
            kind: DocumentReader.kind(of: root) ?? .container, name: DocumentReader.name(in: root) ?? "",
            location: reader.location(document.mark), layer: Layer(), alone: ComposedDocument())
        if document.fault == nil, let root {
            let fields = DocumentReader(root, most: reader.room)
            reader.refuse(fields.mistakes)
            declaration.layer = reader.layer(fields)
            declaration.isFaulty = !fields.mistakes.isEmpty
        } else {
            declaration.isFaulty = true
        }
        declarations.append(declaration)
    }

    // MARK: Drop-ins

    mutating func merge(_ dropIn: ManifestFile) {
        guard var reader = TextReader(dropIn.bytes, file: dropIn.path, &diagnostics) else { return rejectAll() }
        texts[dropIn.path] = reader.text
        let isWithinBounds = reader.readAll { reader, document in
            patch(document, &reader)
        }
        if !isWithinBounds { rejectAll() }
        diagnostics += reader.finished()
    }

    /// What a drop-in says that cannot be read might be for any document.
    private mutating func rejectAll() {
        for index in declarations.indices { declarations[index].isFaulty = true }
    }

    private mutating func patch(_ document: YAMLDocument, _ reader: inout TextReader) {
        let name = DocumentReader.name(in: document.root)
        let target = name.map { name in declarations.firstIndex { $0.name == name } } ?? declarations.indices.first
        guard document.fault == nil, let root = document.root else {
            if let target, name != nil || count == 1 { declarations[target].isFaulty = true } else { rejectAll() }
            return
        }
        let fields = DocumentReader(root, most: reader.room, patching: target.map { declarations[$0].kind } ?? .container)
        reader.refuse(fields.mistakes)
        guard name != nil || count == 1 else {
            reader.refuse(
                document.mark, "metadata.name",
                "\(Quoting.visible(file)) has \(count) documents; expected the name of the one that this is merged into")
            return rejectAll()
        }
        guard let target else {
            reader.refuse(
                document.mark, "metadata.name",
                "there is no document \(name ?? "") in \(Quoting.visible(file)) to merge this into")
            return rejectAll()
        }
        let kind = declarations[target].kind
        if case .text(let given) = fields.values["kind"], given != kind.rawValue {
            reader.refuse(
                document.mark, "kind", "expected \(kind.rawValue), as in the document that this is merged into, got \(given)")
            declarations[target].isFaulty = true
        }
        guard fields.mistakes.isEmpty else {
            declarations[target].isFaulty = true
            return
        }
        var layer = reader.layer(fields)
        // These only say which document is meant.
        for path in ["metadata.name", "kind", "apiVersion"] { layer.places[path] = nil }
        declarations[target].layer.merge(layer)
    }

    // MARK: The outcome

    func result() -> ParsedManifest {
        let composed = declarations.map { declaration in
            var declaration = declaration
            if declaration.kind == .container {
                declaration.alone = Composition.compose(
                    declaration, over: [], isWhole: declaration.profile == nil, asksRules: asksRules)
            } else {
                declaration.alone.diagnostics = Composition.mistakes(
                    in: declaration.layer, declaration.layer.draft, at: declaration.location, isWhole: false)
            }
            return declaration
        }
        let containers = composed.filter { $0.kind == .container }
        let alone = composed.flatMap(\.alone.diagnostics).map { $0.showing(texts[$0.location.file]?.line($0.location.line)) }
        let rejected = containers.filter { $0.alone.document == nil && !$0.name.isEmpty }.map(\.name)
        var seen: Set<String> = []
        return ParsedManifest(
            file: file, documents: containers.compactMap(\.alone.document),
            diagnostics: (diagnostics + alone).sorted(by: Diagnostic.inOrder),
            rejectedNames: rejected.filter { seen.insert($0).inserted }, declarations: composed, ownDiagnostics: diagnostics,
            texts: texts)
    }
}

/// Reads the documents of one text, and gathers what is wrong with it.
private struct TextReader {
    let text: SourceText
    let file: String
    private(set) var diagnostics: [Diagnostic] = []
    /// Whether there are more mistakes than are told.
    private var isCut = false

    /// `nil` when the text is longer than any manifest, which is then among `diagnostics`.
    init?(_ bytes: [UInt8], file: String, _ diagnostics: inout [Diagnostic]) {
        guard bytes.count <= InputBounds.bytes else {
            let message = "expected a file of at most 1 MiB (\(InputBounds.bytes) bytes), got more"
            diagnostics.append(Diagnostic(location: SourceLocation(file: file, line: 1, column: 1), message: message))
            return nil
        }
        text = SourceText(bytes)
        self.file = file
    }

    /// How many more mistakes are of interest.
    var room: Int { max(1, InputBounds.mistakes + 1 - diagnostics.count) }

    /// Gives each document to `take`, also those with a fault, which is told here; `false` when the file goes beyond a bound.
    mutating func readAll(_ take: (inout TextReader, YAMLDocument) -> Void) -> Bool {
        var composer = YAMLComposer()
        for piece in text.pieces {
            // Of a piece that is not text only the name is of use, as far as it stands before the fault.
            let range = piece.bytes.lowerBound..<(piece.fault?.offset ?? piece.bytes.upperBound)
            var documents = text.bytes.withUnsafeBufferPointer {
                composer.documents(in: UnsafeBufferPointer(rebasing: $0[range]), firstLine: piece.firstLine)
            }
            if let fault = piece.fault {
                let (line, column) = text.position(of: fault.offset)
                let fault = YAMLFault(mark: YAMLMark(line: line, column: column), message: fault.message)
                refuse(fault.mark, "", fault.message)
                if documents.isEmpty { documents = [YAMLDocument(mark: fault.mark, root: nil)] }
                for var document in documents {
                    document.fault = fault
                    take(&self, document)
                }
                continue
            }
            for document in documents {
                if let fault = document.fault {
                    refuse(fault.mark, "", fault.message)
                } else if Self.isEmpty(document.root) {
                    continue
                }
                take(&self, document)
                if document.fault?.endsFile == true { return false }
            }
        }
        return true
    }

    /// A document of nothing, as between two lines of `---`, is passed over.
    private static func isEmpty(_ root: YAMLNode?) -> Bool {
        guard let root else { return true }
        if case .scalar("", plain: true) = root.content { return root.tag == nil }
        return false
    }

    mutating func refuse(_ mistakes: [Mistake]) {
        for mistake in mistakes { refuse(mistake.mark, mistake.field, mistake.message) }
    }

    mutating func refuse(_ mark: YAMLMark, _ field: String, _ message: String) {
        guard diagnostics.count < InputBounds.mistakes else {
            isCut = true
            return
        }
        diagnostics.append(
            Diagnostic(location: location(mark), field: field, message: message, sourceLine: text.line(mark.line)))
    }

    /// What was told, in order.
    func finished() -> [Diagnostic] {
        var sorted = diagnostics.sorted(by: Diagnostic.inOrder)
        if isCut, let last = sorted.last {
            // Behind the last one, also when it is sorted once more.
            let end = SourceLocation(file: file, line: last.location.line, column: last.location.column + 1)
            sorted.append(Diagnostic(location: end, message: "there are more mistakes than these; mend them first"))
        }
        return sorted
    }

    func location(_ mark: YAMLMark) -> SourceLocation { SourceLocation(file: file, line: mark.line, column: mark.column) }

    func layer(_ fields: DocumentReader) -> Layer {
        var layer = Layer(values: fields.values, places: fields.places.mapValues(location), deletions: fields.deletions)
        for (path, mark) in fields.entryMarks { layer.places[path] = location(mark) }
        return layer
    }
}
