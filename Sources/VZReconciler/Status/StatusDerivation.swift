internal import VZModel
internal import VZPlan

extension ContainerStatus {
    /// The status after `previous` and what was found since. The same facts twice give the same status, but for `limitHit`, which is
    /// forgotten with time.
    public init(after previous: ContainerStatus?, _ facts: StatusFacts, at now: WallTime) {
        // What was counted of another container is none of this one's.
        let previous = previous.flatMap { $0.ctid == facts.ctid ? $0 : nil }
        let limits = Self.limits(after: previous, facts, now)
        let process = facts.observed == .running ? facts.process : nil
        let isRestart = process != nil && previous?.lastProcess.map { $0 != process } ?? false
        self.init(
            ctid: facts.ctid, name: facts.name, source: facts.source, gitRevision: facts.gitRevision, digest: facts.digest,
            generation: Self.generation(after: previous, facts), state: facts.observed, desiredState: facts.desired,
            health: facts.health, sync: facts.sync, conditions: [], results: previous?.results ?? [],
            driftCount: previous?.driftCount ?? 0, restarts: (previous?.restarts ?? 0) + (isRestart ? 1 : 0), process: process,
            lastProcess: process ?? previous?.lastProcess, unsupported: facts.unsupported, limits: limits)
        conditions = ConditionRules(facts, limits, now).all.map { new in
            var new = new
            if let old = previous?[new.kind], old.status == new.status { new.lastTransition = old.lastTransition }
            return new
        }
        switch facts.outcome {
        case .unchanged, .working: break
        case .made:
            driftCount += facts.changes.count { $0.reason == .drift && $0.held == nil }
            add(.changed, facts.changes.filter { $0.held == nil }.text, facts, now)
        case .failed(let message): add(.failed, message, facts, now)
        }
    }

    private mutating func add(_ outcome: Result.Outcome, _ message: String, _ facts: StatusFacts, _ now: WallTime) {
        results.append(Result(time: now, reconcile: facts.reconcile, outcome: outcome, message: message))
        results = results.suffix(Self.resultCount)
    }

    private static func generation(after previous: ContainerStatus?, _ facts: StatusFacts) -> Generation {
        var generation = previous?.generation ?? Generation(attempted: 0, applied: 0)
        if previous?.digest != facts.digest { generation.attempted += 1 }
        let isDone = facts.remaining.isEmpty && facts.pruneHeld == nil && facts.error == nil && !facts.isWorking
        if isDone && facts.observed != nil { generation.applied = generation.attempted }
        return generation
    }

    private static func limits(
        after previous: ContainerStatus?, _ facts: StatusFacts, _ now: WallTime
    ) -> [String: LimitCount] {
        var limits: [String: LimitCount] = [:]
        for (resource, count) in facts.failures {
            let old = previous?.limits[resource]
            // A lower count is the count of a new start.
            let before = old.map { $0.failures <= count ? $0.failures : 0 } ?? 0
            limits[resource] = LimitCount(failures: count, lastHit: count > before ? now : old?.lastHit)
        }
        return limits
    }
}

/// The conditions that follow from facts; each is told with a reason, true or false.
private struct ConditionRules {
    private let facts: StatusFacts
    private let limits: [String: ContainerStatus.LimitCount]
    private let now: WallTime

    init(_ facts: StatusFacts, _ limits: [String: ContainerStatus.LimitCount], _ now: WallTime) {
        self.facts = facts
        self.limits = limits
        self.now = now
    }

    var all: [Condition] { Condition.Kind.allCases.map(condition) }

