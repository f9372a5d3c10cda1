public import Logging
internal import Synchronization
public import VZIsolation
internal import VZKernel
internal import VZManifest
internal import VZModel
internal import VZPlan

/// The accounts that a node keeps: the containers' status files, the audit log, events, and the word to the service manager.
public final class Books: Accounts {
    private struct State {
        /// What status said last of each container.
        var facts: [ContainerID: StatusFacts] = [:]
        /// Those of whom the same would be said again.
        var quiet: Set<ContainerID> = []
        var revisions: [String: String] = [:]
        var isReloading = false
        var said = ""
    }

    private let log: Logger
    private let actor: String
    private let status: StatusDirectory?
    private let audit: AuditLog
    private let events: EventLog
    private let manager: ServiceManager?
    private let state = Mutex(State())

    /// - Parameters:
    ///   - actor: who makes the changes: `vzd`, or `vzctl USER`.
    ///   - log: is told what happens.
    ///   - troubles: is told what cannot be written down; `nil`: `log` as well.
    ///   - keepsStatus: whether the status files are kept here; no where a daemon keeps them.
    ///   - manager: the service manager that waits for a word of this process.
    public init(
        paths: NodePaths, actor: String, log: Logger, troubles: Logger? = nil, keepsStatus: Bool = true,
        manager: ServiceManager? = nil
    ) {
        let troubles = troubles ?? log
        self.log = log
        self.actor = actor
        self.manager = manager
        status = keepsStatus ? StatusDirectory(paths.status, log: troubles) : nil
        audit = AuditLog(state: paths.state, log: troubles)
        events = EventLog(run: paths.run, log: log, troubles: troubles)
    }

    /// A reload was asked for; it is over with the next look.
    func reloading() {
        manager?.reloading()
        state.withLock { $0.isReloading = true }
    }

    func looked(_ look: Node.Look, isFirst: Bool) {
        // One whose manifest is gone and that has nothing in the kernel any more is no more.
        let alive = Set(look.targets.filter { !$0.record.retired || look.present.contains($0.record.ctid) }.map(\.record.ctid))
        let directories = Set(look.targets.compactMap { Self.directory(of: $0.record) })
        var revisions: [String: String] = [:]
        for directory in directories { revisions[directory] = GitRevision.of(directory: directory) }
        let faulty = look.targets.count { $0.lastKnownGood != nil }
        let text =
            "\(alive.count) containers, \(look.present.count) in the kernel"
            + (look.diagnostics.isEmpty ? "" : "; \(look.diagnostics.count) mistakes in manifests, \(faulty) kept as they were")
        let (isNews, isReloading, gone) = state.withLock { state in
            defer {
                state.said = text
                state.isReloading = false
                state.revisions = revisions
                state.facts = state.facts.filter { alive.contains($0.key) }
            }
            return (state.said != text, state.isReloading, isFirst || state.facts.keys.contains { !alive.contains($0) })
        }
        if gone { status?.keep(only: alive) }
        if isFirst || isReloading { manager?.ready(text) } else if isNews { manager?.say(text) }
    }

    func begun(_ change: Change, in reconcile: String, of target: Node.Target) {
        let known = state.withLock { $0.facts[target.record.ctid] }
        var facts = known ?? facts(of: Outcome(id: reconcile, target: target, generation: ""))
        (facts.changes, facts.outcome, facts.reconcile) = ([change], .working, reconcile)
        write(facts)
    }

    func made(_ change: Change, in reconcile: String, of record: ContainerRecord) {
        log.info(
            "CT \(record.ctid) \(record.name): \(change.summary)",
            metadata: ["ctid": "\(record.ctid)", "reconcile": "\(reconcile)"])
        audit.append(AuditEntry(change, of: record.ctid, name: record.name, reconcile: reconcile, actor: actor))
        let reason: String? =
            switch change.action {
            case .start: "Started"
            case .stop: "Stopped"
            case .discardRoot: "RootToTrash"
            case .set: change.reason == .drift ? "Drift" : nil
            case .makeRoot, .wait: nil
            }
        if let reason {
            // It stands in the log already.
            events.note(
                change.reason == .drift ? .warning : .normal, reason, change.summary, of: record.ctid, name: record.name,
                reconcile: reconcile, level: .debug)
        }
    }

    func converged(_ outcome: Outcome) {
        let record = outcome.target.record
        if let error = outcome.error {
            if let change = outcome.failedAt {
                audit.append(
                    AuditEntry(change, of: record.ctid, name: record.name, reconcile: outcome.id, actor: actor, error: error))
            }
            if !outcome.needsInput { tell(record, .error, error, retry: outcome.retry, reconcile: outcome.id) }
            events.note(
                .warning, outcome.needsInput ? "NeedsInput" : "Failed", error, of: record.ctid, name: record.name,
                reconcile: outcome.id, level: outcome.needsInput ? .error : .debug)
        }
        let plan = outcome.plan
        if let problem = plan?.problem { note(record, .warning, "NotAsDeclared", problem) }
        for unsupported in plan?.unsupported ?? [] {
            note(
                record, .warning, "Unsupported",
                "\(unsupported.field) \(unsupported.value) is unsupported here: \(unsupported.reason)")
        }
        for change in plan?.changes ?? [] {
            if let held = change.held { note(record, .warning, "Held", "\(change.subject) → \(change.after): \(held)") }
        }
        tellRefusals(outcome)
        write(facts(of: outcome))
    }

