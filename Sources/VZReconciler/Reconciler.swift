internal import Glibc
public import Logging
internal import Synchronization
public import VZKernel
internal import VZModel
internal import VZPlan

/// The loop: reads everything when told to look, and converges each container by itself, so that one failure never stops another's.
///
/// It keeps only caches. Whatever it knows can be lost at any instant and is read anew from the manifests, the records and the kernel.
public final class Reconciler: Sendable {
    /// Why a key is worked on.
    enum Key: Hashable, Sendable {
        /// Read all manifests.
        case look
        case container(ContainerID)
    }

    /// What is known of one container between two looks.
    private struct Progress {
        var backoff = Backoff()
        var startedAt: ContinuousClock.Instant?
        /// The last outcome that was logged, so that the same is not said every time.
        var said = ""
    }

    private struct State {
        var targets: [ContainerID: Node.Target] = [:]
        var progress: [ContainerID: Progress] = [:]
        var diagnostics: [String] = []
        var warnings: [String] = []
        /// The next look goes to every container, not only to those whose manifest changed.
        var everything = false
    }

    private let node: Node
    private let log: Logger
    private let state = Mutex(State())
    private let queue: WorkQueue<Key>
    private let exits: ExitWatcher
    private let stopTimeout: Duration
    /// A container that ran for less than this had a failed start.
    private static let shortLife = Duration.seconds(10)

    /// - Parameter stopTimeout: how long a container may take to stop before it is killed.
    public init(node: Node, log: Logger, stopTimeout: Duration = .seconds(120)) throws(KernelError) {
        self.node = node
        self.log = log
        self.stopTimeout = stopTimeout
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
    public func start() throws(KernelError) {
        try exits.start()
        queue.start(threads: max(4, 4 * sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    }

    /// Ends the loop. What runs goes on running; work that is being done is abandoned where it stands, as a crash would.
    public func stop() {
        queue.stop(abandoning: true)
        exits.stop()
    }

    /// Asks for a look. - Parameter everything: at every container, not only where a manifest changed.
    public func look(everything: Bool) {
        if everything { state.withLock { $0.everything = true } }
        queue.add(.look)
    }

    // MARK: Work

    private func work(_ key: Key) {
        switch key {
        case .look: readAll()
        case .container(let ctid): converge(ctid)
        }
    }

    private func readAll() {
        let everything = state.withLock { state in
            defer { state.everything = false }
            return state.everything
        }
        let look: Node.Look
        do {
            look = try node.look(remembering: true)
        } catch {
            log.error("look: \(error)")
            state.withLock { $0.everything = true }
            queue.add(.look, after: .seconds(5))
            return
        }
        let (changed, news, warnings) = state.withLock { state -> ([ContainerID], [String], [String]) in
            var changed: [ContainerID] = []
            for target in look.targets {
                let ctid = target.record.ctid
                guard state.targets[ctid]?.desired != target.desired else { continue }
                changed.append(ctid)
                state.progress[ctid]?.backoff.reset()  // new input may have mended what failed
            }
            state.targets = Dictionary(look.targets.map { ($0.record.ctid, $0) }, uniquingKeysWith: { first, _ in first })
            let news = look.diagnostics.filter { !state.diagnostics.contains($0) }
            state.diagnostics = look.diagnostics
            let warnings = look.warnings.filter { !state.warnings.contains($0) }
            state.warnings = look.warnings
            return (changed, news, warnings)
        }
        for diagnostic in news { log.error("\(diagnostic)") }
        for warning in warnings { log.warning("\(warning)") }
        for target in look.targets where target.lastKnownGood != nil && !news.isEmpty {
            log.warning("CT \(target.record.ctid) \(target.record.name): the last accepted manifest stays in force")
        }
        let wanted = Set(changed)
        for target in look.targets {
            let ctid = target.record.ctid
            // What shall not run and has nothing in the kernel is as it shall be.
            let concerns = target.desired.state == .running || look.present.contains(ctid)
            if wanted.contains(ctid) || (everything && concerns && !isSettled(target)) { queue.add(.container(ctid)) }
        }
    }

    /// Whether a container is known to run and nothing is to be done or said: most are, at most looks, and a queue for them would cost
    /// more than the look itself.
    private func isSettled(_ target: Node.Target) -> Bool {
        guard let known = exits.process(of: target.record.ctid), target.desired.state == .running,
            let (plan, _) = try? node.plan(target, known: known)
        else { return false }
        return plan.changes.isEmpty && plan.unsupported.isEmpty
    }

    private func converge(_ ctid: ContainerID) {
        guard let target = state.withLock({ $0.targets[ctid] }) else { return }
        let known = exits.process(of: ctid)
        if known?.isRunning != true, target.desired.state == .running,
            let wait = state.withLock({ $0.progress[ctid]?.backoff.remaining() })
        {
            queue.add(.container(ctid), after: wait)
            return
        }
        let who = "CT \(ctid) \(target.record.name)"
        do {
            let (plan, process) = try node.converge(target, known: known, stopTimeout: stopTimeout) { change in
                self.log.info("\(who): \(change.summary)")
                if change.action == .start { self.state.withLock { $0.progress[ctid, default: Progress()].startedAt = .now } }
            }
            if let process { try exits.watch(process, of: ctid) }
            say(
                plan.unsupported.map { "\($0.field) \($0.value) is unsupported here: \($0.reason)" }
                    + plan.changes.compactMap { change in change.held.map { "\(change.field) → \(change.after): \($0)" } },
                of: ctid, who)
        } catch {
            let wait = state.withLock { $0.progress[ctid, default: Progress()].backoff.fail() }
            log.error("\(who): \(error); next try in \(wait.seconds) s")
            queue.add(.container(ctid), after: wait)
        }
    }

    /// Logs what is worth knowing and not new every time.
    private func say(_ lines: [String], of ctid: ContainerID, _ who: String) {
        let text = lines.joined(separator: "; ")
        let isNew = state.withLock { state in
            guard state.progress[ctid]?.said ?? "" != text else { return false }
            state.progress[ctid, default: Progress()].said = text
            return true
        }
        if isNew && !text.isEmpty { log.warning("\(who): \(text)") }
    }

    /// Process 1 of a container has ended: by our own stop, or by itself.
    private func ended(_ ctid: ContainerID, _ process: PidFD) {
        let exit = process.exit.map { ", \($0)" } ?? ""
        // vzctl may have stopped it: its word counts before the next look finds it.
        guard let target = state.withLock({ $0.targets[ctid] }), node.current(target).desired.state == .running else { return }
        let wait = state.withLock { state -> Duration? in
            var progress = state.progress[ctid] ?? Progress()
            let lived = progress.startedAt.map { ContinuousClock.now - $0 }
            let wait = lived.map { $0 < Self.shortLife } == true ? progress.backoff.fail() : nil
            if wait == nil { progress.backoff.reset() }
            state.progress[ctid] = progress
            return wait
        }
        let command = target.desired.start.`init`.joined(separator: " ")
        let who = "CT \(ctid) \(target.record.name)"
        if let wait {
            log.error("\(who): init (\(command)) ended too soon\(exit); next try in \(wait.seconds) s")
            queue.add(.container(ctid), after: wait)
        } else {
            log.warning("\(who): init (\(command)) ended\(exit)")
            queue.add(.container(ctid))
        }
    }
}

extension Duration {
    /// In seconds with one decimal, for messages.
    fileprivate var seconds: String {
        let tenths = components.seconds * 10 + components.attoseconds / 100_000_000_000_000_000
        return "\(tenths / 10).\(tenths % 10)"
    }
}
