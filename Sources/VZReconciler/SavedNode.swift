internal import VZIsolation
public import VZManifest
internal import VZModel
public import VZPlan

extension Node {
    /// Everything that decides what a plan says, to plan against elsewhere.
    /// - Parameters:
    ///   - look: at all of the node's own manifests.
    ///   - created: now, as RFC 3339 has it, in UTC.
    ///   - figures: what the host has to give.
    public func state(_ look: Look, created: String, figures: HostFigures) throws -> NodeDocument.State {
        NodeDocument.State(
            created: created, node: id, generation: look.generation, brake: look.brake, capabilities: core.host, figures: figures,
            records: try look.targets.map { target in
                let (_, seen) = try plan(target)
                let lastSet = try seen.container.isPresent ? core.lastSet(seen.handle) : [:]
                return NodeDocument.Saved(target, NodeDocument.Seen(seen.container, lastSet: lastSet))
            },
            unrecorded: try look.unrecorded.map { present in
                let seen = try core.observe(present.ctid)
                return NodeDocument.Unrecorded(
                    ctid: present.ctid, name: present.name, idBase: present.idBase,
                    seen: NodeDocument.Seen(seen.container, lastSet: try core.lastSet(seen.handle)))
            })
    }
}

/// A node as it was saved by `vzctl list -o json --full`: plans are made against it as on the node itself, without root or kernel.
public struct SavedNode: Sendable {
    public let figures: HostFigures
    private let state: NodeDocument.State
    private let records: [ContainerRecord]
    private let saved: [ContainerID: NodeDocument.Saved]
    private let seen: [ContainerID: NodeDocument.Seen]

    /// Reads what was saved.
    /// - Parameter path: where it comes from, for messages.
    /// - Throws: `JSONDocument.Fault` when it is nothing of the kind, is of a later form, or was saved without `--full`.
    public init(_ bytes: [UInt8], path: String) throws(JSONDocument.Fault) {
        let document = try JSONDocument.read(
            NodeDocument.self, from: bytes, path: path, what: "a node's state", version: NodeDocument.formatVersion)
        guard let state = document.state else {
            throw JSONDocument.Fault(
                description: "\(path): state: expected a value, got none: save it with vzctl list -o json --full")
        }
        self.state = state
        figures = state.figures
        var saved: [ContainerID: NodeDocument.Saved] = [:]
        var records: [ContainerRecord] = []
        for (index, one) in state.records.enumerated() {
            let place = "state.records[\(index)]"
            guard saved.updateValue(one, forKey: one.ctid) == nil else {
                throw JSONDocument.Fault(description: "\(path): \(place).ctid: expected each once, got \(one.ctid) again")
            }
            records.append(try one.record(path, place))
        }
        (self.saved, self.records) = (saved, records)
        seen = Dictionary(state.unrecorded.map { ($0.ctid, $0.seen) }, uniquingKeysWith: { first, _ in first })
            .merging(saved.mapValues(\.seen)) { _, second in second }
    }

    /// What shall be on that node: of these manifests, or with `nil` of those that it had accepted.
    public func look(only paths: [String]?) -> Node.Look {
        let said = saved.compactMapValues(\.overrides)
        guard let paths else {
            let host = Node.scaled(state.capabilities, for: records, said: said)
            var look = Node.Look(generation: state.generation)
            look.notes = [host.cpuScaleNote].compactMap { $0 }
            look.targets = records.sorted { $0.ctid < $1.ctid }.map { record in
                Node.Target(
                    record, said[record.ctid] ?? Overrides(), lastKnownGood: saved[record.ctid]?.lastKnownGood,
                    pruneHeld: saved[record.ctid]?.pruneHeld, brake: state.brake, on: host)
            }
            return look
        }
        let reading = ManifestDirectory.read(given: paths)
        let parsed = ParsedManifests(reading.files.map(ParsedManifests.File.init), of: reading, partial: true)
        let node = Acceptance.Node(
            records: records,
            present: state.unrecorded.map { Acceptance.Present(ctid: $0.ctid, name: $0.name, idBase: $0.idBase) })
        let judgement = Judgement(of: parsed.input, on: node, said: said, host: state.capabilities) { plan($0).isRestart }
        var look = Node.Look(
            diagnostics: parsed.diagnostics + judgement.acceptance.problems, warnings: parsed.warnings,
            generation: parsed.input.generation)
        look.notes = [judgement.host.cpuScaleNote].compactMap { $0 }
        look.targets = judgement.targets(named: Set(parsed.input.documents.map(\.spec.name)))
        return look
    }

    /// What would be done for one container.
    public func plan(_ target: Node.Target) -> Plan.Container {
        let seen = seen[target.record.ctid]
        var observed = seen?.container ?? ObservedContainer()
        observed.rootTemplate = target.record.rootTemplate
        return target.plan(from: observed) { seen?.lastSet.mapValues(\.value) ?? [:] }
    }
}
