internal import Glibc
public import VZIsolation
internal import VZKernel
public import VZModel
internal import VZPlan

/// What a node remembers beside its containers' records: overrides, an acknowledgement, the last boot.
extension Node {
    /// "This many removals are meant": an administrator's word on one generation of the manifests.
    struct Acknowledgement: Codable {
        var generation: String
        var owner: String
        var time: Int64
    }

    private struct Boot: Codable {
        var id: String
    }

    // MARK: Acknowledgements

    var acknowledged: String? { recall(Acknowledgement.self, "acknowledgement")?.generation }

    /// Lets the removals and restarts of a generation happen that are held because they are many.
    /// - Parameter generation: as `plan` and the messages name it.
    /// - Throws: `KernelError` when the manifests are of another generation by now.
    public func acknowledge(_ generation: String, owner: String) throws {
        let now = try look(remembering: false).generation
        guard now == generation else {
            throw KernelError(
                "acknowledge generation \(generation)",
                detail: "the manifests are of generation \(now) now: read vzctl plan, and acknowledge that one if it is meant")
        }
        try host.write(Acknowledgement(generation: generation, owner: owner, time: Timestamp.now), "acknowledgement")
    }

    // MARK: Overrides

    /// All that is said of containers and not over yet, and what could not be read.
    func overridesByID(at now: Int64) throws -> (said: [ContainerID: Overrides], nextEnd: Int64?, warnings: [String]) {
        var said: [ContainerID: Overrides] = [:]
        var nextEnd: Int64?
        var warnings: [String] = []
        for name in try overrides.names() {
            guard let ctid = ContainerID(text: name) else { continue }
            do {
                guard let all = try overrides.read(Overrides.self, name)?.current(at: now), !all.isEmpty else { continue }
                said[ctid] = all
                if let end = all.nextEnd { nextEnd = min(nextEnd ?? end, end) }
            } catch {
                warnings.append("CT \(ctid): \(error)")
                said[ctid] = .unreadable(error.message)
            }
        }
        return (said, nextEnd, warnings)
    }

    /// What is said of one container.
    public func overrides(of ctid: ContainerID) -> Overrides {
        do {
            return try overrides.read(Overrides.self, String(ctid.number))?.current(at: Timestamp.now) ?? Overrides()
        } catch {
            return .unreadable(error.message)
        }
    }

    /// Changes what is said of a container, under its lock. Said over damage, it is all that is said.
    /// - Returns: what is said of it now.
    /// - Throws: `StoreError` when what was said cannot be read and may still be sound: it is not written over.
    @discardableResult
    public func setOverrides(of ctid: ContainerID, _ change: (inout Overrides) throws -> Void) throws -> Overrides {
        let lock = try lock(ctid)
        defer { withExtendedLifetime(lock) {} }
        let name = String(ctid.number)
        var before: Overrides
        do throws(StoreError) {
            before = try overrides.read(Overrides.self, name)?.current(at: Timestamp.now) ?? Overrides()
        } catch {
            // What may still be sound is not written over.
            guard error.code == .corrupt else { throw error }
            before = .unreadable(error.message)
        }
        var all = before
        try change(&all)
        if all.isEmpty {
            try overrides.remove(name)
        } else if all != before {
            try overrides.write(all, name)
        }
        return all
    }

    // MARK: Boot and shutdown

    /// Notes the host's boot: when it is another one than at the last call, what is not `onboot` stays down until somebody starts it.
    func noteBoot() {
        noting("note the boot") {
            let id = try Self.bootID()
            guard recall(Boot.self, "boot")?.id != id else { return }
            noting("keep down what is not onboot") { try keepDown() }
            try host.write(Boot(id: id), "boot")
        }
    }

    private func keepDown() throws {
        let look = try look(remembering: true)
        // The first look of the loop tells it.
        look.damaged.forEach(note)
        for target in look.targets
        where target.spec.onboot == false && target.overrides.state == nil && !target.record.retired
            && target.spec.state == .running
        {
            guard try !core.observe(target.record.ctid).container.isRunning else { continue }
            noting("keep CT \(target.record.ctid) down") {
                try setOverrides(of: target.record.ctid) {
                    $0.state = .init(.stopped, owner: "vzd", reason: "onboot is false", since: Timestamp.now)
                }
            }
        }
    }

    /// Whether the node is being shut down: then nothing is started, whatever the manifests say.
    public var isShuttingDown: Bool {
        // What was meant for another boot is over.
        guard let said = recall(Boot.self, "shutdown"), let id = try? Self.bootID() else { return false }
        return said.id == id
    }

    /// Begins, or with `false` calls off, a shutdown.
    public func setShuttingDown(_ shuttingDown: Bool) throws {
        if shuttingDown { try host.write(Boot(id: try Self.bootID()), "shutdown") } else { try host.remove("shutdown") }
    }

    private static func bootID() throws(KernelError) -> String { try KernelFile.read("/proc/sys/kernel/random/boot_id") }

    // MARK: Trash

    /// Puts a root from the trash back, with what was remembered of its container: whatever declares it again goes on with it.
    /// - Returns: what went wrong with what was remembered, if that is lost.
    /// - Throws: `StoreError` when that cannot be read and may still be sound; nothing was done then.
    @discardableResult
    public func restore(_ item: Trash.Item) throws -> String? {
        let lock = try lock(item.ctid)
        defer { withExtendedLifetime(lock) {} }
        let name = String(item.ctid.number)
        guard try records.read(ContainerRecord.self, name) == nil else {
            throw KernelError(
                "restore \(item.file)", detail: "there is a container \(item.ctid) by now: remove its manifest, or its root")
        }
        let kept = try HostStore(directory: Trash(paths: paths).path(of: item))
        var (record, damage) = (ContainerRecord?.none, String?.none)
        do throws(StoreError) {
            record = try kept.read(ContainerRecord.self, "record")
        } catch {
            guard error.code == .corrupt else { throw error }
            damage = error.message
        }
        try Trash(paths: paths).restore(item)
        if var record {
            // Its ids may have been given to another one meanwhile; its files do not tell them.
            let taken = try Set(records.names().compactMap { try records.read(ContainerRecord.self, $0)?.idBase })
            if taken.contains(record.idBase), let free = IDRange.allocate(taken: taken) { record.idBase = free }
            record.retired = true
            record.accepted.lifecycle.deletion = .retain
            try records.write(record, name)
        }
        try HostStore(directory: "\(paths.containers)/\(name)").remove("record")
        return damage
    }

    /// Destroys what has been in the trash for its time. - Returns: what was.
    func emptyTrash(at now: Int64 = Timestamp.now) throws -> [Trash.Item] {
        let trash = Trash(paths: paths)
        let over = try trash.items().filter { $0.time + Trash.retention <= now }
        for item in over { try trash.destroy(item) }
        return over
    }

    // MARK: The daemon

    public var isDaemonRunning: Bool { FileLock.isHeld(paths.run + "/vzd.lock") }

    /// Asks the daemon to look at once. - Returns: whether there is one.
    @discardableResult
    public func pokeDaemon() -> Bool { Self.pokeDaemon(of: paths) }

    @discardableResult
    public static func pokeDaemon(of paths: NodePaths) -> Bool {
        let lock = paths.run + "/vzd.lock"
        guard FileLock.isHeld(lock), let pid = FileLock.holder(of: lock) else { return false }
        return kill(pid, SIGHUP) == 0
    }
}
