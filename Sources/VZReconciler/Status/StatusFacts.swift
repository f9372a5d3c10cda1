public import VZModel
public import VZPlan

/// What one look at a container, or one convergence of it, has brought to light: what its next status is made of.
public struct StatusFacts: Equatable, Sendable {
    public enum Outcome: Equatable, Sendable {
        /// Nothing was to be made.
        case unchanged
        /// The changes that are not held are being made now; more will follow.
        case working
        /// All changes that are not held were made.
        case made
        /// One of them failed, or process 1 ended too soon, or the container could not be seen: why.
        case failed(String)
    }

    public var ctid: ContainerID
    public var name: String
    /// `file:line`, or a word when the manifest is gone.
    public var source: String
    public var gitRevision: String?
    /// Of the accepted manifest (`ManifestDigest`); what administrators said of it is not in it.
    public var digest: String
    public var desired: RunState
    /// What it does afterwards; `nil` when it could not be seen.
    public var observed: RunState?
    /// Whether its root exists.
    public var exists: Bool
    /// Process 1 as the host numbers it.
    public var process: Int32?
    /// The plan that this convergence began with, including what is held.
    public var changes: [Change]
    public var unsupported: [Unsupported]
    public var outcome: Outcome
    /// The id of this convergence.
    public var reconcile: String

    /// Why the last accepted manifest is in force instead of the file as it stands.
    public var manifestProblem: String?
    /// Who says what against the manifest, and until when.
    public var override: String?
    /// Who holds it, why, and until when.
    public var hold: String?
    /// Why the brake has it wait, and for which word.
    public var pruneHeld: String?
    /// Why only new input mends it.
    public var stalled: String?
    /// How many times in a row process 1 has ended too soon; 0 once it stayed.
    public var crashes: Int
    /// What the kernel has counted of each resource: refused for want of it, since the container's start.
    public var failures: [String: Int64]

    public init(
        ctid: ContainerID, name: String, source: String, gitRevision: String? = nil, digest: String, desired: RunState,
        observed: RunState?, exists: Bool = true, process: Int32? = nil, changes: [Change] = [], unsupported: [Unsupported] = [],
        outcome: Outcome = .unchanged, reconcile: String = "", manifestProblem: String? = nil, override: String? = nil,
        hold: String? = nil, pruneHeld: String? = nil, stalled: String? = nil, crashes: Int = 0, failures: [String: Int64] = [:]
    ) {
        self.ctid = ctid
        self.name = name
        self.source = source
        self.gitRevision = gitRevision
        self.digest = digest
        self.desired = desired
        self.observed = observed
        self.exists = exists
        self.process = process
        self.changes = changes
        self.unsupported = unsupported
        self.outcome = outcome
        self.reconcile = reconcile
        self.manifestProblem = manifestProblem
        self.override = override
        self.hold = hold
        self.pruneHeld = pruneHeld
        self.stalled = stalled
        self.crashes = crashes
        self.failures = failures
    }

    /// So many ends too soon in a row are a loop.
    public static let crashLoop = 3
    /// A limit counts as hit for so long after the last failure.
    public static let limitMemory = Duration.seconds(600)

    var isCrashLooping: Bool { crashes >= Self.crashLoop }
    var isWorking: Bool { outcome == .working }
    var error: String? { if case .failed(let message) = outcome { message } else { nil } }

    /// What is still to be done now.
    var remaining: [Change] { outcome == .made ? changes.filter { $0.held != nil } : changes }

    /// How the container fares.
    public var health: Health {
        guard let observed else { return .unknown }
        if isCrashLooping || stalled != nil || error != nil { return .degraded }
        if isWorking { return .progressing }
        switch (desired, observed) {
        case (_, .running): return .healthy  // also when it shall not: it fares well, and is out of sync
        case (.stopped, _): return .healthy
        case (.suspended, .suspended): return .suspended
        case (_, .suspended): return .suspended
        case (_, .stopped): return exists ? .degraded : .missing
        }
    }

    /// Whether the kernel holds what the manifest says.
    public var sync: Sync {
        if observed == nil || manifestProblem != nil { return .unknown }
        let isDone = remaining.isEmpty && pruneHeld == nil && observed == desired && !isWorking && error == nil
        return isDone ? .inSync : .outOfSync
    }
}
