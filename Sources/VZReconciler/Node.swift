internal import Glibc
internal import Synchronization
public import VZIsolation
public import VZKernel
public import VZManifest
public import VZModel
public import VZPlan

/// One node: its manifests, what it remembers, and the isolation core. Looks, plans, and converges one container at a time.
///
/// Everything here blocks. `vzd` and `vzctl` use it alike, under the same locks, so that they cannot disagree.
public final class Node: Sendable {
    public let core: IsolationCore
    public var paths: NodePaths { core.paths }
    private let directory: ManifestDirectory
    private let cache = Mutex(ManifestCache<Parsed.File>())
    let records: HostStore
    private let recordCache = Mutex(RecordCache())
    let overrides: HostStore
    /// What is remembered of the node as a whole.
    let host: HostStore

    /// Opens the node's stores and looks at the host.
    /// - Parameter preparing: makes our control group, the stores and the place for locks. Without it the node can only be looked at,
    ///   and nothing is opened for writing, made, removed or renamed; what is missing is empty.
    public init(paths: NodePaths, preparing: Bool = true) throws {
        core = try IsolationCore(paths: paths, preparing: preparing)
        directory = ManifestDirectory(paths: paths.manifests)
        func store(_ path: String) throws(StoreError) -> HostStore {
            preparing ? try HostStore(directory: path) : try HostStore(reading: path)
        }
        records = try store(paths.records)
        overrides = try store(paths.overrides)
        host = try store(paths.nodeRecords)
        if preparing { try Descriptor.makeDirectories(paths.locks) }
    }

    /// A container and what shall become of it.
    public struct Target: Equatable, Sendable {
        public var record: ContainerRecord
        /// The manifest in force: the accepted one, with what administrators said.
        public var spec: ContainerSpec
        public var overrides: Overrides
        public var desired: DesiredContainer
        /// Why the last accepted manifest is in force and not the file as it stands.
        public var lastKnownGood: String?
        /// Why its removal or restart waits for an acknowledgement.
        public var pruneHeld: String?
    }

    /// The outcome of reading everything.
    public struct Look: Sendable {
        public var targets: [Target] = []
        /// Mistakes in manifests and files that cannot be read, sorted, each with its place.
        public var diagnostics: [String] = []
        /// What no manifest is refused for, sorted, each with its place.
        public var warnings: [String] = []
        /// Records and overrides that cannot be read: each with the reason and what became of it.
        public var damaged: [String] = []
        /// The valid manifests by name, with the place of each value.
        public var documents: [String: ManifestDocument] = [:]
        /// The containers that have anything in the kernel.
        public var present: Set<ContainerID> = []
        /// A digest of all manifests as they stand.
        public var generation = ""
        /// When the first override is over, in seconds since the epoch.
        public var nextEnd: Int64?
    }

    // MARK: Looking

