/// One aspect of a container that is either so or not, since when, and why.
public struct Condition: Equatable, Sendable, Codable {
    public enum Kind: String, Sendable, Codable, CaseIterable {
        /// It is in the state that it shall be in.
        case ready = "Ready"
        /// Something is being done, or will be tried again.
        case reconciling = "Reconciling"
        /// Only new input mends it.
        case stalled = "Stalled"
        /// The manifest as it stands is the one in force.
        case manifestValid = "ManifestValid"
        /// Something was found changed outside at the last look.
        case drifted = "Drifted"
        /// An administrator's word goes before the manifest.
        case overridden = "Overridden"
        /// Nothing of it is converged.
        case held = "Held"
        /// A change waits for a restart.
        case restartRequired = "RestartRequired"
        /// Its removal or restart is one of too many at once and waits for a word.
        case pruneHeld = "PruneHeld"
        /// Its process 1 ends too soon, again and again.
        case crashLooping = "CrashLooping"
        /// It has run into a limit lately.
        case limitHit = "LimitHit"
    }

    public enum Status: String, Sendable, Codable {
        case `true` = "True"
        case `false` = "False"
        case unknown = "Unknown"
    }

    public var kind: Kind
    public var status: Status
    /// One word in CamelCase, for programs.
    public var reason: String
    /// For people; may be empty.
    public var message: String
    /// Since when `status` is what it is.
    public var lastTransition: WallTime

    public init(_ kind: Kind, _ status: Status, reason: String, message: String = "", lastTransition: WallTime) {
        self.kind = kind
        self.status = status
        self.reason = reason
        self.message = message
        self.lastTransition = lastTransition
    }

    private enum CodingKeys: String, CodingKey {
        case kind = "type"
        case status, reason, message
        case lastTransition = "last_transition"
    }
}

/// How a container fares, whatever its manifest says of limits.
public enum Health: String, Sendable, Codable, CaseIterable {
    /// It does what it shall do; also: it is stopped, as it shall be.
    case healthy = "Healthy"
    /// It is being brought there.
    case progressing = "Progressing"
    /// It does not do what it shall do.
    case degraded = "Degraded"
    /// It is suspended, as it shall be.
    case suspended = "Suspended"
    /// It shall run, and nothing of it exists.
    case missing = "Missing"
    /// It could not be seen.
    case unknown = "Unknown"
}

/// Whether the kernel holds what the manifest says.
public enum Sync: String, Sendable, Codable, CaseIterable {
    case inSync = "InSync"
    case outOfSync = "OutOfSync"
    /// The manifest as it stands, or the container, could not be understood.
    case unknown = "Unknown"
}
