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

    var acknowledged: String? { (try? host.read(Acknowledgement.self, "acknowledgement"))?.generation }

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
                said[ctid] = unreadable(ctid, error)
            }
        }
        return (said, nextEnd, warnings)
    }

    /// What is said of one container.
    public func overrides(of ctid: ContainerID) -> Overrides {
        do {
            return try overrides.read(Overrides.self, String(ctid.number))?.current(at: Timestamp.now) ?? Overrides()
        } catch {
            return unreadable(ctid, error)
        }
    }

    /// A hold may have been among what is lost: the container is left alone until somebody says otherwise.
    private func unreadable(_ ctid: ContainerID, _ error: StoreError) -> Overrides {
        var lost = Overrides()
        lost.hold = .init(true, owner: "vz", reason: "its overrides cannot be read (\(error.message))", since: Timestamp.now)
        // Bytes that are none of a record's were moved aside: what is held because of them stays so after this look.
        if error.code == .corrupt { try? overrides.write(lost, String(ctid.number)) }
        return lost
    }

    /// Changes what is said of a container, under its lock.
    /// - Returns: what is said of it now.
    @discardableResult
    public func setOverrides(of ctid: ContainerID, _ change: (inout Overrides) throws -> Void) throws -> Overrides {
        let lock = try lock(ctid)
        defer { withExtendedLifetime(lock) {} }
        let before = overrides(of: ctid)
        var all = before
        try change(&all)
        if all.isEmpty {
            try overrides.remove(String(ctid.number))
        } else if all != before {
            try overrides.write(all, String(ctid.number))
        }
        return all
    }

    // MARK: Boot and shutdown

    /// Notes the host's boot. - Returns: whether it is another one than at the last call.
    func noteBoot() throws -> Bool {
        let id = try Self.bootID()
        if let last = try? host.read(Boot.self, "boot"), last.id == id { return false }
        try host.write(Boot(id: id), "boot")
        return true
    }

    /// After a boot: what is not `onboot` stays down, until somebody starts it.
    func keepDown() throws {
        for target in try look(remembering: true).targets
        where target.spec.onboot == false && target.overrides.state == nil && !target.record.retired
            && target.spec.state == .running
        {
            guard try !core.observe(target.record.ctid).container.isRunning else { continue }
            try setOverrides(of: target.record.ctid) {
                $0.state = .init(.stopped, owner: "vzd", reason: "onboot is false", since: Timestamp.now)
            }
        }
    }

    /// Whether the node is being shut down: then nothing is started, whatever the manifests say.
    public var isShuttingDown: Bool {
        // What was meant for another boot is over.
        guard let said = try? host.read(Boot.self, "shutdown"), let id = try? Self.bootID() else { return false }
        return said.id == id
    }

    /// Begins, or with `false` calls off, a shutdown.
    public func setShuttingDown(_ shuttingDown: Bool) throws {
        if shuttingDown { try host.write(Boot(id: try Self.bootID()), "shutdown") } else { try host.remove("shutdown") }
    }

    private static func bootID() throws(KernelError) -> String { try KernelFile.read("/proc/sys/kernel/random/boot_id") }

    // MARK: Trash

    /// Puts a root from the trash back, with what was remembered of its container: whatever declares it again goes on with it.
    public func restore(_ item: Trash.Item) throws {
        let lock = try lock(item.ctid)
        defer { withExtendedLifetime(lock) {} }
        let name = String(item.ctid.number)
        guard try records.read(ContainerRecord.self, name) == nil else {
            throw KernelError(
                "restore \(item.file)", detail: "there is a container \(item.ctid) by now: remove its manifest, or its root")
        }
        let kept = try HostStore(directory: Trash(paths: paths).path(of: item))
        let record = try kept.read(ContainerRecord.self, "record")
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
