internal import Synchronization
internal import VZIsolation
public import VZKernel
internal import VZModel
public import VZPlan

/// What became of one convergence of one container: all that status, events and the audit log are made from.
struct Outcome: Sendable {
    /// One for each convergence; the changes that it made carry it.
    var id: String
    var target: Node.Target
    /// Of the manifests when it was tried.
    var generation: String
    /// What was to be done; `nil` when that could not be found out.
    var plan: Plan.Container?
    /// The changes that were made, in their order.
    var made: [Change] = []
    /// The change that was being made when the error came.
    var failedAt: Change?
    var error: String?
    /// When it will be tried again.
    var retry: Duration?
    /// Only new input mends it: it is not tried again by itself but at a look at everything.
    var needsInput = false
    /// Whether process 1 runs now, and its number on the host.
    var isRunning = false
    var process: Int32?
    var rootExists = false
    /// Failure counters of the container's limits, by what they limit.
    var failures: [String: Int64] = [:]
    /// Of those that were met: what was refused, and what programs saw.
    var refusals: [String: String] = [:]
    /// How many times in a row its init ended soon after its start.
    var crashes = 0

    /// 8 hexadecimal digits.
    static func newID() -> String {
        let digits = String(UInt32.random(in: 0...UInt32.max), radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }
}

extension Node {
    /// Converges a container and has it put down in the books, with or without success.
    /// - Parameters:
    ///   - generation: of the manifests that it is done for.
    ///   - crashes: how many times in a row its init ended soon after its start.
    ///   - retry: answers, after a failure, when it will be tried again.
    /// - Returns: the plan that was carried out, and process 1 afterwards.
    func converge(
        _ target: Target, known: PidFD? = nil, _ manner: Manner, for generation: String, in accounts: any Accounts,
        crashes: Int = 0, retry: () -> Duration? = { nil }
    ) throws -> (Plan.Container, PidFD?) {
        try account(for: target, manner, generation, in: accounts, crashes: crashes, retry: retry) { manner in
            try converge(target, known: known, manner)
        }
    }

    /// Has what `work` does to a container put down in the books, with or without success.
    func account(
        for target: Target, _ manner: Manner, _ generation: String, in accounts: any Accounts, crashes: Int = 0,
        retry: () -> Duration? = { nil }, work: (Manner) throws -> (Plan.Container, PidFD?)
    ) throws -> (Plan.Container, PidFD?) {
        let id = Outcome.newID()
        var outcome = Outcome(id: id, target: target, generation: generation)
        outcome.crashes = crashes
        let steps = Steps()
        var told = manner
        told.begun = { change in
            if steps.begin(change) { accounts.begun(change, in: id, of: target) }
            manner.begun(change)
        }
        told.made = { change in
            steps.end()
            accounts.made(change, in: id, of: target.record)
            manner.made(change)
        }
        defer {
            outcome.made = steps.made
            outcome.rootExists = (try? core.rootExists(of: target.record.ctid)) ?? true
            accounts.converged(outcome)
        }
        do {
            let (plan, process) = try work(told)
            outcome.plan = plan
            outcome.isRunning = process?.isRunning ?? false
            outcome.process = outcome.isRunning ? process?.pid : nil
            if outcome.isRunning { note(refusals: &outcome) }
            return (plan, process)
        } catch {
            outcome.error = "\(error)"
            outcome.failedAt = steps.current
            outcome.needsInput = (error as? KernelError)?.needsInput ?? false
            if !outcome.needsInput { outcome.retry = retry() }
            if let seen = try? core.observe(target.record.ctid) {
                outcome.plan = target.plan(from: seen.container) { [:] }
                outcome.isRunning = seen.container.isRunning
                outcome.process = seen.handle.process?.pid
            }
            throw error
        }
    }

    /// Converges a container by hand, and has it put down in the books.
    public func converge(_ target: Target, _ manner: Manner = Manner(), in books: Books) throws -> (Plan.Container, PidFD?) {
        try converge(target, manner, for: "", in: books)
    }

    /// How often a container met its limits since its start, by the names of the beancounters.
    func failures(of ctid: ContainerID) -> [String: Int64] {
        Dictionary(uniqueKeysWithValues: core.refusals(of: ctid).map { ($0.key.rawValue, $0.value) })
    }

    private func note(refusals outcome: inout Outcome) {
        let ctid = outcome.target.record.ctid
        for (beancounter, count) in core.refusals(of: ctid) {
            outcome.failures[beancounter.rawValue] = count
            if count > 0 { outcome.refusals[beancounter.rawValue] = core.refusalText(of: beancounter, ctid) }
        }
    }

    /// The changes of one convergence, as they are made.
    private final class Steps: Sendable {
        private let state = Mutex<(current: Change?, made: [Change])>((nil, []))
        var current: Change? { state.withLock { $0.current } }
        var made: [Change] { state.withLock { $0.made } }
        private let isFirst = Mutex(true)
        /// - Returns: whether it is the first.
        func begin(_ change: Change) -> Bool {
            state.withLock { $0.current = change }
            return isFirst.withLock { isFirst in
                defer { isFirst = false }
                return isFirst
            }
        }
        func end() {
            state.withLock { state in
                if let change = state.current { state.made.append(change) }
                state.current = nil
            }
        }
    }
}

/// How long a step may take before it is told as stalled, in seconds. What our own programs do is ended then; what the kernel does
/// cannot be, and others go on beside it.
enum Deadline {
    static func of(_ change: Change, stopTimeout: Duration) -> Duration {
        switch change.action {
        // 30 s for SIGKILL to act, and some for the rest.
        case .stop: stopTimeout + .seconds(60)
        case .makeRoot: .seconds(Int(Command.patience)) + .seconds(10)
        case .start: .seconds(60)
        case .discardRoot, .set, .wait: .seconds(30)
        }
    }
}
