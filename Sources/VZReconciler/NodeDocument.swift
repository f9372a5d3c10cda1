internal import VZIsolation
public import VZManifest
public import VZModel
internal import VZPlan

/// The containers of a node as a document (`vzctl list -o json`), and with `--full` all that a plan can be made against elsewhere.
///
/// Its form is stable. `format_version` is `MAJOR.MINOR`; within 1.x members may be added, but none is removed or given another
/// meaning. A reader ignores members that it does not know, and refuses another MAJOR. A member that has no value is left out.
public struct NodeDocument: Codable, Sendable {
    public static let formatVersion = "1.0"

    public var formatVersion: String
    /// Sorted by CTID.
    public var containers: [Container]
    public var state: State?

    private enum CodingKeys: String, CodingKey {
        case formatVersion = "format_version"
        case containers, state
    }

    public init(containers: [Container], state: State? = nil) {
        (formatVersion, self.containers, self.state) = (Self.formatVersion, containers, state)
    }

    /// What is worth knowing of a container at a glance.
    public struct Container: Codable, Sendable {
        public var ctid: ContainerID
        public var name: String
        /// `running` or `stopped`.
        public var status: String
        /// Processes and threads; left out when it is not running.
        public var nproc: Int64?
        public var hostname: String?
        /// `file:line` of its manifest, or why there is none.
        public var source: String

        public init(ctid: ContainerID, name: String, status: String, nproc: Int64?, hostname: String?, source: String) {
            (self.ctid, self.name, self.status) = (ctid, name, status)
            (self.nproc, self.hostname, self.source) = (nproc, hostname, source)
        }
    }

    /// Everything that decides what a plan says, as it was at one time.
    public struct State: Codable, Sendable {
        /// As RFC 3339 has it, in UTC.
        var created: String
        /// The node's id; left out when it had none.
        var node: String?
        /// Of the manifests.
        var generation: String
        /// Why what disturbs must wait.
        var brake: String?
        var capabilities: HostCapabilities
        public var figures: HostFigures
        /// All that is remembered, those whose manifest was removed too.
        var records: [Saved]
        /// What is in the kernel and has no record.
        var unrecorded: [Unrecorded]
    }

    /// What is remembered, said and seen of one container.
    struct Saved: Codable, Sendable {
        var ctid: ContainerID
        var name: String
        var idBase: UInt32
        /// The manifest that was accepted last.
        var manifest: String
        var source: SourceLocation
        var retired: Bool
        var rootTemplate: String?
        var overrides: Overrides?
        var lastKnownGood: String?
        var pruneHeld: String?
        var seen: Seen

        private enum CodingKeys: String, CodingKey {
            case ctid, name, manifest, source, retired, overrides, seen
            case idBase = "id_base"
            case rootTemplate = "root_template"
            case lastKnownGood = "last_known_good"
            case pruneHeld = "prune_held"
        }
    }

    struct Unrecorded: Codable, Sendable {
        var ctid: ContainerID
        var name: String?
        var idBase: UInt32?
        var seen: Seen

        private enum CodingKeys: String, CodingKey {
            case ctid, name, seen
            case idBase = "id_base"
        }
    }

    /// What the kernel and the disk were seen to hold.
    struct Seen: Codable, Sendable {
        var running: Bool
        var present: Bool
        var settings: [Setting]
        /// What the running process 1 was started with.
        var started: StartParameters?
        var rootExists: Bool
        /// What vz wrote last, by the kernel's name.
        var lastSet: [String: Value]

        private enum CodingKeys: String, CodingKey {
            case running, present, settings, started
            case rootExists = "root_exists"
            case lastSet = "last_set"
        }

        /// A setting in the user's terms and in the kernel's.
        struct Setting: Codable, Sendable {
            var field: String
            var value: String
            var name: String
            var kernel: Value
        }
    }

    /// What the kernel holds: a number, a text, or null for no limit.
    enum Value: Codable, Sendable {
        case number(Int64)
        case text(String)
        case unlimited

        init(_ value: VZPlan.Setting.Value) {
            switch value {
            case .number(let number): self = .number(number)
            case .text(let text): self = .text(text)
            case .unlimited: self = .unlimited
            }
        }

        var value: VZPlan.Setting.Value {
            switch self {
            case .number(let number): .number(number)
            case .text(let text): .text(text)
            case .unlimited: .unlimited
            }
        }

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if container.decodeNil() {
                self = .unlimited
            } else if let number = try? container.decode(Int64.self) {
                self = .number(number)
            } else {
                self = .text(try container.decode(String.self))
            }
        }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.singleValueContainer()
            switch self {
            case .number(let number): try container.encode(number)
            case .text(let text): try container.encode(text)
            case .unlimited: try container.encodeNil()
            }
        }
    }
}

extension NodeDocument.Seen {
    /// - Parameter lastSet: what vz wrote last.
    init(_ observed: ObservedContainer, lastSet: [String: VZPlan.Setting.Value]) {
        (running, present, rootExists) = (observed.isRunning, observed.isPresent, observed.rootExists)
        settings = observed.settings.map {
            NodeDocument.Seen.Setting(
                field: $0.field, value: $0.value, name: $0.kernelName, kernel: NodeDocument.Value($0.kernelValue))
        }
        started = observed.startedWith
        self.lastSet = lastSet.mapValues { NodeDocument.Value($0) }
    }

    var container: ObservedContainer {
        ObservedContainer(
            isRunning: running, isPresent: present,
            settings: settings.map {
                VZPlan.Setting(field: $0.field, value: $0.value, kernelName: $0.name, kernelValue: $0.kernel.value)
            }, startedWith: started, rootExists: rootExists)
    }
}

extension NodeDocument.Saved {
    init(_ target: Node.Target, _ seen: NodeDocument.Seen) {
        let record = target.record
        (ctid, name, idBase, source) = (record.ctid, record.name, record.idBase, record.source)
        (retired, rootTemplate) = (record.retired, record.rootTemplate)
        manifest = ManifestWriter.yaml(record.accepted)
        overrides = target.overrides.isEmpty ? nil : target.overrides
        (lastKnownGood, pruneHeld) = (target.lastKnownGood, target.pruneHeld)
        self.seen = seen
    }

    /// What was remembered. - Parameter place: of this in the document, for a message.
    func record(_ path: String, _ place: String) throws(JSONDocument.Fault) -> ContainerRecord {
        let parsed = ManifestParser.parse(ManifestFile(path: "manifest", bytes: Array(manifest.utf8)), askingRules: false)
        guard let document = parsed.documents.first, parsed.documents.count == 1 else {
            throw JSONDocument.Fault(
                description: "\(path): \(place).manifest: \(parsed.diagnostics.first?.description ?? "expected one document")")
        }
        return ContainerRecord(
            ctid: ctid, name: name, idBase: idBase, accepted: document.spec, source: source, retired: retired,
            rootTemplate: rootTemplate)
    }
}
