internal import VZIsolation
internal import VZModel

/// What shall be, from what was read, what is remembered and what was said: a pure function, for a node and for a saved one.
struct Judgement {
    private var input: Acceptance.Input
    private let said: [ContainerID: Overrides]
    /// With one scale of cpuunits for all containers in force.
    private(set) var host: HostCapabilities
    private(set) var acceptance: Acceptance
    /// Why what disturbs must wait, when there is too much of it at once.
    var brake: String? { input.brake.map { "\($0): vzctl ack \(input.generation)" } }

    /// - Parameters:
    ///   - recent: of the containers whose manifests are gone those whose removal is not believed yet.
    ///   - isRestart: whether a target as it is would be stopped and started again.
    init(
        of input: Acceptance.Input, on node: Acceptance.Node, said: [ContainerID: Overrides], host: HostCapabilities,
        recent: (Set<ContainerID>) -> Set<ContainerID> = { _ in [] }, isRestart: (Node.Target) -> Bool
    ) {
        (self.input, self.said, self.host) = (input, said, host)
        acceptance = Acceptance(of: input, on: node)
        rescale()
        // What is not believed yet counts: many in small steps are many.
        let brake = reasonToBrake(isRestart)
        let recent = recent(acceptance.removed)
        if brake != nil || !recent.isEmpty {
            (self.input.brake, self.input.recent) = (brake, recent)
            accept(on: node)
        }
    }

    /// Accepts the same once more, on a node that remembers something else by now.
    mutating func accept(on node: Acceptance.Node) {
        acceptance = Acceptance(of: input, on: node)
        rescale()
    }

    private mutating func rescale() { host = Node.scaled(host, for: acceptance.entries.lazy.map(\.record), said: said) }

    /// What shall become of each container. - Parameter names: of these alone.
    func targets(named names: Set<String>?) -> [Node.Target] {
        acceptance.entries.filter { names?.contains($0.record.name) ?? true }.map { target($0, brake: brake) }
    }

    private func target(_ entry: Acceptance.Entry, brake: String?) -> Node.Target {
        Node.Target(
            entry.record, said[entry.record.ctid] ?? Overrides(), lastKnownGood: entry.lastKnownGood, pruneHeld: entry.pruneHeld,
            unreadable: entry.unreadable, brake: brake, on: host)
    }

    /// Why this generation removes and restarts nothing: it would do so to too many; `nil` when it would not, or that is meant.
    private func reasonToBrake(_ isRestart: (Node.Target) -> Bool) -> String? {
        let limit = Acceptance.limit(of: acceptance.known)
        guard !input.isAcknowledged else { return nil }
        // Only what may be restarted is worth looking at in the kernel, and only when it can come to too much.
        let mayRestart = acceptance.entries.filter { $0.record.accepted.lifecycle.disruption != .live && !$0.record.retired }
        guard acceptance.removed.count + mayRestart.count > limit else { return nil }
        let restarts = mayRestart.count { isRestart(target($0, brake: nil)) }
        guard acceptance.removed.count + restarts > limit else { return nil }
        return "\(acceptance.removed.count) of \(acceptance.known) containers would be removed and \(restarts) restarted, "
            + "which is more than \(limit); if that is meant"
    }
}
