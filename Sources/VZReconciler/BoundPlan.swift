internal import FoundationEssentials
public import VZIsolation
public import VZKernel
internal import VZModel
public import VZPlan

/// Why a plan is not carried out.
public struct StalePlan: Error, Equatable, Sendable, CustomStringConvertible {
    /// What is not as it was when the plan was made, each by its file or container.
    public var reasons: [String]

    public var description: String { "the plan is not true any more: " + reasons.joined(separator: "; ") + ": plan again" }
}

/// Plans that are made now and carried out later, if all is still as it was.
extension Node {
    /// The plan of a look as a document that can be carried out later.
    public func document(of plans: [(Plan.Container, IsolationCore.Observation)], _ look: Look, created: String) throws
        -> PlanDocument
    {
        let observed = plans.map { ($0.0.ctid, $0.1.container.digest) }
        return PlanDocument(
            Plan(containers: plans.map(\.0)), generation: look.generation, created: created, basis: try basis(of: look),
            observed: Dictionary(observed, uniquingKeysWith: { first, _ in first }))
    }

    private func basis(of look: Look) throws -> PlanDocument.Basis {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        func input(_ kind: String, _ target: Target, _ value: some Encodable) throws -> PlanDocument.Input {
            var digest = Digest()
            digest.add(try encoder.encode(value))
            return PlanDocument.Input(kind: kind, name: "\(target.record.ctid)", digest: digest.text)
        }
        var inputs = look.digests
        for target in look.targets {
            inputs.append(try input("record", target, target.record))
            if !target.overrides.isEmpty { inputs.append(try input("override", target, target.overrides)) }
        }
        return PlanDocument.Basis(node: id, inputs: inputs)
    }

    /// Does exactly what a plan says, under the locks of all its containers, if it is still true.
    ///
    /// It is made anew and compared: manifests, records, overrides, what each container is seen to be, and the changes themselves.
    /// - Parameters:
    ///   - node: the id of this node before it was prepared for changes.
    ///   - books: what is done is put down in them.
    ///   - done: called for each container that has something to do, with what was done and its process 1, or why it failed.
    /// - Throws: `StalePlan`, and whatever a look throws; nothing was done then.
    public func carryOut(
        _ planned: PlanDocument, onceNode node: String?, _ manner: Manner = Manner(), in books: Books,
        done: (Plan.Container, Result<PidFD?, any Error>) -> Void
    ) throws {
        let busy = planned.containers.filter { $0.changes.contains { $0.held == nil } }
        let locks = try Set(busy.map(\.ctid)).sorted().map { ctid throws in try lock(ctid) }
        defer { withExtendedLifetime(locks) {} }
        let now = try confirmed(planned, node)
        for (target, plan, observation) in now where busy.contains(where: { $0.ctid == plan.ctid }) {
            done(
                plan,
                Result {
                    try account(for: target, manner, planned.generation, in: books) { manner in
                        (plan, try execute(plan, on: observation.handle, of: target, manner))
                    }.1
                })
        }
    }

    private typealias Confirmed = (Target, Plan.Container, IsolationCore.Observation)

    /// What the plan comes to now, which is the same; its manifests are accepted from now on.
    private func confirmed(_ planned: PlanDocument, _ node: String?) throws -> [Confirmed] {
        guard let basis = planned.basis else {
            throw StalePlan(reasons: ["it does not tell what it was made from: use plan --out"])
        }
        guard basis.node == node else {
            throw StalePlan(
                reasons: [
                    "it was made on the node \(basis.node ?? "that had no id yet"), and this is \(node ?? "one that has none yet")"
                ])
        }
        let lock = try lockRecords()
        defer { withExtendedLifetime(lock) {} }
        let look = try look(remembering: false)
        var reasons = try basis.difference(from: self.basis(of: look)).map { "\($0) differs" }
        let targets = Dictionary(look.targets.map { ($0.record.ctid, $0) }, uniquingKeysWith: { first, _ in first })
        var confirmed: [Confirmed] = []
        for container in planned.containers {
            guard let target = targets[container.ctid] else {
                reasons.append("CT \(container.ctid) \(container.name) is not there")
                continue
            }
            let (plan, observation) = try plan(target)
            let digest = observation.container.digest
            if digest != container.observedDigest {
                reasons.append("CT \(container.ctid) \(container.name) is not in the state that it was in")
            } else if PlanDocument.Container(plan, observed: digest) != container {
                reasons.append("CT \(container.ctid) \(container.name) needs other changes")
            }
            confirmed.append((target, plan, observation))
        }
        guard reasons.isEmpty else { throw StalePlan(reasons: reasons) }
        try remember(look.toRemember)
        return confirmed
    }
}