    /// Reads all manifests and what is remembered, and says what shall be.
    /// - Parameters:
    ///   - only: these manifests instead of the node's directories; then nothing counts as removed.
    ///   - remembering: writes down what was accepted. A plan does not.
    public func look(only: [String]? = nil, remembering: Bool) throws -> Look {
        let reading = only.map(ManifestDirectory.read(given:)) ?? directory.read()
        let parsed = parse(reading, partial: only != nil)
        var input = parsed.input
        input.isAcknowledged = only == nil && acknowledged == input.generation
        let present = try core.present()
        let (said, nextEnd, unreadable) = try overridesByID(at: Timestamp.now)
        var acceptance = Acceptance(of: input, on: try remembered(present))
        let damaged = recordCache.withLock { $0.damaged } + unreadable
        let brake = brake(acceptance, input, said)
        if brake != nil {
            input.brake = brake
            acceptance = Acceptance(of: input, on: try remembered(present))
        }
        // It was for one generation, and one time: an empty directory looks the same the next time, and may be a mishap then.
        if remembering, only == nil, let acknowledged, acknowledged != input.generation { try? host.remove("acknowledgement") }
        if remembering && !acceptance.toRemember.isEmpty {
            guard let lock = try FileLock.lock(paths.locks + "/node", deadline: .now + .seconds(30)) else {
                throw KernelError("lock \(paths.locks)/node", detail: "another vz has held it for 30 s")
            }
            // Somebody else may have remembered something meanwhile.
            acceptance = Acceptance(of: input, on: try remembered(present))
            for record in acceptance.toRemember { try records.write(record, String(record.ctid.number)) }
            withExtendedLifetime(lock) {}
        }
        let known = Set(acceptance.entries.map(\.record.ctid))
        let strangers = present.filter { !known.contains($0) }.map {
            "CT \($0): has a control group, but neither a manifest nor a record: it is left alone"
        }
        var look = Look(
            diagnostics: parsed.diagnostics + acceptance.problems, warnings: parsed.warnings + strangers, damaged: damaged,
            present: Set(present), generation: input.generation, nextEnd: nextEnd)
        look.documents = Dictionary(input.documents.map { ($0.spec.name, $0) }, uniquingKeysWith: { first, _ in first })
        let named = only == nil ? nil : Set(input.documents.map(\.spec.name))
        for entry in acceptance.entries where named?.contains(entry.record.name) ?? true {
            look.targets.append(target(entry, said[entry.record.ctid] ?? Overrides(), brake: brake, input.generation))
        }
        return look
    }

    /// Why this generation removes and restarts nothing: it would do so to too many; `nil` when it would not, or that is meant.
    private func brake(_ acceptance: Acceptance, _ input: Acceptance.Input, _ said: [ContainerID: Overrides]) -> String? {
        let limit = Acceptance.limit(of: acceptance.known)
        guard !input.isAcknowledged else { return nil }
        // Only what may be restarted is worth looking at in the kernel, and only when it can come to too much.
        let mayRestart = acceptance.entries.filter { $0.record.accepted.lifecycle.disruption != .live && !$0.record.retired }
        guard acceptance.removed.count + mayRestart.count > limit else { return nil }
        let restarts = mayRestart.count { entry in
            let target = target(entry, said[entry.record.ctid] ?? Overrides(), brake: nil, input.generation)
            return (try? plan(target))?.0.isRestart ?? false
        }
        guard acceptance.removed.count + restarts > limit else { return nil }
        return "\(acceptance.removed.count) of \(acceptance.known) containers would be removed and \(restarts) restarted, "
            + "which is more than \(limit); if that is meant"
    }

    private func parse(_ reading: Reading, partial: Bool) -> Parsed {
        let files =
            partial
            ? reading.files.map(Parsed.File.init)
            : cache.withLock { $0.update(with: reading, parse: Parsed.File.init).items.map(\.parsed) }
        let set = ManifestSet(files.map(\.manifest))
        let errors = set.diagnostics.filter { $0.severity == .error }
        let owners = Dictionary(
            reading.files.flatMap { file in file.dropIns.map { ($0.path, file.path) } }, uniquingKeysWith: { first, _ in first })
        var faulty: [String: String] = [:]
        for diagnostic in errors.reversed() {
            // A mistake in a drop-in is one of the file that it is merged into.
            faulty[owners[diagnostic.location.file] ?? diagnostic.location.file] = "\(diagnostic)"
        }
        for problem in reading.problems { faulty[problem.path] = "\(problem)" }
        var input = Acceptance.Input(
            documents: set.documents, faulty: faulty, rejected: set.rejected,
            files: Set(reading.files.map(\.path) + reading.problems.map(\.path)),
            removal: { partial ? .unknown : reading.removal(of: $0) })
        var generation = Digest()
        for file in files { generation.add(part: file.digest) }
        for problem in reading.problems { generation.add(part: "\(problem)") }
        input.generation = String(generation.text.prefix(12))
        return Parsed(
            input: input, diagnostics: errors.map(\.description) + reading.problems.map(\.description),
            warnings: set.diagnostics.filter { $0.severity != .error }.map(\.description) + reading.orphans.map(\.description))
    }

