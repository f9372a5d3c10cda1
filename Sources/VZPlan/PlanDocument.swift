public import VZModel

/// A plan as a document: what `vzctl plan --json` prints for other programs, and `--out` keeps for `vzctl apply --plan`.
///
/// Its form is stable. `format_version` is `MAJOR.MINOR`; within 1.x members may be added, and values of `action` and `reason`, but
/// none is removed or given another meaning. A reader ignores members that it does not know, and refuses another MAJOR. A member
/// that has no value is left out.
public struct PlanDocument: Equatable, Sendable, Codable {
    public static let formatVersion = "1.0"

    public var formatVersion: String
    /// Of the manifests that the plan was made from.
    public var generation: String
    /// When it was made, as RFC 3339 has it, in UTC.
    public var created: String
    /// Sorted by CTID; those with nothing to do, too.
    public var containers: [Container]
    public var summary: Summary
    /// What it was made from and against; there in a plan that can be applied.
    public var basis: Basis?

    private enum CodingKeys: String, CodingKey {
        case formatVersion = "format_version"
        case generation, created, containers, summary, basis
    }

    public struct Container: Equatable, Sendable, Codable {
        public var ctid: ContainerID
        public var name: String
        /// `file:line` of its manifest, or why there is none.
        public var source: String
        /// In the order in which they are made.
        public var changes: [Change]
        public var unsupported: [Unsupported]
        /// Why the manifest is not in force as it stands.
        public var problem: String?
        /// Of what the container was seen to be; there in a plan that can be applied.
        public var observedDigest: String?

        private enum CodingKeys: String, CodingKey {
            case ctid, name, source, changes, unsupported, problem
            case observedDigest = "observed_digest"
        }
    }

    public struct Change: Equatable, Sendable, Codable {
        /// `make_root`, `discard_root` (into the trash), `set`, `start`, `stop`, or `wait` for what the next start brings.
        public var action: String
        /// As the manifest spells it; empty for what is no field.
        public var field: String
        /// In the user's terms; left out: there was nothing.
        public var before: String?
        public var after: String
        public var kernel: Kernel?
        /// `live`, `restart` or `recreate`.
        public var disruption: String
        /// `wanted`, `drift`, `override`, `removed` or `shutdown`.
        public var reason: String
        /// Why it is not made now; left out: it is.
        public var held: String?
    }

    /// The kernel's own setting: its file, or the name that sysctl(8) has for it.
    public struct Kernel: Equatable, Sendable, Codable {
        public var name: String
        public var before: Value?
        public var after: Value
    }

    /// A number, or text; no limit is the text `max`.
    public enum Value: Equatable, Sendable, Codable {
        case number(Int64)
        case text(String)

        init(_ value: Setting.Value) {
            switch value {
            case .number(let number): self = .number(number)
            case .text, .unlimited: self = .text(value.description)
            }
        }

        public init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let number = try? container.decode(Int64.self) {
                self = .number(number)
            } else {
                self = .text(try container.decode(String.self))
            }
        }

        public func encode(to encoder: any Encoder) throws {
            var container = encoder.singleValueContainer()
            switch self {
            case .number(let number): try container.encode(number)
            case .text(let text): try container.encode(text)
            }
        }
    }

    /// In numbers of containers, but for single changes that are made live, are held, or are drift, and what is unsupported.
    public struct Summary: Equatable, Sendable, Codable {
        public var starts: Int
        public var restarts: Int
        public var stops: Int
        /// Roots that go to the trash.
        public var trashed: Int
        public var live: Int
        public var held: Int
        public var drifted: Int
        public var unsupported: Int
        public var problems: Int
    }

    /// What must be the same when the plan is applied.
    public struct Basis: Equatable, Sendable, Codable {
        /// The id of the node; left out when it had none yet.
        public var node: String?
        /// Of all inputs together.
        public var inputsDigest: String
        public var inputs: [Input]

        private enum CodingKeys: String, CodingKey {
            case node, inputs
            case inputsDigest = "inputs_digest"
        }

        public init(node: String?, inputs: [Input]) {
            self.node = node
            self.inputs = inputs.sorted { ($0.kind, $0.name) < ($1.kind, $1.name) }
            var digest = Digest()
            for input in self.inputs { for part in [input.kind, input.name, input.digest] { digest.add(part: part) } }
            inputsDigest = digest.text
        }

        /// The inputs that one of the two has and the other has not, or not the same, as `KIND NAME`, sorted.
        public func difference(from other: Basis) -> [String] {
            let changed = inputs.filter { !other.inputs.contains($0) } + other.inputs.filter { !inputs.contains($0) }
            return Set(changed.map { "\($0.kind) \($0.name)" }).sorted()
        }
    }

    /// Something that decides what a plan says.
    public struct Input: Equatable, Sendable, Codable {
        /// `manifest`, `record` or `override`.
        public var kind: String
        /// A path, or a CTID.
        public var name: String
        public var digest: String

        public init(kind: String, name: String, digest: String) {
            self.kind = kind
            self.name = name
            self.digest = digest
        }
    }
}

