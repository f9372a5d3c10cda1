public import VZManifest
public import VZModel

/// The pure function from what was read to what shall be: which manifests are in force, under which CTID, and what is to be remembered.
///
/// Input never hurts what runs: a broken manifest leaves the last accepted one in force, and only a removal that can be believed removes.
public struct Acceptance: Equatable, Sendable {
    /// One container of the node and the manifest in force for it.
    public struct Entry: Equatable, Sendable {
        public var record: ContainerRecord
        /// Why the manifest in force is not the file as it stands; `nil` when it is.
        public var lastKnownGood: String?
        /// Why its removal is not believed yet; `nil` when its manifest is there, or was removed for certain.
        public var pruneHeld: String?
        /// Why its record, which is there, cannot be read: what it says is not known, and what stands here is made up in its place.
        public var unreadable: String?
    }

    /// By CTID.
    public var entries: [Entry] = []
    /// What is removed for certain, and would be stopped by it.
    public var removed: Set<ContainerID> = []
    /// How many containers there were.
    public var known = 0
    /// Records that are new or differ from the remembered ones.
    public var toRemember: [ContainerRecord] = []
    /// Manifests that no place on the node could be found for.
    public var problems: [String] = []

    /// What is known of the node when manifests are accepted.
    public struct Node: Sendable {
        public var records: [ContainerRecord]
        /// Containers in the kernel or on the disk: their records may be lost.
        public var present: [Present]
        /// Records that are there and cannot be read, by what went wrong. They are neither replaced nor taken for missing.
        public var unreadable: [ContainerID: String]

        public init(records: [ContainerRecord], present: [Present] = [], unreadable: [ContainerID: String] = [:]) {
            self.records = records
            self.present = present
            self.unreadable = unreadable
        }
    }

    /// A container without a record: in the kernel, or nothing but a root on the disk.
    public struct Present: Sendable {
        public var ctid: ContainerID
        public var name: String?
        public var idBase: UInt32?

        public init(ctid: ContainerID, name: String?, idBase: UInt32?) {
            self.ctid = ctid
            self.name = name
            self.idBase = idBase
        }
    }

    /// What it means that a manifest's file is not there.
    public enum Removal: Equatable, Sendable {
        /// Its directory was read and has others: it was removed.
        case certain
        /// Its directory was read and is empty. That is how one removes the last manifest there, and also what an unmounted file
        /// system or a failed checkout looks like: believed when it is acknowledged.
        case emptied
        /// It cannot be told; why.
        case unknown(String)
    }

    /// What was read.
    public struct Input: Sendable {
        /// The valid documents of all files.
        public var documents: [ManifestDocument]
        /// Files that hold a mistake, or cannot be read, with a message.
        public var faulty: [String: String]
        /// Why documents are not valid, by their name.
        public var rejected: [String: String]
        /// All files that are there.
        public var files: Set<String>
        /// What the absence of a file that is not there means.
        public var removal: @Sendable (String) -> Removal
        /// Files with a mistake that hold, as far as one can tell, a document of any name.
        public var nameless: Set<String> = []
        /// Containers whose manifest has been gone only for a moment: it may be on its way from one file to another.
        public var recent: Set<ContainerID> = []
        /// Of all that was read; what an acknowledgement names.
        public var generation = ""
        /// Whether an administrator said that this generation is meant.
        public var isAcknowledged = false
        /// Why nothing is removed; `nil` when removals may happen.
        public var brake: String?

        public init(
            documents: [ManifestDocument], faulty: [String: String] = [:], rejected: [String: String] = [:],
            files: Set<String>,
            removal: @escaping @Sendable (String) -> Removal
        ) {
            self.documents = documents
            self.faulty = faulty
            self.rejected = rejected
            self.files = files
            self.removal = removal
        }
    }

    public init(of input: Input, on node: Node) {
        var places = Places(node, asked: input.documents.compactMap(\.spec.ctid))
        let before = places.records
        // Those that name their CTID go first: an allocation never takes what a manifest asks for.
        for document in input.documents.sorted(by: { Self.order($0.spec) < Self.order($1.spec) }) {
            if let problem = places.take(for: document) { problems.append("\(document.location): \(problem)") }
        }
        known = before.values.count { !$0.retired }
        // A file with a mistake that no container is known from may hold what is missing elsewhere.
        let stray =
            input.nameless.isEmpty
            ? nil : input.nameless.subtracting(before.values.filter { !$0.retired }.map(\.source.file)).min()
        for var record in places.records.values.sorted(by: { $0.ctid < $1.ctid }) {
            var entry = Entry(record: record, unreadable: node.unreadable[record.ctid])
            if !places.current.contains(record.ctid) && !record.retired {
                entry.lastKnownGood = Self.fault(of: record, input)
                if entry.lastKnownGood == nil { entry.pruneHeld = Self.reasonToKeep(record, stray: stray, input) }
                if entry.lastKnownGood == nil && entry.pruneHeld == nil {
                    let isRecent = input.recent.contains(record.ctid) && !input.isAcknowledged
                    if isRecent { entry.pruneHeld = "its manifest is gone from \(record.source.file); waiting for it to stay away" }
                    record.retired = !isRecent
                    if record.retired && record.accepted.lifecycle.deletion != .ignore { removed.insert(record.ctid) }
                }
            }
            entry.record = record
            entries.append(entry)
            if record != before[record.ctid], entry.unreadable == nil { toRemember.append(record) }
        }
    }

    private static func order(_ spec: ContainerSpec) -> (Int, String) { (spec.ctid == nil ? 1 : 0, spec.name) }