    private struct Parsed {
        var input: Acceptance.Input
        var diagnostics: [String]
        var warnings: [String]

        /// One file and its drop-ins.
        struct File: Sendable {
            var manifest: ParsedManifest
            var digest: String

            init(_ file: ManifestFile) {
                manifest = ManifestParser.parse(file)
                var digest = Digest()
                for part in [file] + file.dropIns {
                    digest.add(part: part.path)
                    digest.add(part: part.bytes)
                }
                self.digest = digest.text
            }
        }
    }

    private func remembered(_ containers: [ContainerID]) throws -> Acceptance.Node {
        let list = try recordCache.withLock { cache in try cache.update(from: records, in: paths.records) }
        let known = Set(list.map(\.ctid))
        let present = containers.filter { !known.contains($0) }.map { ctid in
            let process = try? core.observe(ctid).handle.process
            return Acceptance.Present(ctid: ctid, name: core.name(of: ctid), idBase: process.flatMap { core.idBase(of: $0) })
        }
        return Acceptance.Node(records: list, present: present)
    }

    private func target(
        _ entry: Acceptance.Entry, _ overrides: Overrides, brake: String?, _ generation: String
    ) -> Target {
        let brake = brake.map { "\($0): vzctl ack \(generation)" }
        return target(entry.record, overrides, lastKnownGood: entry.lastKnownGood, pruneHeld: entry.pruneHeld, brake: brake)
    }

    private func target(
        _ record: ContainerRecord, _ overrides: Overrides, lastKnownGood: String?, pruneHeld: String?, brake: String?
    ) -> Target {
        let spec = overrides.spec(over: record.accepted)
        // What is on trial stays on trial, whatever becomes of the files.
        let isRemoved = record.retired && overrides.trial == nil
        let state = isRemoved ? .stopped : overrides.state?.value ?? spec.state
        let reason: Reason = isRemoved ? .removed : overrides.state != nil ? .override : .wanted
        let source = isRemoved ? "file removed" : "\(record.source.file):\(record.source.line)"
        var desired = DesiredContainer(
            ctid: record.ctid, name: record.name, source: source, state: state, stateReason: reason, template: spec.template,
            start: StartParameters(init: spec.`init`, env: spec.env), wish: Facets.wish(for: spec, on: core.host))
        desired.disruption = spec.lifecycle.disruption
        desired.brake = brake
        desired.ignoredDrift = spec.lifecycle.ignoreDrift.map { String($0.dropFirst()).replacing("/", with: ".") }
        desired.hold = overrides.holdText(name: record.name) ?? (spec.lifecycle.hold ? "lifecycle.hold is set" : nil)
        desired.removal = isRemoved ? spec.lifecycle.deletion : nil
        return Target(
            record: record, spec: spec, overrides: overrides, desired: desired, lastKnownGood: lastKnownGood, pruneHeld: pruneHeld)
    }

    /// The target with what was remembered or said since it was looked at: another `vz` may have been at work.
    public func current(_ target: Target) -> Target {
        let record = (try? records.read(ContainerRecord.self, String(target.record.ctid.number))) ?? target.record
        return self.target(
            record, overrides(of: target.record.ctid), lastKnownGood: target.lastKnownGood, pruneHeld: target.pruneHeld,
            brake: target.desired.brake)
    }

    // MARK: Planning and converging

