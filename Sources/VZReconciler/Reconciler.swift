internal import Glibc
internal import Logging
internal import Synchronization
internal import VZIsolation
internal import VZKernel
internal import VZModel
internal import VZPlan

/// The loop: reads everything when told to look, and converges each container by itself, so that one failure never stops another's.
///
/// It keeps only caches. Whatever it knows can be lost at any instant and is read anew from the manifests, the records and the kernel.
final class Reconciler: Sendable {
    /// Why a key is worked on.
    enum Key: Hashable, Sendable {
        /// Read all manifests.
        case look
        case container(ContainerID)
        /// The group of the boot's order that is under way has had its time.
        case nextStage
    }

    /// What is known of one container between two looks.
    private struct Progress {
        var backoff = Backoff()
        var startedAt: ContinuousClock.Instant?
        /// How many times in a row its init ended soon after its start.
        var crashes = 0
        /// The change that is being made, and until when it should be.
        var step: (change: Change, until: ContinuousClock.Instant)?
    }

    private struct State {
        var targets: [ContainerID: Node.Target] = [:]
        /// The same, as the last look gave them.
        var latest: [Node.Target] = []
        var progress: [ContainerID: Progress] = [:]
        var diagnostics: [String] = []
        var warnings: [String] = []
        var notes: [String] = []
        var generation = ""
        /// The order of the first starts; `nil` before the first look.
        var stages: BootStages?
        /// The next look goes to every container, not only to those whose manifest changed.
        var everything = false
        var shortage = HostShortage()
    }

    private let node: Node
    private let log: Logger
    private let state = Mutex(State())
    private let queue: WorkQueue<Key>
    private let exits: ExitWatcher
    private let accounts: any Accounts
    private let stopTimeout: Duration?
    /// A container that ran for less than this had a failed start.
    private static let shortLife = Duration.seconds(10)
    /// What one group of the boot's order may take before the next one begins.
    private static let stagePatience = Duration.seconds(120)

    /// - Parameters:
    ///   - stopTimeout: how long a container may take to stop before it is killed; `nil`: as its manifest says.
    ///   - accounts: is told what becomes of each container.
    init(node: Node, log: Logger, stopTimeout: Duration? = nil, accounts: any Accounts) throws(KernelError) {
        self.node = node
        self.log = log
        self.stopTimeout = stopTimeout
        self.accounts = accounts
        let link = Link()
        queue = WorkQueue { key in link.reconciler?.work(key) }
        exits = try ExitWatcher { ctid, process in link.reconciler?.ended(ctid, process) }
        link.set(self)
    }

    /// Ties the queue's and the watcher's calls to this object, which does not exist yet when they are made.
    private final class Link: Sendable {
        private struct Weak { weak var reconciler: Reconciler? }
        private let held = Mutex(Weak())
        var reconciler: Reconciler? { held.withLock { $0.reconciler } }
        func set(_ reconciler: Reconciler) { held.withLock { $0.reconciler = reconciler } }
    }

