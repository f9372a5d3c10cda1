internal import FoundationEssentials
public import Logging
public import VZModel
public import VZPlan

/// One change that was made, or tried: a line of the audit log.
public struct AuditEntry: Equatable, Sendable, Codable {
    public var time: WallTime
    /// The id of the convergence; all its changes have the same.
    public var reconcile: String
    public var ctid: ContainerID
    public var name: String
    /// `vzd`, or `vzctl USER`.
    public var actor: String
    /// `root`, `discard` (the root, to the trash), `start`, `stop`, `set`, or `wait` for what the next start brings.
    public var action: String
    /// The field as the user writes it; none for `start` and `stop`.
    public var field: String?
    /// `wanted`, `drift`, `override`, `removed`.
    public var reason: String
    /// In the user's terms.
    public var before: String?
    public var after: String
    public var kernel: Kernel?
    /// `ok`, or the error.
    public var result: String

    /// The kernel's setting and its values.
    public struct Kernel: Equatable, Sendable, Codable {
        public var name: String
        public var before: String?
        public var after: String
    }

    /// The entry of a change.
    /// - Parameter error: why it could not be made; `nil` when it was.
    public init(
        _ change: Change, of ctid: ContainerID, name: String, reconcile: String, actor: String, error: String? = nil,
        at time: WallTime = .now
    ) {
        self.time = time
        self.reconcile = reconcile
        self.ctid = ctid
        self.name = name
        self.actor = actor
        switch change.action {
        case .makeRoot: action = "root"
        case .start: action = "start"
        case .stop: action = "stop"
        case .discardRoot: action = "discard"
        case .set: action = "set"
        case .wait: action = "wait"
        }
        field = change.field.isEmpty ? nil : change.field
        reason = change.reason.rawValue
        before = change.before
        after = change.after
        kernel = change.kernel.map { Kernel(name: $0.name, before: $0.before?.description, after: $0.after.description) }
        result = error ?? "ok"
    }
}

/// What was changed, by whom, why, and with what result: `STATE/log/audit.jsonl`, JSON lines that are only ever added to.
///
/// 8 MiB are followed by a new file, and one old one is kept as `audit.jsonl.1`. Several processes may write at once. A full disk stops
/// no convergence: it is told in the log, once.
public final class AuditLog: Sendable {
    static let limit = 8 << 20
    private let file: LineFile

    /// - Parameter state: `NodePaths.state`. Nothing is touched before the first entry.
    public convenience init(state: String, log: Logger) { self.init(state: state, log: log, group: ReaderGroup()) }

    init(state: String, log: Logger, group: ReaderGroup, limit: Int = AuditLog.limit) {
        file = LineFile(Self.file(in: state), limit: limit, ownsDirectory: true, group: group, log: log)
    }

    private static func file(in state: String) -> String { state + "/log/audit.jsonl" }

    /// Adds an entry. It is there for the next reader; on the disk it is when the kernel writes it.
    public func append(_ entry: AuditEntry) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let line = try? encoder.encode(entry) else { return }
        file.append(Array(line))
    }

    /// The entries of one container, the latest last.
    /// - Parameters:
    ///   - container: its name or CTID; `nil`: all.
    ///   - limit: the most that are answered; the latest ones.
    /// - Throws: `KernelError`; `EACCES` when the caller may not look. Lines that are no entry, such as one that was cut off by a
    ///   crash, are passed over.
    public static func read(state: String, of container: String? = nil, limit count: Int = .max) throws -> [AuditEntry] {
        let decoder = JSONDecoder()
        var entries: [AuditEntry] = []
        for line in try LineFile.lines(of: file(in: state), limit: limit) {
            if entries.count >= count { break }
            guard let entry = try? decoder.decode(AuditEntry.self, from: Data(line)) else { continue }
            if container == nil || entry.name == container || entry.ctid.description == container { entries.append(entry) }
        }
        return entries.reversed()
    }
}
