internal import CYAML

/// A place in a YAML stream; line and column count from 1.
struct YAMLMark: Equatable, Comparable {
    var line: Int
    var column: Int

    static func < (a: Self, b: Self) -> Bool { (a.line, a.column) < (b.line, b.column) }
}

/// What is wrong with the YAML itself, so that its reader cannot go on.
struct YAMLFault: Error, Equatable {
    var mark: YAMLMark
    var message: String
    /// Whether the file goes beyond a bound that counts over the whole file, so that nothing of it is used.
    var endsFile = false

    /// The fault of a file that has more than `bound` in all.
    static func beyond(_ bound: String, at mark: YAMLMark) -> YAMLFault {
        YAMLFault(mark: mark, message: "expected at most \(bound) in a file", endsFile: true)
    }
}

/// One step of a YAML stream, as libyaml tells it.
struct YAMLEvent {
    enum Kind: Equatable {
        case streamEnd, documentStart, documentEnd, sequenceStart, sequenceEnd, mappingStart, mappingEnd
        /// The text without its quotation marks and escapes, and whether it stood there plain (neither quoted nor a block).
        case scalar(String, plain: Bool)
        case alias(String)
        /// Nothing that a reader of documents needs.
        case other
    }

    var kind: Kind
    var mark: YAMLMark
    /// Behind its last character.
    var end: YAMLMark
    var anchor: String?
    var tag: String?
    /// How it is written, as far as that means nothing.
    var style = Style.other

    enum Style {
        /// A scalar behind `|` or `>`.
        case blockScalar
        /// A collection in brackets.
        case flow
        /// A document with a directive (`%YAML`).
        case directives
        case other
    }
}

/// Reads the events of one YAML stream with libyaml. It owns libyaml's parser.
///
/// libyaml checks neither duplicate keys nor depth, and takes time by the square of the depth: whoever reads events bounds the depth.
struct YAMLEventReader: ~Copyable {
    // The parser points to itself once it has its input: it cannot be moved, hence a place of its own on the heap.
    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private let bytes: UnsafeBufferPointer<UInt8>
    private let firstLine: Int

    /// - Parameter bytes: UTF-8, not empty, which must outlive the reader.
    /// - Parameter firstLine: the number of the first line in the file.
    /// - Throws: when there is no memory for a parser.
    init(_ bytes: UnsafeBufferPointer<UInt8>, firstLine: Int) throws(YAMLFault) {
        let parser = UnsafeMutablePointer<yaml_parser_t>.allocate(capacity: 1)
        guard yaml_parser_initialize(parser) == 1 else {
            parser.deallocate()
            throw YAMLFault(mark: YAMLMark(line: firstLine, column: 1), message: "no memory for libyaml's parser")
        }
        self.parser = parser
        self.bytes = bytes
        self.firstLine = firstLine
        yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
        yaml_parser_set_input_string(parser, bytes.baseAddress, bytes.count)
    }

    deinit {
        yaml_parser_delete(parser)
        parser.deallocate()
    }

    /// The next event. Not to be called again after the end of the stream or a fault.
    func next() throws(YAMLFault) -> YAMLEvent {
        var event = yaml_event_t()
        guard yaml_parser_parse(parser, &event) == 1 else { throw fault() }
        defer { yaml_event_delete(&event) }
        var result = YAMLEvent(kind: .other, mark: mark(event.start_mark), end: mark(event.end_mark))
        switch event.type {
        case YAML_STREAM_END_EVENT: result.kind = .streamEnd
        case YAML_DOCUMENT_START_EVENT:
            result.kind = .documentStart
            let tags = event.data.document_start.tag_directives
            if event.data.document_start.version_directive != nil || tags.start != tags.end { result.style = .directives }
        case YAML_DOCUMENT_END_EVENT: result.kind = .documentEnd
        case YAML_SEQUENCE_END_EVENT: result.kind = .sequenceEnd
        case YAML_MAPPING_END_EVENT: result.kind = .mappingEnd
        case YAML_ALIAS_EVENT: result.kind = .alias(Self.text(event.data.alias.anchor) ?? "")
        case YAML_SEQUENCE_START_EVENT:
            result.kind = .sequenceStart
            result.anchor = Self.text(event.data.sequence_start.anchor)
            result.tag = Self.text(event.data.sequence_start.tag)
            if event.data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE { result.style = .flow }
        case YAML_MAPPING_START_EVENT:
            result.kind = .mappingStart
            result.anchor = Self.text(event.data.mapping_start.anchor)
            result.tag = Self.text(event.data.mapping_start.tag)
            if event.data.mapping_start.style == YAML_FLOW_MAPPING_STYLE { result.style = .flow }
        case YAML_SCALAR_EVENT:
            let scalar = event.data.scalar
            let value = UnsafeBufferPointer(start: scalar.value, count: scalar.length)
            result.kind = .scalar(String(decoding: value, as: UTF8.self), plain: scalar.style == YAML_PLAIN_SCALAR_STYLE)
            result.anchor = Self.text(scalar.anchor)
            if scalar.style == YAML_LITERAL_SCALAR_STYLE || scalar.style == YAML_FOLDED_SCALAR_STYLE { result.style = .blockScalar }
            result.tag = Self.text(scalar.tag)
        default: break
        }
        return result
    }

    private func mark(_ mark: yaml_mark_t) -> YAMLMark { YAMLMark(line: mark.line + firstLine, column: mark.column + 1) }

    private static func text(_ cString: UnsafeMutablePointer<yaml_char_t>?) -> String? {
        cString.map { String(cString: $0) }
    }

    /// libyaml's error in our words.
    private func fault() -> YAMLFault {
        let problem = parser.pointee.problem.map { String(cString: $0) } ?? "unknown error"
        if parser.pointee.error == YAML_READER_ERROR {
            // The reader tells nothing but the offset of a byte.
            return YAMLFault(mark: position(of: parser.pointee.problem_offset), message: "not readable as YAML: \(problem)")
        }
        let place = mark(parser.pointee.problem_mark)
        let index = parser.pointee.problem_mark.index
        if problem == "found character that cannot start any token", character(at: index) == "\t" {
            return YAMLFault(mark: place, message: "not readable as YAML: a tab cannot indent a line; expected blanks")
        }
        guard let context = parser.pointee.context.map({ String(cString: $0) }) else {
            return YAMLFault(mark: place, message: "not readable as YAML: \(problem)")
        }
        let begin = mark(parser.pointee.context_mark)
        if begin != place, index >= bytes.count(where: Self.beginsCharacter) {
            // What was never closed is found at the end of the document, and mended where it begins.
            return YAMLFault(mark: begin, message: "not readable as YAML: \(problem) \(context) that begins here")
        }
        let since = begin == place ? "" : " that begins at \(begin.line):\(begin.column)"
        return YAMLFault(mark: place, message: "not readable as YAML: \(problem) \(context)\(since)")
    }

    private static func beginsCharacter(_ byte: UInt8) -> Bool { byte & 0xC0 != 0x80 }

    private func character(at index: Int) -> Unicode.Scalar? {
        String(decoding: bytes, as: UTF8.self).unicodeScalars.dropFirst(index).first
    }

    private func position(of offset: Int) -> YAMLMark {
        let before = bytes.prefix(offset)
        let start = before.lastIndex(of: 10).map { $0 + 1 } ?? 0
        return YAMLMark(
            line: firstLine + before.count { $0 == 10 },
            column: bytes[start..<before.endIndex].count(where: Self.beginsCharacter) + 1)
    }
}