    /// Starts the threads. Looking begins with the first `look`.
    func start() throws(KernelError) {
        try exits.start()
        queue.start(threads: max(4, 4 * sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    }

    /// Ends the loop. What runs goes on running; work that is being done is abandoned where it stands, as a crash would.
    func stop() {
        queue.stop(abandoning: true)
        exits.stop()
    }

    /// Asks for a look. - Parameter everything: at every container, not only where a manifest changed.
    func look(everything: Bool) {
        if everything { state.withLock { $0.everything = true } }
        queue.add(.look)
    }

    /// Whether the threads do what they are given.
    var isAlive: Bool { queue.isAlive }

    // MARK: Looking

    private func work(_ key: Key) {
        switch key {
        case .look: readAll()
        case .container(let ctid):
            converge(ctid)
            advance { $0.tried(ctid) }
        case .nextStage: advance(forced: true) { _ in }
        }
    }

    private func readAll() {
        let everything = state.withLock { state in
            defer { state.everything = false }
            return state.everything
        }
        var look: Node.Look
        do {
            look = try node.look(remembering: true)
        } catch {
            accounts.note(nil, .error, "LookFailed", "look: \(error)")
            state.withLock { $0.everything = true }
            queue.add(.look, after: .seconds(5))
            return
        }
        if !node.isShuttingDown { provideSwap(for: &look) }
        if let end = look.nextEnd { queue.add(.look, after: .seconds(max(1, end - Timestamp.now))) }
        if let again = look.again { queue.add(.look, after: again) }
        let changed = take(look)
        accounts.looked(look, isFirst: changed.isFirst)
        guard !node.isShuttingDown else { return }
        if changed.isFirst { beginBoot(look) }
        for target in look.targets {
            let ctid = target.record.ctid
            // What shall not run and has nothing in the kernel is as it shall be.
            let concerns =
                target.desired.state == .running || look.present.contains(ctid) || target.desired.removal == .trash
            if changed.containers.contains(ctid) || (everything && concerns && !isSettled(target)) { queue.add(.container(ctid)) }
        }
        if everything {
            tellStalled()
            emptyTrash()
        }
    }

    /// Before the containers, so that none meets its limit of RAM without what it is promised beside it.
    private func provideSwap(for look: inout Node.Look) {
        if let memory = try? HostMemory.now() {
            let (isShort, isNews) = state.withLock { ($0.shortage.isShort, $0.shortage.take(memory)) }
            if isNews {
                let free = "\(memory.available >> 20) of \(memory.total >> 20) MiB are available"
                accounts.note(
                    nil, isShort ? .info : .warning, isShort ? "MemoryRelieved" : "MemoryShort",
                    isShort ? "the host has memory again: \(free)" : "the host is short of memory: \(free)")
            }
        }
        let isShort = state.withLock { $0.shortage.isShort }
        do {
            for message in try node.provideSwap(for: &look, isShort: isShort) { accounts.note(nil, .info, "SwapSpace", message) }
        } catch {
            look.warnings.append("provide swap space: \(error)")
        }
    }

    /// Takes over what was read. - Returns: whose target is another than before.
    private func take(_ look: Node.Look) -> (containers: Set<ContainerID>, isFirst: Bool) {
        var ended: [Node.Target] = []
        let (changed, isFirst, news, warnings, notes) = state.withLock {
            state -> (Set<ContainerID>, Bool, [String], [String], [String]) in
            var changed: Set<ContainerID> = []
            // A look without a change shares its targets with the one before, which makes this a comparison of addresses.
            let isSame = state.latest == look.targets
            for target in isSame ? [] : look.targets {
                let ctid = target.record.ctid
                guard state.targets[ctid] != target else { continue }
                if let before = state.targets[ctid], before.overrides.trial != nil, target.overrides.trial == nil {
                    ended.append(before)
                }
                changed.insert(ctid)
                // New input may have mended what failed; that our own record of it is another by now has not.
                guard state.targets[ctid]?.desired != target.desired else { continue }
                state.progress[ctid]?.backoff.reset()
                state.progress[ctid]?.crashes = 0
            }
            if !isSame {
                state.targets = Dictionary(look.targets.map { ($0.record.ctid, $0) }, uniquingKeysWith: { first, _ in first })
                for ctid in state.progress.keys where state.targets[ctid] == nil { state.progress[ctid] = nil }
                state.latest = look.targets
            }
            let told = Set(state.diagnostics + state.warnings)
            let news = look.diagnostics.filter { !told.contains($0) }
            let all = look.warnings + look.damaged
            let warnings = all.filter { !told.contains($0) }
            let notes = look.notes.filter { !state.notes.contains($0) }
            (state.diagnostics, state.warnings, state.generation) = (look.diagnostics, all, look.generation)
            state.notes = look.notes
            return (changed, state.stages == nil, news, warnings, notes)
        }
        for diagnostic in news { accounts.note(nil, .error, "ManifestInvalid", diagnostic) }
        for warning in warnings { accounts.note(nil, .warning, "ManifestWarning", warning) }
        for note in notes { accounts.note(nil, .info, "NodeNote", note) }
        for before in ended {
            let now = look.targets.first { $0.record.ctid == before.record.ctid }
            let isKept = now?.spec == before.spec
            accounts.note(
                before.record, isKept ? .info : .warning, isKept ? "TrialConfirmed" : "TrialRolledBack",
                isKept ? "the manifest on trial was confirmed" : "the trial is over: back to the manifest before")
        }
        for target in news.isEmpty ? [] : look.targets where target.lastKnownGood != nil {
            accounts.note(target.record, .warning, "LastKnownGood", "the last accepted manifest stays in force")
        }
        return (changed, isFirst)
    }

    /// Whether a container is known to run and nothing is to be done or said: most are, at most looks, and a queue for them would cost
    /// more than the look itself.
    private func isSettled(_ target: Node.Target) -> Bool {
        guard let known = exits.process(of: target.record.ctid), target.desired.state == .running,
            let (plan, _) = try? node.plan(target, known: known), plan.changes.isEmpty
        else { return false }
        return !accounts.isNews(failures: node.failures(of: target.record.ctid), of: target.record.ctid)
    }

    // MARK: Boot

    /// The first look after a start of ours: what is to be started is started in its order.
    private func beginBoot(_ look: Node.Look) {
        let starting = look.targets.filter { $0.desired.state == .running && !look.present.contains($0.record.ctid) }
        let stages = BootStages(BootOrder.groups(starting.map { ($0.record.ctid, $0.spec.bootorder) }))
        state.withLock { $0.stages = stages }
        advance { _ in }
    }

    private func advance(forced: Bool = false, _ change: (inout BootStages) -> Void) {
        let next = state.withLock { state -> [ContainerID] in
            guard var stages = state.stages, !stages.isOver else { return [] }
            change(&stages)
            defer { state.stages = stages }
            return forced ? stages.force() : stages.advance()
        }
        guard !next.isEmpty else { return }
        for ctid in next { queue.add(.container(ctid)) }
        queue.add(.nextStage, after: Self.stagePatience)
    }

    // MARK: One container

    private func converge(_ ctid: ContainerID) {
        let (target, generation, isWaiting) = state.withLock {
            ($0.targets[ctid], $0.generation, $0.stages?.isWaiting(ctid) ?? false)
        }
        guard let target, !isWaiting, !node.isShuttingDown else { return }
        let known = exits.process(of: ctid)
        if known?.isRunning != true, target.desired.state == .running,
            let wait = state.withLock({ $0.progress[ctid]?.backoff.remaining() })
        {
            queue.add(.container(ctid), after: wait)
            return
        }
        var manner = Node.Manner(stopTimeout: stopTimeout)
        let timeout = stopTimeout ?? .seconds(target.spec.stopTimeout)
        manner.begun = { change in
            let until = ContinuousClock.now + Deadline.of(change, stopTimeout: timeout)
            self.state.withLock { $0.progress[ctid, default: Progress()].step = (change, until) }
        }
        manner.made = { change in
            if change.action == .start { self.state.withLock { $0.progress[ctid, default: Progress()].startedAt = .now } }
        }
        var retry: Duration?
        do {
            let crashes = crashes(of: ctid, isRunning: known?.isRunning ?? false)
            let (_, process) = try node.converge(target, known: known, manner, for: generation, in: accounts, crashes: crashes) {
                retry = state.withLock { $0.progress[ctid, default: Progress()].backoff.fail() }
                return retry
            }
            if let process { try exits.watch(process, of: ctid) }
        } catch {
            // It is in the books.
        }
        state.withLock { $0.progress[ctid]?.step = nil }
        if let retry { queue.add(.container(ctid), after: retry) }
    }

    /// How many times in a row its init ended soon after its start; one that has lived since begins anew.
    private func crashes(of ctid: ContainerID, isRunning: Bool) -> Int {
        state.withLock { state in
            guard var progress = state.progress[ctid] else { return 0 }
            if isRunning, let start = progress.startedAt, ContinuousClock.now - start >= Self.shortLife {
                progress.crashes = 0
                progress.backoff.reset()
                state.progress[ctid] = progress
            }
            return progress.crashes
        }
    }

    private func emptyTrash() {
        do {
            for item in try node.emptyTrash() {
                accounts.note(nil, .info, "TrashEmptied", "destroyed \(item.file): its time is over")
            }
        } catch {
            accounts.note(nil, .error, "TrashFailed", "empty the trash: \(error)")
        }
    }

    /// Tells what takes longer than it may. It cannot be ended from here; the queue has other threads for the others.
    private func tellStalled() {
        let late = state.withLock { state -> [(Node.Target, Change)] in
            state.progress.compactMap { ctid, progress in
                guard let step = progress.step, step.until < .now, let target = state.targets[ctid] else { return nil }
                return (target, step.change)
            }
        }
        for (target, change) in late { accounts.stalled(target, change) }
    }

    /// Process 1 of a container has ended: by our own stop, or by itself.
    private func ended(_ ctid: ContainerID, _ process: PidFD) {
        let exit = process.exit.map { ", \($0)" } ?? ""
        // vzctl may have stopped it: its word counts before the next look finds it.
        guard let target = state.withLock({ $0.targets[ctid] }), !node.isShuttingDown else { return }
        let current = node.current(target)
        guard current.desired.state == .running, current.desired.removal == nil else { return }
        let (wait, crashes) = state.withLock { state -> (Duration?, Int) in
            var progress = state.progress[ctid] ?? Progress()
            let lived = progress.startedAt.map { ContinuousClock.now - $0 }
            var wait: Duration?
            if lived.map({ $0 < Self.shortLife }) == true {
                wait = progress.backoff.fail()
                progress.crashes += 1
            } else {
                progress.backoff.reset()
                progress.crashes = 0
            }
            state.progress[ctid] = progress
            return (wait, progress.crashes)
        }
        let command = target.desired.start.`init`.joined(separator: " ")
        if let wait {
            accounts.ended(target, crashes: crashes, "init (\(command)) ended too soon\(exit)", retry: wait)
            queue.add(.container(ctid), after: wait)
        } else {
            accounts.ended(target, crashes: 0, "init (\(command)) ended\(exit)", retry: nil)
            queue.add(.container(ctid))
        }
    }
}

extension Duration {
    /// In seconds with one decimal, for messages.
    var text: String {
        let tenths = components.seconds * 10 + components.attoseconds / 100_000_000_000_000_000
        return "\(tenths / 10).\(tenths % 10) s"
    }
}