    /// What was refused since it was told last. A program that fails for a limit rarely says for which.
    private func tellRefusals(_ outcome: Outcome) {
        guard let status, !outcome.refusals.isEmpty else { return }
        let record = outcome.target.record
        let known = state.withLock { $0.facts[record.ctid]?.failures } ?? status.failures(of: record.ctid)
        for (name, text) in outcome.refusals.sorted(by: { $0.key < $1.key }) {
            let (count, before) = (outcome.failures[name] ?? 0, known[name] ?? 0)
            // Less than before: it was started anew.
            let more = count >= before ? count - before : count
            if more > 0 { note(record, .warning, "LimitHit", "\(name): \(more) refused; \(text)") }
        }
    }

    /// A failure is told each time: there is longer and longer between two.
    private func tell(
        _ record: ContainerRecord, _ level: Logger.Level, _ message: String, retry: Duration?, reconcile: String = ""
    ) {
        let next = retry.map { "; next try in \($0.text)" } ?? ""
        log.log(
            level: level, "CT \(record.ctid) \(record.name): \(message)\(next)",
            metadata: ["ctid": "\(record.ctid)", "reconcile": "\(reconcile)"].filter { "\($0.value)" != "" })
    }

    private func facts(of outcome: Outcome) -> StatusFacts {
        let target = outcome.target
        let record = target.record
        let revision = Self.directory(of: record).flatMap { directory in state.withLock { $0.revisions[directory] } }
        let said = target.overrides
        var facts = StatusFacts(
            ctid: record.ctid, name: record.name, source: target.desired.source, gitRevision: revision,
            digest: ManifestDigest.of(record.accepted), desired: target.desired.state,
            observed: outcome.error != nil && outcome.plan == nil && !outcome.isRunning
                ? nil : outcome.isRunning ? .running : .stopped)
        facts.exists = outcome.rootExists
        facts.process = outcome.process
        facts.changes = outcome.plan?.changes ?? []
        facts.unsupported = outcome.plan?.unsupported ?? []
        facts.outcome = outcome.error.map { .failed($0) } ?? (outcome.made.isEmpty ? .unchanged : .made)
        facts.reconcile = outcome.id
        facts.manifestProblem = target.lastKnownGood
        facts.override = said.isEmpty ? nil : said.summary.joined(separator: "; ")
        facts.hold = target.desired.hold
        facts.pruneHeld = target.pruneHeld
        facts.stalled = outcome.needsInput ? outcome.error : nil
        facts.crashes = outcome.crashes
        facts.failures = outcome.failures
        return facts
    }

    private static func directory(of record: ContainerRecord) -> String? {
        record.source.file.lastIndex(of: "/").map { String(record.source.file[..<$0]) }
    }

    private func write(_ facts: StatusFacts) {
        guard let status = status?.update(facts) else { return }
        // What was told of changes is over at the next look, and a limit that was hit some time later.
        let isQuiet = facts.outcome == .unchanged && facts.crashes == 0 && !status.isTrue(.limitHit) && facts.stalled == nil
        state.withLock { state in
            state.facts[facts.ctid] = facts
            if isQuiet { state.quiet.insert(facts.ctid) } else { state.quiet.remove(facts.ctid) }
        }
    }

    func ended(_ target: Node.Target, crashes: Int, _ message: String, retry: Duration?) {
        let record = target.record
        tell(record, crashes > 0 ? .error : .warning, message, retry: retry)
        events.note(
            .warning, crashes > 0 ? "EndedTooSoon" : "Ended", message, of: record.ctid, name: record.name, level: .debug)
        guard var facts = state.withLock({ $0.facts[record.ctid] }) else { return }
        (facts.observed, facts.process, facts.crashes, facts.reconcile) = (.stopped, nil, crashes, "")
        facts.outcome = .failed(message)
        write(facts)
    }

    func stalled(_ target: Node.Target, _ change: Change) {
        let message = "takes longer than it may: \(change.subject) → \(change.after)"
        note(target.record, .error, "Stalled", message)
        guard var facts = state.withLock({ $0.facts[target.record.ctid] }) else { return }
        facts.stalled = message
        write(facts)
    }

    func note(_ record: ContainerRecord?, _ level: NoteLevel, _ reason: String, _ message: String) {
        let logged: Logger.Level =
            switch level {
            case .info: .info
            case .warning: .warning
            case .error: .error
            }
        events.note(
            level == .info ? .normal : .warning, reason, message, of: record?.ctid, name: record?.name, level: logged)
    }

    func isNews(failures: [String: Int64], of ctid: ContainerID) -> Bool {
        state.withLock { !$0.quiet.contains(ctid) || $0.facts[ctid]?.failures != failures } || status?.isWritten(ctid) == false
    }
}
