internal import Logging
internal import Synchronization
internal import VZModel
internal import VZPlan

/// Accounts that are lines in a log and nothing else.
final class LogAccounts: Accounts {
    private let log: Logger
    /// What was said last of each container, so that the same is not said every time.
    private let said = Mutex<[ContainerID: String]>([:])

    init(log: Logger) { self.log = log }

    func looked(_ look: Node.Look, isFirst: Bool) {}

    func made(_ change: Change, in reconcile: String, of record: ContainerRecord) {
        log.info("CT \(record.ctid) \(record.name): \(change.summary)")
    }

    func converged(_ outcome: Outcome) {
        let record = outcome.target.record
        if let error = outcome.error {
            log.error("CT \(record.ctid) \(record.name): \(error); next try in \((outcome.retry ?? .zero).text)")
            return
        }
        let plan = outcome.plan
        let lines =
            (plan?.problem.map { [$0] } ?? [])
            + (plan?.unsupported ?? []).map { "\($0.field) \($0.value) is unsupported here: \($0.reason)" }
            + (plan?.changes ?? []).compactMap { change in change.held.map { "\(change.field) → \(change.after): \($0)" } }
        let text = lines.joined(separator: "; ")
        let isNew = said.withLock { said in
            defer { said[record.ctid] = text }
            return said[record.ctid] ?? "" != text
        }
        if isNew && !text.isEmpty { log.warning("CT \(record.ctid) \(record.name): \(text)") }
    }

    func ended(_ target: Node.Target, crashes: Int, _ message: String) {
        note(target.record, crashes > 0 ? .error : .warning, "Ended", message)
    }

    func stalled(_ target: Node.Target, _ change: Change) {
        note(target.record, .error, "Stalled", "takes longer than it may: \(change.summary)")
    }

    func note(_ record: ContainerRecord?, _ level: NoteLevel, _ reason: String, _ message: String) {
        let line = record.map { "CT \($0.ctid) \($0.name): \(message)" } ?? message
        switch level {
        case .info: log.info("\(line)")
        case .warning: log.warning("\(line)")
        case .error: log.error("\(line)")
        }
    }

    func isNews(failures: [String: Int64], of ctid: ContainerID) -> Bool { false }
}
