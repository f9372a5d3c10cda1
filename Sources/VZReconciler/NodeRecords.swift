internal import Glibc
internal import Synchronization
internal import VZIsolation
internal import VZKernel
internal import VZModel

/// What a node remembers, when all goes well and when it does not: a full or damaged disk is told, and no reason to leave alone what runs.
extension Node {
    /// Does what can fail without harm now; the next look tells that it did.
    func noting(_ action: String, _ work: () throws -> Void) {
        do {
            try work()
        } catch {
            note("\(action): \(error)")
        }
    }

    /// Has the next look tell it.
    func note(_ damage: String) { untold.withLock { _ = $0.insert(damage) } }

    /// What is remembered of the node under a name; `nil` when that is nothing, or cannot be read, which the next look tells.
    func recall<T: Decodable>(_ type: T.Type, _ name: String) -> T? {
        do {
            return try host.read(type, name)
        } catch {
            note(error.message)
            return nil
        }
    }

    /// What is known of the node: the records, and of containers without one what the kernel tells.
    func known(_ cache: RecordCache, _ containers: [ContainerID]) -> Acceptance.Node {
        let known = Set(cache.records.map(\.ctid))
        let present = Set(containers).union(core.homes()).subtracting(known).sorted().map { ctid in
            let process = try? core.observe(ctid).handle.process
            return Acceptance.Present(
                ctid: ctid, name: core.name(of: ctid) ?? core.rootLabels(of: ctid).name,
                idBase: process.flatMap { core.idBase(of: $0) })
        }
        return Acceptance.Node(records: cache.records, present: present, unreadable: cache.unreadable)
    }

    /// Notes what a root was made from. Where that cannot be written the root itself tells.
    func noteTemplate(_ template: String, of record: ContainerRecord) {
        noting("note the template of CT \(record.ctid)") {
            let lock = try lockRecords()
            defer { withExtendedLifetime(lock) {} }
            // Another manifest may have been accepted while the root was made: that is not to be forgotten.
            let name = String(record.ctid.number)
            var latest = try records.read(ContainerRecord.self, name) ?? record
            latest.rootTemplate = template
            try records.write(latest, name)
        }
    }

    /// How long to wait before a record is written again that could not be.
    static let patienceWithDisk = Duration.seconds(5)

    /// Writes down what was accepted. - Returns: what could not be written.
    func rememberAll(
        _ judgement: inout Judgement, _ present: [ContainerID]
    ) throws -> [ContainerID: Unwritten] {
        let lock: FileLock
        do {
            lock = try lockRecords()
        } catch {
            let known = Set(try updatedRecords().records.map(\.ctid))
            let ctids = judgement.acceptance.toRemember.map(\.ctid)
            return Dictionary(ctids.map { ($0, .init(reason: "\(error)", isNew: !known.contains($0))) }) { first, _ in first }
        }
        defer { withExtendedLifetime(lock) {} }
        // Somebody else may have remembered something meanwhile.
        let cache = try updatedRecords()
        judgement.accept(on: known(cache, present))
        let known = Set(cache.records.map(\.ctid))
        var unwritten: [ContainerID: Unwritten] = [:]
        for record in judgement.acceptance.toRemember {
            do throws(StoreError) {
                try remember([record])
            } catch {
                unwritten[record.ctid] = .init(reason: error.message, isNew: !known.contains(record.ctid))
            }
        }
        return unwritten
    }

    /// The lock under which records are made and allocated.
    func lockRecords() throws(KernelError) -> FileLock {
        guard let lock = try takeLock("node", patience: .seconds(30)) else {
            throw KernelError("lock \(paths.locks)/node", errno: EAGAIN, detail: "another vz has held it for 30 s")
        }
        return lock
    }

    func remember(_ accepted: [ContainerRecord]) throws(StoreError) {
        for record in accepted { try records.write(record, String(record.ctid.number)) }
    }

    /// The lock under which one container is changed.
    func lock(_ ctid: ContainerID) throws(KernelError) -> FileLock {
        guard let lock = try takeLock("\(ctid)", patience: .seconds(150)) else {
            throw KernelError("lock CT \(ctid)", errno: EAGAIN, detail: "another vz is at work on it")
        }
        return lock
    }

    func takeLock(_ name: String, patience: Duration) throws(KernelError) -> FileLock? {
        let (path, deadline) = ("\(paths.locks)/\(name)", ContinuousClock.now + patience)
        do throws(KernelError) {
            return try FileLock.lock(path, deadline: deadline)
        } catch {
            // Somebody cleared the directory away.
            guard error.errno == ENOENT else { throw error }
            try Descriptor.makeDirectories(paths.locks)
            return try FileLock.lock(path, deadline: deadline)
        }
    }
}
