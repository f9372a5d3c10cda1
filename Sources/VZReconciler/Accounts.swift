internal import VZKernel
internal import VZModel
internal import VZPlan

/// Who is told what becomes of containers, and writes it down: status, events, audit log. Nothing is decided by it.
///
/// Called from several threads at once, but never for one container from two.
protocol Accounts: Sendable {
    /// All manifests were read. - Parameter isFirst: for the first time in the life of this process.
    func looked(_ look: Node.Look, isFirst: Bool)

    /// A convergence has something to do: this is the first change.
    func begun(_ change: Change, in reconcile: String, of target: Node.Target)

    /// A change was made.
    func made(_ change: Change, in reconcile: String, of record: ContainerRecord)

    /// A convergence is over, with or without success.
    func converged(_ outcome: Outcome)

    /// Process 1 has ended by itself.
    /// - Parameters:
    ///   - crashes: how many times in a row soon after its start; 0: it had lived.
    ///   - retry: when it is started again; `nil`: now.
    func ended(_ target: Node.Target, crashes: Int, _ message: String, retry: Duration?)

    /// A change takes longer than it may.
    func stalled(_ target: Node.Target, _ change: Change)

    /// Something else that is worth knowing. - Parameter record: of the container that it is about, if there is one.
    func note(_ record: ContainerRecord?, _ level: NoteLevel, _ reason: String, _ message: String)

    /// Whether there is something to say of a container for which nothing is to be done.
    /// - Parameter failures: the failure counters of its limits now.
    func isNews(failures: [String: Int64], of ctid: ContainerID) -> Bool
}

/// How grave something is.
enum NoteLevel: Sendable {
    case info, warning, error
}
