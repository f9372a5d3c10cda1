public import VZModel
public import VZPlan

/// What is known of one container: the content of `RUN/status/CTID.json`.
///
/// Readers pass over fields and conditions that they do not know; `formatVersion` changes only when that would mislead them.
public struct ContainerStatus: Equatable, Sendable {
    public static let formatVersion = 1
    /// So many of the last results are kept.
    public static let resultCount = 5

    public var ctid: ContainerID
    public var name: String
    /// Where the manifest in force stands, `file:line`; a word when there is none any more.
    public var source: String
    /// The commit of the work tree that `source` lies in.
    public var gitRevision: String?
    /// Of the accepted manifest (`ManifestDigest`); what administrators said of it is not in it.
    public var digest: String
    public var generation: Generation
    /// What it was seen to do; `nil` when it could not be seen.
    public var state: RunState?
    public var desiredState: RunState
    public var health: Health
    public var sync: Sync
    /// All kinds, in the order of `Condition.Kind`.
    public var conditions: [Condition]
    /// Of the last convergences that did something or failed, the latest last.
    public var results: [Result]
    /// How many changes made outside were put back.
    public var driftCount: Int
    /// How often process 1 was seen to be another than before.
    public var restarts: Int
    /// Process 1 as the host numbers it, while it runs.
    public var process: Int32?
    /// The last `process` that there was.
    public var lastProcess: Int32?
    /// What the manifest asks for and this host cannot enforce.
    public var unsupported: [Unsupported]
    /// Of the resources that failures are counted of, by their names.
    public var limits: [String: LimitCount]

    /// How many manifests in force there have been, each differing from the one before.
    public struct Generation: Equatable, Sendable, Codable {
        /// Of the manifest in force.
        public var attempted: Int
        /// Of the last one that was brought into effect with nothing left to do.
        public var applied: Int

        public init(attempted: Int, applied: Int) {
            self.attempted = attempted
            self.applied = applied
        }
    }

    public struct Result: Equatable, Sendable, Codable {
        public enum Outcome: String, Sendable, Codable {
            case changed, failed
        }

        public var time: WallTime
        /// The id of the convergence, the same in the audit log.
        public var reconcile: String
        public var outcome: Outcome
        public var message: String

        public init(time: WallTime, reconcile: String, outcome: Outcome, message: String) {
            self.time = time
            self.reconcile = reconcile
            self.outcome = outcome
            self.message = message
        }
    }

    public struct LimitCount: Equatable, Sendable, Codable {
        /// In all, as the kernel counts them since the container's start.
        public var failures: Int64
        /// When the count was last seen to grow.
        public var lastHit: WallTime?

        public init(failures: Int64, lastHit: WallTime? = nil) {
            self.failures = failures
            self.lastHit = lastHit
        }

        private enum CodingKeys: String, CodingKey {
            case failures
            case lastHit = "last_hit"
        }
    }

    public subscript(_ kind: Condition.Kind) -> Condition? { conditions.first { $0.kind == kind } }

    /// Whether a condition is true.
    public func isTrue(_ kind: Condition.Kind) -> Bool { self[kind]?.status == .true }

    /// Whether the container is in every respect as its manifest in force says, and nothing is under way.
    public var isConverged: Bool {
        sync == .inSync && isTrue(.ready) && !isTrue(.reconciling) && generation.applied >= generation.attempted
    }
}

extension ContainerStatus: Codable {
    private enum CodingKeys: String, CodingKey {
        case formatVersion = "format_version"
        case ctid, name, source, digest, generation, state, health, sync, conditions, results, restarts, process, unsupported,
            limits
        case gitRevision = "git_revision"
        case desiredState = "desired_state"
        case driftCount = "drift_count"
        case lastProcess = "last_process"
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(Self.formatVersion, forKey: .formatVersion)
        try container.encode(ctid, forKey: .ctid)
        try container.encode(name, forKey: .name)
        try container.encode(source, forKey: .source)
        try container.encodeIfPresent(gitRevision, forKey: .gitRevision)
        try container.encode(digest, forKey: .digest)
        try container.encode(generation, forKey: .generation)
        try container.encodeIfPresent(state, forKey: .state)
        try container.encode(desiredState, forKey: .desiredState)
        try container.encode(health, forKey: .health)
        try container.encode(sync, forKey: .sync)
        try container.encode(conditions, forKey: .conditions)
        try container.encode(results, forKey: .results)
        try container.encode(driftCount, forKey: .driftCount)
        try container.encode(restarts, forKey: .restarts)
        try container.encodeIfPresent(process, forKey: .process)
        try container.encodeIfPresent(lastProcess, forKey: .lastProcess)
        try container.encode(unsupported, forKey: .unsupported)
        try container.encode(limits, forKey: .limits)
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        let version = try container.decode(Int.self, forKey: .formatVersion)
        guard version == Self.formatVersion else {
            throw DecodingError.dataCorruptedError(
                forKey: .formatVersion, in: container, debugDescription: "expected \(Self.formatVersion), got \(version)")
        }
        func word<T: RawRepresentable<String>>(_ key: CodingKeys, else other: T) throws -> T {
            try T(rawValue: container.decode(String.self, forKey: key)) ?? other
        }
        self.init(
            ctid: try container.decode(ContainerID.self, forKey: .ctid), name: try container.decode(String.self, forKey: .name),
            source: try container.decode(String.self, forKey: .source),
            gitRevision: try container.decodeIfPresent(String.self, forKey: .gitRevision),
            digest: try container.decode(String.self, forKey: .digest),
            generation: try container.decode(Generation.self, forKey: .generation),
            state: try container.decodeIfPresent(String.self, forKey: .state).flatMap(RunState.init),
            desiredState: try container.decode(RunState.self, forKey: .desiredState),
            health: try word(.health, else: .unknown), sync: try word(.sync, else: .unknown),
            conditions: try container.decode([Known<Condition>].self, forKey: .conditions).compactMap(\.value),
            results: try container.decodeIfPresent([Known<Result>].self, forKey: .results)?.compactMap(\.value) ?? [],
            driftCount: try container.decodeIfPresent(Int.self, forKey: .driftCount) ?? 0,
            restarts: try container.decodeIfPresent(Int.self, forKey: .restarts) ?? 0,
            process: try container.decodeIfPresent(Int32.self, forKey: .process),
            lastProcess: try container.decodeIfPresent(Int32.self, forKey: .lastProcess),
            unsupported: try container.decodeIfPresent([Unsupported].self, forKey: .unsupported) ?? [],
            limits: try container.decodeIfPresent([String: LimitCount].self, forKey: .limits) ?? [:])
    }

    /// An element of a list that a later version may have more kinds of.
    private struct Known<Value: Decodable>: Decodable {
        var value: Value?
        init(from decoder: any Decoder) throws { value = try? Value(from: decoder) }
    }
}