extension PlanDocument {
    /// - Parameters:
    ///   - generation: of the manifests.
    ///   - created: as RFC 3339 has it, in UTC.
    ///   - basis: for a plan that is to be applied.
    ///   - observed: the digests of what was seen, by CTID.
    public init(
        _ plan: Plan, generation: String, created: String, basis: Basis? = nil, observed: [ContainerID: String] = [:]
    ) {
        formatVersion = Self.formatVersion
        self.generation = generation
        self.created = created
        self.basis = basis
        containers = plan.containers.map { Container($0, observed: observed[$0.ctid]) }
        summary = Summary(plan)
    }
}

extension PlanDocument.Container {
    /// - Parameter observed: the digest of what was seen.
    public init(_ container: Plan.Container, observed: String?) {
        (ctid, name, source) = (container.ctid, container.name, container.source)
        changes = container.changes.map { PlanDocument.Change($0) }
        unsupported = container.unsupported
        problem = container.problem
        observedDigest = observed
    }
}

extension PlanDocument.Change {
    init(_ change: VZPlan.Change) {
        action =
            switch change.action {
            case .makeRoot: "make_root"
            case .start: "start"
            case .stop: "stop"
            case .discardRoot: "discard_root"
            case .set: "set"
            case .wait: "wait"
            }
        (field, before, after) = (change.field, change.before, change.after)
        kernel = change.kernel.map { kernel in
            PlanDocument.Kernel(
                name: kernel.name, before: kernel.before.map { PlanDocument.Value($0) }, after: PlanDocument.Value(kernel.after))
        }
        (disruption, reason) = (change.disruption.rawValue, change.reason.rawValue)
        held = change.held
    }
}

extension PlanDocument.Summary {
    init(_ plan: Plan) {
        let counts = plan.counts
        (starts, restarts, stops, trashed) = (counts.starts, counts.restarts, counts.stops, counts.trashed)
        (live, held) = (counts.live, counts.held)
        drifted = plan.containers.reduce(0) { $0 + $1.changes.count { $0.reason == .drift } }
        unsupported = plan.containers.reduce(0) { $0 + $1.unsupported.count }
        problems = plan.containers.count { $0.problem != nil }
    }
}

extension ObservedContainer {
    /// Of all that decides what is to be done, and nothing that changes by itself.
    public var digest: String {
        var digest = Digest()
        func add(_ text: String?) {
            digest.add(part: text == nil ? "0" : "1")
            digest.add(part: text ?? "")
        }
        for flag in [isRunning, isPresent, rootExists] { add("\(flag)") }
        add(rootTemplate)
        for setting in settings.sorted(by: { $0.kernelName < $1.kernelName }) {
            add(setting.kernelName)
            switch setting.kernelValue {
            case .number(let number): add("number \(number)")
            case .text(let text): add("text \(text)")
            case .unlimited: add("unlimited")
            }
        }
        add(startedWith.map { "\($0.`init`.count) \($0.env.count)" })
        for argument in startedWith?.`init` ?? [] { add(argument) }
        for (name, value) in (startedWith?.env ?? [:]).sorted(by: { $0.key < $1.key }) {
            add(name)
            add(value)
        }
        return digest.text
    }
}
