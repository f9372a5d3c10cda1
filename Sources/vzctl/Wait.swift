internal import ArgumentParser
internal import Glibc
internal import VZIsolation
internal import VZManifest
internal import VZModel
internal import VZReconciler

/// `vzctl wait`: blocks until a container is as it is wished.
struct Wait: ParsableCommand {
    enum Goal: String, ExpressibleByArgument, CaseIterable {
        case converged, running, stopped
    }

    static let configuration = CommandConfiguration(
        abstract: "Wait until a container is converged, running or stopped.",
        discussion: """
            Converged: vzd has taken in the manifest as it stands now, the kernel holds what it says, nothing is under way, held or \
            waiting, and the container is in the state that it shall be in. Where the caller cannot read the manifests, the one that vzd \
            took in last counts. Looks at what vzd writes down; needs no root for members of group vz.
            Exit codes: 0; 68 no such container; 75 not in time; 77 not permitted.
            """)

    @Argument(help: "Name or CTID.")
    var name: String

    @Option(name: .customLong("for"), help: "converged, running or stopped.")
    var goal: Goal

    @Option(help: "Seconds to wait at most; for ever without.")
    var timeout: Double?

    func validate() throws {
        if let timeout, !(0...1_000_000_000).contains(timeout) {
            throw ValidationError("--timeout: expected 0 seconds or more, got \(timeout)")
        }
    }

    func run() throws {
        try report {
            var watch = StatusWatch(name: name, access: LookAccess())
            try watch.wait(for: goal, until: Patience(seconds: timeout))
        }
    }
}

/// How long somebody wants to wait, from now on; for ever without seconds.
struct Patience {
    private let seconds: Double?
    private let deadline: ContinuousClock.Instant?

    init(seconds: Double?) {
        self.seconds = seconds
        deadline = seconds.map { ContinuousClock.now + .seconds($0) }
    }

    var isOver: Bool { deadline.map { $0 <= .now } ?? false }

    /// Waits a little, and not beyond the end.
    func pause() {
        let pause = deadline.map { min(.milliseconds(50), $0 - .now) } ?? .milliseconds(50)
        poll(nil, 0, Int32(max(1, pause / .milliseconds(1))))
    }

    var text: String { seconds.map { $0 == $0.rounded() ? "\(Int($0)) s" : "\($0) s" } ?? "" }
}

/// Looks at one container again and again.
struct StatusWatch {
    private let name: String
    private let ctid: ContainerID?
    private let access: LookAccess
    private var last: ContainerStatus?
    /// The manifest that was found to be the one in force, and when the manifests were read.
    private var declared: (value: ManifestDigest.Declared, time: ContinuousClock.Instant)?
    /// What it lacks, for a message.
    private(set) var lack = "vzd has not told of it"

    /// - Parameter ctid: when it is known; spares the search for the name.
    init(name: String, ctid: ContainerID? = nil, access: LookAccess) {
        self.name = name
        self.ctid = ctid
        self.access = access
    }

    /// Waits until the container is as it is wished.
    /// - Throws: `Failure` when it is not in time, and what else `isReached` throws.
    mutating func wait(for goal: Wait.Goal, until patience: Patience) throws {
        while try !isReached(goal) {
            if patience.isOver { throw Failure("CT \(name) is not \(goal) after \(patience.text): \(lack)", .temporary) }
            patience.pause()
        }
    }

    mutating func isReached(_ goal: Wait.Goal) throws -> Bool {
        guard let status = try look() else {
            // Of a container that is gone no file is left.
            if last != nil && goal == .stopped { return true }
            if last != nil { throw Failure("CT \(name) is gone", .unknownContainer) }
            if !isDeclared { throw access.unknown(name) }
            return false
        }
        if status != last { declared = nil }
        last = status
        lack = Self.text(status)
        switch goal {
        case .running: return status.state == .running
        case .stopped: return status.state == .stopped
        case .converged: return status.isConverged && isInForce(status)
        }
    }

    private func look() throws -> ContainerStatus? {
        try access.reading(access.paths.status) {
            if let ctid = last?.ctid ?? ctid, let status = access.status.status(of: ctid) { return status }
            if ctid != nil { return nil }
            return try access.status.find(name)
        }
    }

    /// Whether vzd has taken in the manifest as it stands.
    private mutating func isInForce(_ status: ContainerStatus) -> Bool {
        let now = ContinuousClock.now
        // Reading all manifests takes longer than a look.
        if declared.map({ now - $0.time > .seconds(1) }) ?? true {
            declared = (ManifestDigest.declared(status.name, ctid: status.ctid, in: access.paths.manifests), now)
        }
        switch declared?.value {
        case .valid(let digest) where digest != status.digest: lack = "vzd has not taken in its manifest yet"
        case .missing where access.paths.manifests.contains { status.source.hasPrefix($0 + "/") }:
            lack = "vzd has not taken in that its manifest is gone"
        case .invalid: lack = "its manifest is not valid: see vzctl validate"
        default: return true
        }
        return false
    }

    private var isDeclared: Bool {
        switch ManifestDigest.declared(name, ctid: ContainerID(text: name), in: access.paths.manifests) {
        case .missing: false
        default: true
        }
    }

    private static func text(_ status: ContainerStatus) -> String {
        let told: [Condition.Kind] = [
            .stalled, .crashLooping, .held, .pruneHeld, .restartRequired, .reconciling,
        ]
        let reasons = told.filter(status.isTrue).map { "\($0.rawValue): \(status[$0]?.message ?? "")" }
        let invalid = status[.manifestValid].flatMap { $0.status == .false ? "ManifestValid=False: \($0.message)" : nil }
        let state = "it is \(status.state?.rawValue ?? "unknown"), \(status.sync.rawValue), \(status.health.rawValue)"
        return ([state] + reasons + [invalid].compactMap { $0 }).joined(separator: "; ")
    }
}
