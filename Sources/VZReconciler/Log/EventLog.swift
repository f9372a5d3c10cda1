internal import FoundationEssentials
public import Logging
internal import Synchronization
public import VZModel

/// Something worth knowing that happened, once or several times.
public struct Event: Equatable, Sendable, Codable {
    public enum Kind: String, Sendable, Codable {
        case normal = "Normal"
        case warning = "Warning"
    }

    public var first: WallTime
    public var last: WallTime
    public var count: Int
    /// The container that it happened to; `nil`: the node.
    public var ctid: ContainerID?
    public var name: String?
    public var kind: Kind
    /// One word in CamelCase, for programs.
    public var reason: String
    public var message: String
    /// The id of the convergence.
    public var reconcile: String?

    private enum CodingKeys: String, CodingKey {
        case first, last, count, ctid, name
        case kind = "type"
        case reason, message, reconcile
    }

    /// What makes two of them the same one, happening again.
    struct Key: Hashable {
        var ctid: ContainerID?
        var reason: String
        var message: String
    }

    var key: Key { Key(ctid: ctid, reason: reason, message: message) }
}

/// What happens on a node: told on standard error, and kept in `RUN/events.jsonl` for `vzctl events`.
///
/// The same thing (container, reason and message) within 10 minutes of its last time is one event: it is written the first time, and
/// again with its count the 2nd, 4th, 8th … time. So a message should not hold what differs each time. The file is followed by a new one
/// at 1 MiB, and one old one is kept as `events.jsonl.1`.
public final class EventLog: Sendable {
    static let limit = 1 << 20
    static let window = Duration.seconds(600)
    /// So many different events are remembered; with more, those whose last time is longest ago are forgotten.
    static let capacity = 4096

    private let file: LineFile
    private let log: Logger
    private let known = Mutex<[Event.Key: Event]>([:])

    /// - Parameters:
    ///   - run: `NodePaths.run`. Nothing is touched before the first event.
    ///   - troubles: is told when events cannot be kept; `nil`: `log`.
    public convenience init(run: String, log: Logger, troubles: Logger? = nil) {
        self.init(run: run, log: log, troubles: troubles, group: ReaderGroup())
    }

    init(run: String, log: Logger, troubles: Logger? = nil, group: ReaderGroup, limit: Int = EventLog.limit) {
        self.log = log
        file = LineFile(Self.file(in: run), limit: limit, ownsDirectory: false, group: group, log: troubles ?? log)
    }

    private static func file(in run: String) -> String { run + "/events.jsonl" }

    /// Something happened.
    /// - Parameters:
    ///   - reason: one word in CamelCase.
    ///   - message: without the container's name; the same text each time the same happens.
    ///   - ctid: the container that it happened to; `nil`: the node.
    ///   - reconcile: the id of the convergence.
    ///   - detail: what differs each time; told in the log behind the message.
    ///   - level: in the log, when it is not `info` for what is normal and `warning` for what is not.
    public func note(
        _ kind: Event.Kind, _ reason: String, _ message: String, of ctid: ContainerID? = nil, name: String? = nil,
        reconcile: String? = nil, detail: String? = nil, level: Logger.Level? = nil, at now: WallTime = .now
    ) {
        var event = Event(
            first: now, last: now, count: 1, ctid: ctid, name: name, kind: kind, reason: reason, message: message,
            reconcile: reconcile)
        event = known.withLock { known in
            if let old = known[event.key], now - old.last <= Self.window {
                event.first = old.first
                event.count = old.count + 1
            }
            known[event.key] = event
            if known.count > Self.capacity { Self.forget(&known, now) }
            return event
        }
        // A power of two has one bit.
        if event.count & (event.count - 1) == 0 { write(event, detail, level ?? (kind == .warning ? .warning : .info)) }
    }

    private static func forget(_ known: inout [Event.Key: Event], _ now: WallTime) {
        let kept = known.values.filter { now - $0.last <= window }.sorted { $0.last > $1.last }.prefix(capacity / 2)
        known = Dictionary(kept.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
    }

    private func write(_ event: Event, _ detail: String?, _ level: Logger.Level) {
        var metadata: Logger.Metadata = ["reason": "\(event.reason)"]
        metadata["ctid"] = event.ctid.map { "\($0)" }
        metadata["reconcile"] = event.reconcile.map { "\($0)" }
        let who = event.ctid.map { "CT \($0) \(event.name ?? ""): " } ?? ""
        let again = event.count > 1 ? " (\(event.count) times since \(event.first))" : ""
        log.log(level: level, "\(who)\(event.message)\(detail.map { "; \($0)" } ?? "")\(again)", metadata: metadata)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        if let line = try? encoder.encode(event) { file.append(Array(line)) }
    }

    /// The events of one container, each with its last count, in the order of their last times.
    /// - Parameter container: its name or CTID; `nil`: all of the node.
    /// - Throws: `KernelError`; `EACCES` when the caller may not look. Lines that are no event are passed over.
    public static func read(run: String, of container: String? = nil) throws -> [Event] {
        struct Occurrence: Hashable {
            var key: Event.Key
            var first: WallTime
        }
        let decoder = JSONDecoder()
        var seen: Set<Occurrence> = []
        var events: [Event] = []
        // The latest first: its count is the last.
        for line in try LineFile.lines(of: file(in: run), limit: limit) {
            guard let event = try? decoder.decode(Event.self, from: Data(line)) else { continue }
            guard container == nil || event.name == container || event.ctid?.description == container else { continue }
            if seen.insert(Occurrence(key: event.key, first: event.first)).inserted { events.append(event) }
        }
        return events.reversed()
    }
}