    /// Who has which CTID and which ids while documents are placed one after the other.
    private struct Places {
        var records: [ContainerID: ContainerRecord]
        /// Those with a valid document.
        var current: Set<ContainerID> = []
        private var named: [String: [ContainerID]] = [:]
        private var presentByID: [ContainerID: Present] = [:]
        private var presentByName: [String: Present] = [:]
        private let unreadable: [ContainerID: String]
        /// Why no CTID is given to a document that names none: it may be one that is there already; `nil` when it cannot be.
        private var strangers: String?
        /// Names that several roots without a record have.
        private var ambiguous: Set<String> = []
        private var takenIDs: Set<ContainerID>
        private var takenRanges: Set<UInt32>
        private var next = ContainerID.range.lowerBound
        private var nextRange = IDRange.first

        init(_ node: Node, asked: [ContainerID]) {
            records = Dictionary(node.records.map { ($0.ctid, $0) }, uniquingKeysWith: { first, _ in first })
            // Retired ones last: a name belongs to the container that is in use.
            for record in records.values.sorted(by: { ($0.retired ? 1 : 0, $0.ctid) < ($1.retired ? 1 : 0, $1.ctid) }) {
                named[record.name, default: []].append(record.ctid)
            }
            unreadable = node.unreadable
            for container in node.present {
                presentByID[container.ctid] = container
                guard let name = container.name else {
                    if container.idBase != nil, unreadable[container.ctid] == nil {
                        strangers = "CT \(container.ctid) runs, and nothing tells whose it is: name the CTID in spec.ctid"
                    }
                    continue
                }
                guard let other = presentByName[name] else {
                    presentByName[name] = container
                    continue
                }
                // What runs is the one in use; of two roots on the disk nobody knows which.
                if container.idBase != nil { presentByName[name] = container }
                if container.idBase == nil, other.idBase == nil { ambiguous.insert(name) }
            }
            takenIDs = Set(records.keys).union(presentByID.keys).union(unreadable.keys).union(asked)
            takenRanges = Set(records.values.map(\.idBase)).union(node.present.compactMap(\.idBase))
        }

        /// Gives the document its record: by CTID, else by name, else a new one. - Returns: why it gets none; `nil` when it got one.
        mutating func take(for document: ManifestDocument) -> String? {
            let spec = document.spec
            let known = spec.ctid ?? named[spec.name]?.first { !current.contains($0) }
            if let known, var record = records[known] {
                (record.name, record.accepted, record.source, record.retired) = (spec.name, spec, document.location, false)
                records[known] = record
                current.insert(known)
                return nil
            }
            // One that runs, or has a root, without a record keeps what it has: its record was lost.
            let running = spec.ctid.map { presentByID[$0] } ?? presentByName[spec.name]
            let asked = spec.ctid ?? running?.ctid
            if let problem = doubt(asked, running, spec) { return problem }
            guard let ctid = asked ?? allocate(),
                let base = running?.idBase ?? IDRange.allocate(taken: takenRanges, from: nextRange)
            else { return "no free CTID or id range is left on this node" }
            takenIDs.insert(ctid)
            takenRanges.insert(base)
            // Those below are taken by now.
            if running?.idBase == nil { nextRange = base }
            records[ctid] = ContainerRecord(ctid: ctid, name: spec.name, idBase: base, accepted: spec, source: document.location)
            current.insert(ctid)
            return nil
        }

        /// Why a document without a record gets none: it may have one that cannot be read, or somebody else the ids that it would get.
        private func doubt(_ asked: ContainerID?, _ running: Present?, _ spec: ContainerSpec) -> String? {
            // What is made up for one that cannot be read is not used, and what runs tells its ids itself.
            if let asked, unreadable[asked] != nil || running?.idBase != nil { return nil }
            if let first = unreadable.min(by: { $0.key < $1.key }) {
                return "\(spec.name) is new, and none is made while the record of CT \(first.key) cannot be read: \(first.value)"
            }
            if spec.ctid == nil, ambiguous.contains(spec.name) {
                return "there are several roots of a \(spec.name), and no record tells which is in use: name the CTID in spec.ctid"
            }
            return asked == nil ? strangers : nil
        }

        private mutating func allocate() -> ContainerID? {
            while let ctid = ContainerID(next) {
                next += 1
                if !takenIDs.contains(ctid) { return ctid }
            }
            return nil
        }
    }

    /// Why the manifest of a container is not known; `nil` when it is not there.
    private static func fault(of record: ContainerRecord, _ input: Input) -> String? {
        let file = record.source.file
        if let fault = input.faulty[file] { return fault }
        if let reason = input.rejected[record.name] { return reason }
        guard !input.files.contains(file), case .unknown(let why) = input.removal(file) else { return nil }
        return "\(file) is gone, which counts for nothing while this is so: \(why)"
    }

    /// Why a container whose manifest is not there stays as it is; `nil` when it was removed for certain.
    private static func reasonToKeep(_ record: ContainerRecord, stray: String?, _ input: Input) -> String? {
        let file = record.source.file
        func held(_ why: String) -> String { "\(why): vzctl ack \(input.generation)" }
        // Taken out of a file that is there and good is as certain as a file that is gone from a directory with others.
        switch input.files.contains(file) ? .certain : input.removal(file) {
        case _ where input.isAcknowledged: return nil
        case .emptied: return held("\(file) is gone and its directory is empty, which by itself removes nothing; if that is meant")
        case .certain, .unknown:
            return input.brake.map(held)
                ?? stray.map {
                    held("its manifest is gone from \(file) and may be in \($0), which has a mistake; mend that, or if it is meant")
                }
        }
    }

    /// More than this many containers removed or restarted by one generation wait for an acknowledgement.
    public static func limit(of known: Int) -> Int { max(3, known / 5) }
}
