/// A document as it is written: where everything stands, and how.
struct SourceTree {
    var root: Node
    /// The line of `---`, or of the first token.
    var line: Int

    struct Node {
        indirect enum Content {
            case scalar(String, plain: Bool)
            case sequence([Node])
            case mapping([(key: Node, value: Node)])
        }

        var content: Content
        var start: YAMLMark
        /// Behind the last character.
        var end: YAMLMark
        var style: YAMLEvent.Style

        /// The same as a decoder reads it.
        var yaml: YAMLNode {
            let content: YAMLNode.Content =
                switch self.content {
                case .scalar(let text, let plain): .scalar(text, plain: plain)
                case .sequence(let items): .sequence(items.map(\.yaml))
                case .mapping(let pairs): .mapping(pairs.map { ($0.key.yaml, $0.value.yaml) })
                }
            return YAMLNode(content: content, mark: start, tag: nil, cost: .init())
        }

        /// Whether its lines are its own: a collection without brackets.
        var isBlock: Bool {
            if case .scalar = content { return false }
            return style != .flow
        }
    }

    /// Where a construct stands that cannot be written anew without a risk.
    struct Refusal: Error {
        var mark: YAMLMark
        var message: String
    }

    /// All documents of a text that is known to be YAML, less the empty ones, and where every scalar stands.
    static func read(_ bytes: [UInt8]) throws(Refusal) -> (documents: [SourceTree], scalars: [Span]) {
        var documents: [SourceTree] = []
        var spans: [Span] = []
        guard !bytes.isEmpty else { return ([], []) }
        // Typed throws do not go through the closure.
        let result: Result<Void, Refusal> = bytes.withUnsafeBufferPointer { buffer in
            do throws(Refusal) {
                try read(buffer, &documents, &spans)
                return .success(())
            } catch {
                return .failure(error)
            }
        }
        try result.get()
        return (documents, spans)
    }

    /// From the first character of a scalar to behind its last one.
    struct Span {
        var start: YAMLMark
        var end: YAMLMark
        var style: YAMLEvent.Style
    }

    private static func read(
        _ bytes: UnsafeBufferPointer<UInt8>, _ documents: inout [SourceTree], _ spans: inout [Span]
    ) throws(Refusal) {
        var open: [(event: YAMLEvent, items: [Node])] = []
        var line = 1
        var root: Node?
        func place(_ node: Node) {
            if open.isEmpty { root = node } else { open[open.count - 1].items.append(node) }
        }
        do throws(YAMLFault) {
            let reader = try YAMLEventReader(bytes, firstLine: 1)
            while true {
                let event = try reader.next()
                if let objection = objection(to: event) { throw YAMLFault(mark: event.mark, message: objection) }
                switch event.kind {
                case .streamEnd: return
                case .documentStart: (line, root) = (event.mark.line, nil)
                case .documentEnd: if let root, !isEmpty(root) { documents.append(SourceTree(root: root, line: line)) }
                case .scalar(let text, let plain):
                    spans.append(Span(start: event.mark, end: event.end, style: event.style))
                    place(Node(content: .scalar(text, plain: plain), start: event.mark, end: event.end, style: event.style))
                case .sequenceStart, .mappingStart: open.append((event, []))
                case .sequenceEnd, .mappingEnd:
                    guard let (begin, items) = open.popLast() else { return }
                    let keys = stride(from: 0, to: items.count - items.count % 2, by: 2)
                    let content: Node.Content =
                        begin.kind == .sequenceStart
                        ? .sequence(items) : .mapping(keys.map { (key: items[$0], value: items[$0 + 1]) })
                    // A collection without brackets ends with its last element, whatever stands behind that.
                    let end = begin.style == .flow ? event.end : items.last?.end ?? event.mark
                    place(Node(content: content, start: begin.mark, end: end, style: begin.style))
                case .alias, .other: break
                }
            }
        } catch {
            throw Refusal(mark: error.mark, message: error.message)
        }
    }

    private static func objection(to event: YAMLEvent) -> String? {
        if event.anchor != nil { return "an anchor would be lost: write out what its aliases stand for" }
        if case .alias = event.kind { return "an alias would be lost: write out what it stands for" }
        if event.tag != nil { return "a tag would be lost: leave it out" }
        return event.style == .directives ? "a directive would be lost: leave it out" : nil
    }

    private static func isEmpty(_ node: Node) -> Bool {
        if case .scalar("", plain: true) = node.content { return true }
        return false
    }
}