    private func condition(_ kind: Condition.Kind) -> Condition {
        switch kind {
        case .ready: return ready
        case .reconciling: return reconciling
        case .stalled: return told(kind, facts.stalled, "NeedsInput", else: "NotStalled")
        case .manifestValid:
            guard let problem = facts.manifestProblem else { return make(kind, .true, "Accepted") }
            return make(kind, .false, "LastAcceptedInForce", problem)
        case .drifted:
            let drift = facts.changes.filter { $0.reason == .drift }
            return told(kind, drift.isEmpty ? nil : drift.text, "ChangedOutside", else: "NoDrift")
        case .overridden: return told(kind, facts.override, "LocalOverride", else: "NoOverride")
        case .held: return told(kind, facts.hold, "OnHold", else: "NotHeld")
        case .restartRequired:
            let waiting = facts.changes.filter { $0.held != nil && $0.disruption != .live }
            let text = waiting.isEmpty ? nil : waiting.map { "\($0.subject): \($0.held ?? "")" }.joined(separator: "; ")
            return told(kind, text, "ChangesWait", else: "NothingWaits")
        case .pruneHeld: return told(kind, facts.pruneHeld, "TooManyAtOnce", else: "NotHeld")
        case .crashLooping:
            let text = "process 1 ended too soon \(facts.crashes) times in a row"
            return told(kind, facts.isCrashLooping ? text : nil, "EndsTooSoon", else: "NoCrashLoop")
        case .limitHit: return limitHit
        }
    }

    private func make(_ kind: Condition.Kind, _ status: Condition.Status, _ reason: String, _ message: String = "") -> Condition {
        Condition(kind, status, reason: reason, message: message, lastTransition: now)
    }

    private func told(_ kind: Condition.Kind, _ text: String?, _ reason: String, else other: String) -> Condition {
        text.map { make(kind, .true, reason, $0) } ?? make(kind, .false, other)
    }

    private var ready: Condition {
        guard let observed = facts.observed else { return make(.ready, .unknown, "NotObserved", facts.error ?? "") }
        if observed == facts.desired && !facts.isCrashLooping { return make(.ready, .true, observed.rawValue.capitalizedWord) }
        let message = facts.error ?? "it shall be \(facts.desired.rawValue) and is \(observed.rawValue)"
        if facts.isCrashLooping { return make(.ready, .false, "CrashLooping", message) }
        if facts.isWorking { return make(.ready, .false, "Reconciling", message) }
        if facts.error != nil { return make(.ready, .false, "Failed", message) }
        if facts.hold != nil { return make(.ready, .false, "OnHold", message) }
        return make(.ready, .false, "Not" + facts.desired.rawValue.capitalizedWord, message)
    }

    private var reconciling: Condition {
        if facts.isWorking {
            let subjects = facts.changes.filter { $0.held == nil }.map(\.subject)
            return make(.reconciling, .true, "Converging", "at work on " + subjects.prefix(20).joined(separator: ", "))
        }
        if facts.stalled == nil, let error = facts.error { return make(.reconciling, .true, "Retrying", error) }
        return make(.reconciling, .false, facts.stalled == nil ? "Settled" : "Stalled")
    }

    private var limitHit: Condition {
        let lately = limits.filter { $0.value.lastHit.map { now - $0 < StatusFacts.limitMemory } ?? false }
        guard !lately.isEmpty else { return make(.limitHit, .false, "NoLimitHit") }
        let texts = lately.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value.failures) failures" }
        return make(.limitHit, .true, "FailuresCounted", texts.joined(separator: ", "))
    }
}

extension Change {
    /// What it is about, in a word.
    var subject: String {
        switch action {
        case .makeRoot, .discardRoot: "root"
        case .start: "start"
        case .stop: "stop"
        case .set, .wait: field
        }
    }
}

extension [Change] {
    /// All of them in one line of bounded length.
    var text: String {
        let shown = prefix(8).map(\.summary).joined(separator: "; ")
        return count > 8 ? "\(shown); and \(count - 8) more" : shown
    }
}

extension String {
    /// With its first letter, one of ASCII, in upper case.
    fileprivate var capitalizedWord: String { prefix(1).uppercased() + dropFirst() }
}
