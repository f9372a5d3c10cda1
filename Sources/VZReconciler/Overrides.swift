internal import VZKernel
internal import VZManifest
public import VZModel

/// What administrators said of one container on this node: it goes before its manifest, until it is taken back or its time is over.
///
/// Kept on the host, so that it is there after a restart of ours and of the node, and no file can clear it.
public struct Overrides: Equatable, Sendable, Codable {
    /// One word, by whom, why, since when, and until when.
    public struct Word<Value: Equatable & Sendable & Codable>: Equatable, Sendable, Codable {
        public var value: Value
        /// Who said so.
        public var owner: String
        public var reason: String
        /// Seconds since the epoch.
        public var since: Int64
        /// Seconds since the epoch; `nil`: until it is taken back.
        public var until: Int64?

        public init(_ value: Value, owner: String, reason: String, since: Int64, until: Int64? = nil) {
            self.value = value
            self.owner = owner
            self.reason = reason
            self.since = since
            self.until = until
        }

        func isOver(at now: Int64) -> Bool { until.map { $0 <= now } ?? false }
    }

    /// A manifest on trial: in force until it is confirmed, or its time is over and the one before it is in force again.
    public struct Trial: Equatable, Sendable, Codable {
        /// What `confirm` names; the same for all that were put on trial together.
        public var id: String
        /// The container's manifest, complete.
        public var manifest: String
        /// The file that it came from, which is put among the node's manifests when it is confirmed: its name and its text.
        public var file: String
        public var text: String

        public init(id: String, manifest: String, file: String, text: String) {
            self.id = id
            self.manifest = manifest
            self.file = file
            self.text = text
        }
    }

    /// `vzctl stop` and `start`.
    public var state: Word<RunState>?
    /// `vzctl hold`: nothing is converged. Its value says nothing.
    public var hold: Word<Bool>?
    /// `vzctl set --for`: one drop-in for each field, by the field's path below `spec`.
    public var fields: [String: Word<String>] = [:]
    public var trial: Word<Trial>?

    public init() {}

    /// What stands for words that cannot be read: one of them may have been a hold, and the container is left alone until somebody says
    /// otherwise.
    static func unreadable(_ reason: String) -> Overrides {
        var lost = Overrides()
        lost.hold = .init(true, owner: "vz", reason: "its overrides cannot be read (\(reason))", since: -1)
        return lost
    }

    /// Whether they stand for words that cannot be read.
    var areMadeUp: Bool { (hold?.since ?? 0) < 0 }

    public var isEmpty: Bool { state == nil && hold == nil && fields.isEmpty && trial == nil }

    /// What is still in force at a time.
    public func current(at now: Int64) -> Overrides {
        var rest = self
        if state?.isOver(at: now) == true { rest.state = nil }
        if hold?.isOver(at: now) == true { rest.hold = nil }
        if trial?.isOver(at: now) == true { rest.trial = nil }
        rest.fields = fields.filter { !$0.value.isOver(at: now) }
        return rest
    }

    /// When the first of them is over; `nil` when none ever is.
    public var nextEnd: Int64? {
        ([state?.until, hold?.until, trial?.until] + fields.values.map(\.until)).compactMap { $0 }.min()
    }

    /// One line for each, for people.
    public var summary: [String] {
        var lines: [String] = []
        if let state { lines.append("state \(state.value.rawValue)" + Self.about(state)) }
        if let hold { lines.append("held" + Self.about(hold)) }
        for (field, word) in fields.sorted(by: { $0.key < $1.key }) {
            lines.append("\(field) \(Self.value(in: word.value))" + Self.about(word))
        }
        if let trial { lines.append("manifest on trial \(trial.value.id)" + Self.about(trial)) }
        return lines
    }

    private static func value(in dropIn: String) -> String {
        dropIn.split(separator: "\n").last.map { String($0.drop { $0 == " " }) } ?? ""
    }

    private static func about<Value>(_ word: Word<Value>) -> String {
        let reason = word.reason.isEmpty ? "" : ": \(word.reason)"
        let until = word.until.map { " until \(Timestamp.text($0))" } ?? ""
        // What stands for words that are lost has no time.
        let since = word.since < 0 ? "" : " since \(Timestamp.text(word.since))"
        return " by \(word.owner)\(since)\(until)\(reason)"
    }

    /// The manifest in force: the one on trial or `accepted`, with the fields that are set otherwise.
    ///
    /// What does not fit the manifest any more is left out: the words were checked when they were said.
    func spec(over accepted: ContainerSpec) -> ContainerSpec {
        guard trial != nil || !fields.isEmpty else { return accepted }
        return parse(over: accepted).documents.first?.spec ?? accepted
    }

    /// What is wrong with the manifest when these words are put over it; `nil` when nothing is.
    func mistake(over accepted: ContainerSpec) -> String? {
        parse(over: accepted).diagnostics.first { $0.severity == .error }.map { "\($0.field): \($0.message)" }
    }

    private func parse(over accepted: ContainerSpec) -> ParsedManifest {
        let manifest = trial?.value.manifest ?? ManifestWriter.yaml(accepted)
        let dropIns = fields.sorted { $0.key < $1.key }.map { ManifestFile(path: $0.key, bytes: Array($0.value.value.utf8)) }
        return ManifestParser.parse(ManifestFile(path: "override", bytes: Array(manifest.utf8), dropIns: dropIns))
    }

    /// Why nothing is converged; `nil` when nobody holds the container.
    func holdText(name: String) -> String? {
        hold.map { "held\(Self.about($0)); vzctl release \(name)" }
    }
}
