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
    private let cache = Mutex(ManifestCache<ParsedManifests.File>())
    let records: HostStore
    private let recordCache = Mutex(RecordCache())
    /// The last look, and what it came from.
    private let last = Mutex<(inputs: Inputs, look: Look)?>(nil)
    let overrides: HostStore
    /// What is remembered of the node as a whole.
    let host: HostStore
    let doubts: Mutex<Doubts>
    /// What went wrong with records since the last look told it.
    let untold = Mutex<Set<String>>([])

    /// Opens the node's stores and looks at the host.
    /// - Parameters:
    ///   - preparing: makes our control group, the stores and the place for locks. Without it the node can only be looked at, and nothing
    ///     is opened for writing, made, removed or renamed; what is missing is empty.
    ///   - patience: how long a manifest must have been gone, and nothing else have changed, before it counts as removed.
    ///   - replacing: has programs in the kernel that are of another version replaced by ours.
    ///   - watching: reads settings of control groups again only when somebody may have changed them.
    public init(
        paths: NodePaths, preparing: Bool = true, patience: Duration = .zero, replacing: Bool = false, watching: Bool = false
    ) throws {
        core = try IsolationCore(paths: paths, preparing: preparing, replacing: replacing, watching: watching)
        directory = ManifestDirectory(paths: paths.manifests)
        records = HostStore(of: paths.records, isReadOnly: !preparing)
        // Moved aside, what was said would be as good as taken back.
        overrides = HostStore(of: paths.overrides, isReadOnly: !preparing, keepsDamage: true)
        host = HostStore(of: paths.nodeRecords, isReadOnly: !preparing)
        doubts = Mutex(Doubts(patience: patience))
        if preparing { prepare() }
    }

    /// Makes what is missing. What cannot be made now is told when it is needed: a full or damaged disk is no reason not to look after
    /// what runs.
    private func prepare() {
        noting("make \(paths.locks)") { try Descriptor.makeDirectories(paths.locks) }
        for store in [records, overrides, host] { noting("prepare") { try store.prepare() } }
        noting("give the node an id") { try ensureID() }
    }

    /// The outcome of reading everything.
    public struct Look: Sendable {
        public var targets: [Target] = []
        /// Mistakes in manifests and files that cannot be read, sorted, each with its place.
        public var diagnostics: [String] = []
        /// What no manifest is refused for, sorted, each with its place.
        public var warnings: [String] = []
        /// Records and overrides that cannot be read or written: each with the reason and what became of it.
        public var damaged: [String] = []
        /// Why nothing can be done about a container, of those that are no targets: its record is there and cannot be read.
        public var lost: [ContainerID: String] = [:]
        /// The valid manifests by name, with the place of each value.
        public var documents: [String: ManifestDocument] = [:]
        /// The containers that have anything in the kernel.
        public var present: Set<ContainerID> = []
        /// A digest of all manifests as they stand.
        public var generation = ""
        /// What is to be told of the node as a whole and is neither a mistake nor a change.
        public var notes: [String] = []
        /// When the first override is over, in seconds since the epoch.
        public var nextEnd: Int64?
        /// After how long what has gone counts as removed; `nil` when nothing has.
        public var again: Duration?
        /// The digest of each manifest and drop-in.
        var digests: [PlanDocument.Input] = []
        /// Why what disturbs must wait, when there is too much of it at once.
        var brake: String?
        /// What is in the kernel and has no record.
        var unrecorded: [Acceptance.Present] = []
        /// What is to be written down of all this, unless it was.
        var toRemember: [ContainerRecord] = []
    }

    // MARK: Looking

    /// Everything that a look at the whole node depends on, but for what is asked of the kernel: when these are as before, so is the
    /// look.
    private struct Inputs: Equatable {
        var reading: Reading
        /// `RecordCache.version`.
        var records: Int
        var present: [ContainerID]
        var said: [ContainerID: Overrides]
        var nextEnd: Int64?
        var acknowledged: String?
        /// With what the roots lie on.
        var host: HostCapabilities
    }

    /// Reads all manifests and what is remembered, and says what shall be.
    /// - Parameters:
    ///   - only: these manifests instead of the node's directories; then nothing counts as removed.
    ///   - remembering: writes down what was accepted. A plan does not.
    ///   - removing: believes that what is gone was removed. Who is there for one container leaves that to others.
    public func look(only: [String]? = nil, remembering: Bool, removing: Bool = true) throws -> Look {
        let reading = only.map(ManifestDirectory.read(given:)) ?? directory.read()
        try core.lookAtHost()
        let present = try core.present()
        let (said, nextEnd, unreadable) = try overridesByID(at: Timestamp.now)
        let (acknowledged, cache) = (acknowledged, try updatedRecords())
        let untold = untold.withLock { untold in
            defer { untold = [] }
            return untold.sorted()
        }
        let trouble = [core.beancounterTrouble].compactMap { $0 }
        let damaged = Array(Set(cache.damaged + unreadable + untold + trouble)).sorted()
        let inputs = Inputs(
            reading: reading, records: cache.version, present: present, said: said, nextEnd: nextEnd, acknowledged: acknowledged,
            host: core.host)
        if only == nil, damaged.isEmpty, let same = last.withLock({ $0?.inputs == inputs ? $0?.look : nil }) { return same }
        let parsed = parse(reading, partial: only != nil)
        var input = parsed.input
        input.isAcknowledged = only == nil && acknowledged == input.generation
        // One time for all that is judged: what is not believed yet is looked at again.
        let now = ContinuousClock.now
        let faults = only == nil ? doubtDefaults(&input, parsed.defaultsFile, remembering: remembering, at: now) : []
        let memory = known(cache, present)
        var hasAsked = memory.present.contains { present.contains($0.ctid) }
        var judgement = Judgement(
            of: input, on: memory, said: said, host: core.host, recent: { removing ? recent($0, input, at: now) : $0 },
            isRestart: { target in
                // Where none is wanted, none will be until something else is said.
                let isRestart = (try? self.plan(target))?.0.isRestart ?? true
                hasAsked = hasAsked || isRestart
                return isRestart
            })
        // It was for one generation, and one time: an empty directory looks the same the next time, and may be a mishap then.
        if remembering, only == nil, let acknowledged, acknowledged != input.generation {
            noting("forget an acknowledgement") { try host.remove("acknowledgement") }
        }
        var unwritten: [ContainerID: Unwritten] = [:]
        if remembering && !judgement.acceptance.toRemember.isEmpty {
            unwritten = try rememberAll(&judgement, present)
        }
        let known = Set(judgement.acceptance.entries.map(\.record.ctid))
        let strangers = present.filter { !known.contains($0) }.map {
            "CT \($0): has a control group, but neither a manifest nor a record: it is left alone"
        }
        var look = Look(
            diagnostics: parsed.diagnostics + faults + judgement.acceptance.problems, warnings: parsed.warnings + strangers,
            damaged: damaged, present: Set(present), generation: input.generation, nextEnd: nextEnd,
            again: only == nil ? again(after: now) : nil)
        if !unwritten.isEmpty {
            look.damaged += Set(unwritten.values.map(\.reason)).sorted()
            look.again = min(look.again ?? Self.patienceWithDisk, Self.patienceWithDisk)
        }
        (look.digests, look.brake, look.unrecorded) = (parsed.digests, judgement.brake, memory.present)
        look.toRemember = judgement.acceptance.toRemember
        look.notes = [judgement.host.cpuScaleNote].compactMap { $0 }
        look.documents = Dictionary(input.documents.map { ($0.spec.name, $0) }, uniquingKeysWith: { first, _ in first })
        look.targets = judgement.targets(named: only == nil ? nil : Set(input.documents.map(\.spec.name)))
        // Those of a later reading too: what it could not read it took for missing.
        look.lost = cache.unreadable.merging(recordCache.withLock { $0.unreadable }) { first, _ in first }
            .filter { ctid, _ in !look.targets.contains { $0.record.ctid == ctid } }
        look.damaged = Array(Set(look.damaged + look.lost.values)).sorted()
        for i in look.targets.indices { look.targets[i].unwritten = unwritten[look.targets[i].record.ctid] }
        // What was written or moved away just now is looked at again, and so is what the kernel was asked about.
        let stands =
            only == nil && remembering && removing && !hasAsked && look.again == nil && look.toRemember.isEmpty
            && look.damaged.isEmpty
            && (acknowledged ?? input.generation) == input.generation
        last.withLock { $0 = stands ? (inputs, look) : nil }
        return look
    }

    private func parse(_ reading: Reading, partial: Bool) -> ParsedManifests {
        let files =
            partial
            ? reading.files.map(ParsedManifests.File.init)
            : cache.withLock { $0.update(with: reading, parse: ParsedManifests.File.init).items.map(\.parsed) }
        return ParsedManifests(files, of: reading, partial: partial)
    }

    func updatedRecords() throws(StoreError) -> RecordCache {
        try recordCache.withLock { cache throws(StoreError) in
            try cache.update(from: records, in: paths.records)
            return cache
        }
    }

    /// The target with what was remembered or said since it was looked at: another `vz` may have been at work.
    public func current(_ target: Target) -> Target {
        var (record, unreadable) = (target.record, String?.none)
        do throws(StoreError) {
            // What could not be written is newer than what is there.
            let read = try records.read(ContainerRecord.self, String(target.record.ctid.number))
            if target.unwritten == nil, let read { record = read }
            // One that was made up is none to go by.
            if read == nil { unreadable = target.unreadable }
        } catch {
            note(error.message)
            if error.code != .corrupt { unreadable = error.message }
        }
        var now = Target(
            record, overrides(of: target.record.ctid), lastKnownGood: target.lastKnownGood, pruneHeld: target.pruneHeld,
            unreadable: unreadable, brake: target.desired.brake, on: core.host.scaled(by: target.cpuScale))
        now.unwritten = target.unwritten
        return now
    }

    // MARK: Planning and converging

    /// What would be done for one container, and what it was seen to be.
    public func plan(_ target: Target, known: PidFD? = nil) throws(KernelError) -> (Plan.Container, IsolationCore.Observation) {
        var observation = try core.observe(target.record.ctid, known: known)
        observation.container.rootTemplate = core.rootLabels(of: target.record.ctid).template ?? target.record.rootTemplate
        var fault: KernelError?
        let plan = target.plan(from: observation.container) {
            do throws(KernelError) {
                return try core.lastSet(observation.handle)
            } catch {
                fault = error
                return [:]
            }
        }
        if let fault { throw fault }
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
        if quick.isSettled && target.desired.removal != .trash && target.unwritten == nil { return (quick, seen.handle.process) }
        let ctid = target.record.ctid
        let lock = try lock(ctid)
        defer { withExtendedLifetime(lock) {} }
        let wasReadable = !target.overrides.areMadeUp
        target = current(target)
        // What could be read a moment ago says more than a hold that stands for it.
        if wasReadable, target.overrides.areMadeUp { throw StoreError(.system, target.overrides.hold?.reason ?? "") }
        manner.adjust(&target.desired)
        let (plan, observation) = try plan(target, known: known)
        // Neither its CTID nor its ids are its own before they are written down, unless it runs with them.
        if let unwritten = target.unwritten, unwritten.isNew, !observation.container.isRunning {
            throw StoreError(.system, unwritten.reason)
        }
        let process = try execute(plan, on: observation.handle, of: target, manner)
        // All that can be done is done; that it would be forgotten is a failure all the same, and is tried again.
        if let unwritten = target.unwritten { throw StoreError(.system, unwritten.reason) }
        return (plan, process)
    }

    /// Makes the changes of a plan, under the container's lock. - Returns: process 1 afterwards.
    func execute(
        _ plan: Plan.Container, on handle: ContainerHandle, of target: Target, _ manner: Manner
    ) throws -> PidFD? {
        let timeout = manner.stopTimeout ?? .seconds(target.spec.stopTimeout)
        let process = try core.execute(
            plan.changes, on: handle, for: target.desired, idBase: target.record.idBase, stopTimeout: timeout,
            begun: manner.begun
        ) { change in
            if case .makeRoot(let template) = change.action {
                noteTemplate(template, of: target.record)
            }
            manner.made(change)
        }
        if target.desired.removal == .trash, target.desired.hold == nil { try forget(target.record) }
        return process
    }

    /// A container whose root is in the trash is no more. Its record goes there as well, for whoever wants it back.
    private func forget(_ record: ContainerRecord) throws {
        let name = String(record.ctid.number)
        if let item = try Trash(paths: paths).items().last(where: { $0.ctid == record.ctid }) {
            // One that has a record is of another container that had this number.
            let store = try HostStore(directory: Trash(paths: paths).path(of: item))
            if try store.read(ContainerRecord.self, "record") == nil { try store.write(record, "record") }
        }
        try overrides.remove(name)
        try records.remove(name)
    }
}

extension Node.Manner {
    fileprivate func adjust(_ desired: inout DesiredContainer) {
        desired.mustRestart = restarts
        guard let stopping else { return }
        (desired.state, desired.stateReason) = (.stopped, stopping)
        // Also one that is let alone otherwise.
        desired.removal = nil
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
