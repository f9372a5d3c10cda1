/// Builds documents out of events, within the bounds on the input.
///
/// One composer reads all documents of a file: what counts over the whole file is counted here.
struct YAMLComposer {
    private var documents = 0
    private var cost = YAMLNode.Cost(nodes: 0)

    /// The documents in `bytes`; the last one carries the fault behind which there is no reading on.
    mutating func documents(in bytes: UnsafeBufferPointer<UInt8>, firstLine: Int) -> [YAMLDocument] {
        var result: [YAMLDocument] = []
        guard !bytes.isEmpty else { return result }
        do throws(YAMLFault) {
            let reader = try YAMLEventReader(bytes, firstLine: firstLine)
            while true {
                let event = try reader.next()
                if event.kind == .streamEnd { return result }
                guard event.kind == .documentStart else { continue }
                documents += 1
                guard documents <= InputBounds.documents else {
                    throw .beyond("\(InputBounds.documents) documents", at: event.mark)
                }
                var builder = Builder(cost: cost)
                let document = builder.document(from: reader, at: event.mark)
                cost = builder.cost
                result.append(document)
                if document.fault != nil { return result }
            }
        } catch {
            result.append(YAMLDocument(mark: error.mark, root: nil, fault: error))
            return result
        }
    }
}

/// The state of one document under construction.
private struct Builder {
    /// Of the whole file up to here.
    private(set) var cost: YAMLNode.Cost
    private var open: [Frame] = []
    private var anchors: [String: Anchor] = [:]
    private var root: YAMLNode?

    /// A collection that has not ended.
    private struct Frame {
        var isMapping: Bool
        var event: YAMLEvent
        /// Of a mapping: key, value, key, value, …
        var items: [YAMLNode] = []

        func closed() -> YAMLNode {
            var node = YAMLNode(content: .sequence(items), mark: event.mark, tag: event.tag, cost: .init())
            if isMapping {
                let keys = stride(from: 0, to: items.count - items.count % 2, by: 2)
                node.content = .mapping(keys.map { (key: items[$0], value: items[$0 + 1]) })
            }
            for item in items { node.cost += item.cost }
            return node
        }
    }

    private enum Anchor {
        /// Its node has not ended: an alias to it would hold itself.
        case unfinished
        case node(YAMLNode)
    }

    init(cost: YAMLNode.Cost) { self.cost = cost }

    /// Reads up to the end of the document, or to a fault: then with everything that stands before it.
    mutating func document(from reader: borrowing YAMLEventReader, at mark: YAMLMark) -> YAMLDocument {
        do throws(YAMLFault) {
            while true {
                let event = try reader.next()
                if event.kind == .documentEnd { return YAMLDocument(mark: mark, root: root) }
                try take(event)
            }
        } catch {
            while let frame = open.popLast() { place(frame.closed()) }
            return YAMLDocument(mark: mark, root: root, fault: error)
        }
    }

    private mutating func take(_ event: YAMLEvent) throws(YAMLFault) {
        switch event.kind {
        case .scalar(let text, let plain):
            let cost = YAMLNode.Cost(text: text.utf8.count)
            let node = YAMLNode(content: .scalar(text, plain: plain), mark: event.mark, tag: event.tag, cost: cost)
            if let anchor = event.anchor { anchors[anchor] = .node(node) }
            try count(node.cost, at: event.mark)
            place(node)
        case .sequenceStart, .mappingStart:
            guard open.count < InputBounds.depth else {
                throw YAMLFault(mark: event.mark, message: "expected nesting of at most \(InputBounds.depth) levels")
            }
            if let anchor = event.anchor { anchors[anchor] = .unfinished }
            open.append(Frame(isMapping: event.kind == .mappingStart, event: event))
        case .sequenceEnd, .mappingEnd:
            guard let frame = open.popLast() else { return }
            let node = frame.closed()
            if let anchor = frame.event.anchor { anchors[anchor] = .node(node) }
            try count(.init(), at: frame.event.mark)
            place(node)
        case .alias(let name):
            let node = try aliased(name, at: event.mark)
            try count(node.cost, at: event.mark)
            place(node)
        default: break
        }
    }

    private func aliased(_ name: String, at mark: YAMLMark) throws(YAMLFault) -> YAMLNode {
        switch anchors[name] {
        case .node(var node):
            // A mistake in it is told where it is used: the alias is what its reader has to look at.
            node.mark = mark
            node.cost.expansions += 1
            return node
        case .unfinished:
            throw YAMLFault(mark: mark, message: "the alias *\(Quoting.visible(name)) stands inside of what it stands for")
        case nil:
            throw YAMLFault(mark: mark, message: "no anchor &\(Quoting.visible(name)) stands before this alias")
        }
    }

    private mutating func count(_ part: YAMLNode.Cost, at mark: YAMLMark) throws(YAMLFault) {
        cost += part
        if cost.expansions > InputBounds.expansions {
            throw .beyond("\(InputBounds.expansions) alias expansions", at: mark)
        }
        if cost.nodes > InputBounds.nodes { throw .beyond("\(InputBounds.nodes) nodes", at: mark) }
        if cost.text > InputBounds.text { throw .beyond("\(InputBounds.text) bytes of text behind aliases", at: mark) }
    }

    private mutating func place(_ node: YAMLNode) {
        if open.isEmpty { root = node } else { open[open.count - 1].items.append(node) }
    }
}
