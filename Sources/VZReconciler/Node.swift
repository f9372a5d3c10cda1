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
    private let cache = Mutex(ManifestCache<ParsedManifest>())
    private let records: HostStore
    private let recordCache = Mutex(RecordCache())
    private let overrides: HostStore

    /// Opens the node's stores and looks at the host.
    /// - Parameter preparing: makes our control group, which a look alone does not need.
    public init(paths: NodePaths, preparing: Bool = true) throws {
        core = try IsolationCore(paths: paths, preparing: preparing)
        directory = ManifestDirectory(paths: paths.manifests)
        records = try HostStore(directory: paths.records)
        overrides = try HostStore(directory: paths.overrides)
        try Descriptor.makeDirectories(paths.locks)
    }

    /// A container and what shall become of it.
    public struct Target: Equatable, Sendable {
        public var record: ContainerRecord
        public var desired: DesiredContainer
        /// Why the last accepted manifest is in force and not the file as it stands.
        public var lastKnownGood: String?
    }

    /// The outcome of reading everything.
    public struct Look: Sendable {
        public var targets: [Target] = []
        /// Mistakes in manifests and files that cannot be read, sorted, each with its place.
        public var diagnostics: [String] = []
        /// What no manifest is refused for, sorted, each with its place.
        public var warnings: [String] = []
        /// The valid manifests by name, with the place of each value.
        public var documents: [String: ManifestDocument] = [:]
        /// The containers that have anything in the kernel.
        public var present: Set<ContainerID> = []
    }

    // MARK: Looking

    /// Reads all manifests and what is remembered, and says what shall be.
    /// - Parameters:
    ///   - only: these manifests instead of the node's directories; then nothing counts as removed.
    ///   - remembering: writes down what was accepted. A plan does not.
    public func look(only: [String]? = nil, remembering: Bool) throws -> Look {
        let reading = only.map(ManifestDirectory.read(given:)) ?? directory.read()
        let parsed = parse(reading, partial: only != nil)
        let input = parsed.input
        let present = try core.present()
        var acceptance = Acceptance(of: input, on: try remembered(present))
        if remembering && !acceptance.toRemember.isEmpty {
            guard let lock = try FileLock.lock(paths.locks + "/node", deadline: .now + .seconds(30)) else {
                throw KernelError("lock \(paths.locks)/node", detail: "another vz has held it for 30 s")
            }
            // Somebody else may have remembered something meanwhile.
            acceptance = Acceptance(of: input, on: try remembered(present))
            for record in acceptance.toRemember { try records.write(record, String(record.ctid.number)) }
            withExtendedLifetime(lock) {}
        }
        let said = try overridesByID()
        var look = Look(
            diagnostics: parsed.diagnostics + acceptance.problems, warnings: parsed.warnings, present: Set(present))
        look.documents = Dictionary(input.documents.map { ($0.spec.name, $0) }, uniquingKeysWith: { first, _ in first })
        let named = only == nil ? nil : Set(input.documents.map(\.spec.name))
        for entry in acceptance.entries where named?.contains(entry.record.name) ?? true {
            look.targets.append(target(entry, override: said[entry.record.ctid]))
        }
        return look
    }

    private func parse(_ reading: Reading, partial: Bool) -> Parsed {
        let parsed =
            partial
            ? reading.files.map(ManifestParser.parse)
            : cache.withLock { $0.update(with: reading, parse: ManifestParser.parse).items.map(\.parsed) }
        let set = ManifestSet(parsed)
        let errors = set.diagnostics.filter { $0.severity == .error }
        let owners = Dictionary(
            reading.files.flatMap { file in file.dropIns.map { ($0.path, file.path) } }, uniquingKeysWith: { first, _ in first })
        var faulty: [String: String] = [:]
        for diagnostic in errors.reversed() {
            // A mistake in a drop-in is one of the file that it is merged into.
            faulty[owners[diagnostic.location.file] ?? diagnostic.location.file] = "\(diagnostic)"
        }
        for problem in reading.problems { faulty[problem.path] = "\(problem)" }
        let input = Acceptance.Input(
            documents: set.documents, faulty: faulty, rejected: set.rejected,
            files: Set(reading.files.map(\.path) + reading.problems.map(\.path)),
            removal: { partial ? .unknown : reading.removal(of: $0) })
        return Parsed(
            input: input, diagnostics: errors.map(\.description) + reading.problems.map(\.description),
            warnings: set.diagnostics.filter { $0.severity != .error }.map(\.description) + reading.orphans.map(\.description))
    }

    private struct Parsed {
        var input: Acceptance.Input
        var diagnostics: [String]
        var warnings: [String]
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

    private func target(_ entry: Acceptance.Entry, override: StateOverride?) -> Target {
        let record = entry.record
        let spec = record.accepted
        let state = record.retired ? .stopped : override?.state ?? spec.state
        let reason: Reason = record.retired ? .removed : override != nil ? .override : .wanted
        let source = record.retired ? "file removed" : "\(record.source.file):\(record.source.line)"
        let desired = DesiredContainer(
            ctid: record.ctid, name: record.name, source: source, state: state, stateReason: reason, template: spec.template,
            start: StartParameters(init: spec.`init`, env: spec.env), wish: Facets.wish(for: spec, on: core.host))
        return Target(record: record, desired: desired, lastKnownGood: entry.lastKnownGood)
    }

    /// The target with what was remembered or said since it was looked at: another `vz` may have been at work.
    public func current(_ target: Target) -> Target {
        let name = String(target.record.ctid.number)
        let record = (try? records.read(ContainerRecord.self, name)) ?? target.record
        let override = try? overrides.read(StateOverride.self, name)
        return self.target(Acceptance.Entry(record: record, lastKnownGood: target.lastKnownGood), override: override)
    }

    // MARK: Overrides

    private func overridesByID() throws -> [ContainerID: StateOverride] {
        var said: [ContainerID: StateOverride] = [:]
        for name in try overrides.names() {
            guard let ctid = ContainerID(text: name) else { continue }
            said[ctid] = try? overrides.read(StateOverride.self, name)
        }
        return said
    }

    /// Remembers, or with `nil` forgets, an administrator's word on a container's state.
    public func setOverride(_ override: StateOverride?, for ctid: ContainerID) throws {
        if let override {
            try overrides.write(override, String(ctid.number))
        } else {
            try overrides.remove(String(ctid.number))
        }
    }

    // MARK: Planning and converging

    /// What would be done for one container, and what it was seen to be.
    public func plan(_ target: Target, known: PidFD? = nil) throws(KernelError) -> (Plan.Container, IsolationCore.Observation) {
        var observation = try core.observe(target.record.ctid, known: known)
        observation.container.rootTemplate = target.record.rootTemplate
        let changes = Planner.changes(from: observation.container, to: target.desired) { core.lastSet(observation.handle) }
        let plan = Plan.Container(
            ctid: target.record.ctid, name: target.record.name, source: target.desired.source, changes: changes,
            unsupported: target.desired.state != .stopped ? target.desired.wish.unsupported : [], problem: target.lastKnownGood)
        return (plan, observation)
    }

    /// Brings one container to what it shall be, under its lock.
    /// - Returns: the plan that was carried out, and process 1 afterwards.
    public func converge(
        _ target: Target, known: PidFD? = nil, stopTimeout: Duration = .seconds(120), made: (Change) -> Void = { _ in }
    ) throws -> (Plan.Container, PidFD?) {
        let (quick, seen) = try plan(target, known: known)
        if quick.isSettled { return (quick, seen.handle.process) }
        let ctid = target.record.ctid
        guard let lock = try FileLock.lock("\(paths.locks)/\(ctid)", deadline: .now + .seconds(150)) else {
            throw KernelError("lock CT \(ctid)", detail: "another vz is at work on it")
        }
        defer { withExtendedLifetime(lock) {} }
        let target = current(target)
        let (plan, observation) = try plan(target, known: known)
        let process = try core.execute(
            plan.changes, on: observation.handle, for: target.desired, idBase: target.record.idBase, stopTimeout: stopTimeout
        ) { change in
            if case .makeRoot(let template) = change.action {
                var record = target.record
                record.rootTemplate = template
                try? records.write(record, String(ctid.number))
            }
            made(change)
        }
        return (plan, process)
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