    /// What would be done for one container, and what it was seen to be.
    public func plan(_ target: Target, known: PidFD? = nil) throws(KernelError) -> (Plan.Container, IsolationCore.Observation) {
        var observation = try core.observe(target.record.ctid, known: known)
        observation.container.rootTemplate = target.record.rootTemplate
        let changes = Planner.changes(from: observation.container, to: target.desired) { core.lastSet(observation.handle) }
        let plan = Plan.Container(
            ctid: target.record.ctid, name: target.record.name, source: target.desired.source, changes: changes,
            unsupported: target.desired.state != .stopped ? target.desired.wish.unsupported : [],
            problem: target.lastKnownGood ?? target.pruneHeld)
        return (plan, observation)
    }

    /// How a convergence goes about it.
    public struct Manner: Sendable {
        /// How long a stop waits before it kills; `nil`: as the manifest says.
        public var stopTimeout: Duration?
        /// The container shall not run, whatever is declared and said; why.
        public var stopping: Reason?
        /// One that runs is stopped and started again.
        public var restarts = false
        /// Called before each change is made.
        public var begun: @Sendable (Change) -> Void = { _ in }
        /// Called after each change that was made.
        public var made: @Sendable (Change) -> Void = { _ in }

        public init(stopTimeout: Duration? = nil, stopping: Reason? = nil) {
            self.stopTimeout = stopTimeout
            self.stopping = stopping
        }
    }

    /// Brings one container to what it shall be, under its lock.
    /// - Returns: the plan that was carried out, and process 1 afterwards.
    public func converge(_ target: Target, known: PidFD? = nil, _ manner: Manner = Manner()) throws -> (Plan.Container, PidFD?) {
        var target = target
        manner.adjust(&target.desired)
        let (quick, seen) = try plan(target, known: known)
        if quick.isSettled && target.desired.removal != .trash { return (quick, seen.handle.process) }
        let ctid = target.record.ctid
        let lock = try lock(ctid)
        defer { withExtendedLifetime(lock) {} }
        target = current(target)
        manner.adjust(&target.desired)
        let (plan, observation) = try plan(target, known: known)
        let timeout = manner.stopTimeout ?? .seconds(target.spec.stopTimeout)
        let process = try core.execute(
            plan.changes, on: observation.handle, for: target.desired, idBase: target.record.idBase, stopTimeout: timeout,
            begun: manner.begun
        ) { change in
            if case .makeRoot(let template) = change.action {
                var record = target.record
                record.rootTemplate = template
                try? records.write(record, String(ctid.number))
            }
            manner.made(change)
        }
        if target.desired.removal == .trash, target.desired.hold == nil { try forget(target.record) }
        return (plan, process)
    }

    /// A container whose root is in the trash is no more. Its record goes there as well, for whoever wants it back.
    private func forget(_ record: ContainerRecord) throws {
        let name = String(record.ctid.number)
        if let item = try Trash(paths: paths).items().last(where: { $0.ctid == record.ctid }) {
            try HostStore(directory: Trash(paths: paths).path(of: item)).write(record, "record")
        }
        try overrides.remove(name)
        try records.remove(name)
    }

    /// The lock under which one container is changed.
    func lock(_ ctid: ContainerID) throws(KernelError) -> FileLock {
        guard let lock = try FileLock.lock("\(paths.locks)/\(ctid)", deadline: .now + .seconds(150)) else {
            throw KernelError("lock CT \(ctid)", errno: EAGAIN, detail: "another vz is at work on it")
        }
        return lock
    }
}

extension Node.Manner {
    fileprivate func adjust(_ desired: inout DesiredContainer) {
        desired.mustRestart = restarts
        guard let stopping else { return }
        (desired.state, desired.stateReason) = (.stopped, stopping)
    }
}

extension Node {
    /// This process' environment, which names the node's paths when they are not the standard ones.
    public static var environment: [String: String] {
        var variables: [String: String] = [:]
        var entry = environ
        while let text = entry.pointee {
            let pair = String(cString: text)
            if let equals = pair.firstIndex(of: "=") {
                variables[String(pair[..<equals])] = String(pair[pair.index(after: equals)...])
            }
            entry += 1
        }
        return variables
    }
}
