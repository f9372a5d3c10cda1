internal import VZKernel
internal import VZModel
internal import VZPlan

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
    /// Whether process 1 runs now.
    var isRunning = false
    /// Failure counters of the container's limits, by what they limit.
    var failures: [String: Int64] = [:]
    /// How many times in a row its init ended soon after its start.
    var crashes = 0
    /// What has been going on for longer than it may.
    var stalled: String?

    /// 8 hexadecimal digits.
    static func newID() -> String {
        let digits = String(UInt32.random(in: 0...UInt32.max), radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
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
