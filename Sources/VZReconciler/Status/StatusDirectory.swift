internal import FoundationEssentials
internal import Glibc
public import Logging
internal import Synchronization
public import VZKernel
public import VZModel

/// The status files of a node, `RUN/status/CTID.json`, as their one writer sees them.
///
/// A file is replaced whole, and only when its content changes or it is not the one that was written: a look that finds nothing new
/// writes nothing. Files and directory belong to root and to the group of those who may look (modes 0640 and 0750). What cannot be
/// read, or was written by a later version, is taken for missing and replaced. A failed write is told once and tried again at the
/// next update; it never stops anything else.
public final class StatusDirectory: Sendable {
    private struct Known {
        var status: ContainerStatus
        /// The file that holds it.
        var file: Fingerprint?
    }

    private struct Fingerprint: Equatable {
        var device: dev_t
        var inode: ino_t
        var seconds: Int
        var nanoseconds: Int

        init(_ info: stat) {
            (device, inode, seconds, nanoseconds) = (info.st_dev, info.st_ino, info.st_mtim.tv_sec, info.st_mtim.tv_nsec)
        }
    }

    private struct State {
        var directory: Descriptor?
        var known: [ContainerID: Known] = [:]
        /// What failed and was told, until it succeeds.
        var told: Set<String> = []
        var serial = 0
        var writes = 0
    }

    private let path: String
    private let group: ReaderGroup
    private let log: Logger
    private let state = Mutex(State())

    /// - Parameter path: `NodePaths.status`. Nothing is touched before the first update.
    public convenience init(_ path: String, log: Logger) { self.init(path, log: log, group: ReaderGroup()) }

    init(_ path: String, log: Logger, group: ReaderGroup) {
        self.path = path
        self.log = log
        self.group = group
    }

    /// How many files were written.
    var writes: Int { state.withLock { $0.writes } }

    /// Takes in what was found, and writes the container's next status if it differs from the one that is there.
    @discardableResult
    public func update(_ facts: StatusFacts, at now: WallTime = .now) -> ContainerStatus {
        state.withLock { state in
            let ctid = facts.ctid
            let old = state.known[ctid] ?? StatusReader(path).status(of: ctid).map { Known(status: $0) }
            let next = ContainerStatus(after: old?.status, facts, at: now)
            if let old, old.status == next, let file = old.file, file == fingerprint(of: ctid, state) { return next }
            state.known[ctid] = Known(status: next)
            told("write the status of CT \(ctid)", &state) { state throws(KernelError) in
                let file = try write(next, &state)
                state.known[ctid]?.file = file
            }
            return next
        }
    }

    /// The failure counters that the container's status has, perhaps of an earlier vzd.
    func failures(of ctid: ContainerID) -> [String: Int64] {
        let known = state.withLock { $0.known[ctid]?.status } ?? StatusReader(path).status(of: ctid)
        return known?.limits.mapValues(\.failures) ?? [:]
    }

    /// Whether the file of a container is there as it was written.
    public func isWritten(_ ctid: ContainerID) -> Bool {
        state.withLock { state in
            guard let file = state.known[ctid]?.file else { return false }
            return file == fingerprint(of: ctid, state)
        }
    }

    /// Forgets all containers but these, and removes their files: of a container that is gone nothing is told.
    public func keep(only ctids: Set<ContainerID>) {
        state.withLock { state in
            state.known = state.known.filter { ctids.contains($0.key) }
            told("clear \"\(path)\"", &state) { state throws(KernelError) in
                let directory = try open(&state)
                for name in try directory.names() {
                    // Left by a writer that was killed; there is one writer.
                    let isLeftOver = name.hasPrefix(".") && name.hasSuffix(".tmp")
                    let isGone = StatusReader.ctid(of: name).map { !ctids.contains($0) } ?? false
                    if (isLeftOver || isGone) && unlinkat(directory.raw, name, 0) != 0 && errno != ENOENT {
                        throw KernelError("remove \"\(path)/\(name)\"", errno: errno)
                    }
                }
            }
        }
    }

    private func told(_ action: String, _ state: inout State, _ work: (inout State) throws(KernelError) -> Void) {
        do throws(KernelError) {
            try work(&state)
            state.told.remove(action)
        } catch {
            // Perhaps another directory is there by now.
            state.directory = nil
            if state.told.insert(action).inserted { log.error("\(action): \(error); told once, tried again with each look") }
        }
    }

    private func open(_ state: inout State) throws(KernelError) -> Descriptor {
        if let directory = state.directory { return directory }
        let directory = try group.open(path)
        directory.removeLeftovers { name in
            let parts = name.split(separator: ".")
            return name.hasPrefix(".") && parts.count == 4 && parts[3] == "tmp" ? Int32(parts[1]) : nil
        }
        if let slash = path.lastIndex(of: "/"), slash != path.startIndex {
            if let reason = group.openWay(through: String(path[..<slash])) { log.warning("\(reason)") }
        }
        state.directory = directory
        return directory
    }

    private func fingerprint(of ctid: ContainerID, _ state: State) -> Fingerprint? {
        var info = stat()
        // By its path: the directory that is open may have been replaced.
        guard state.directory != nil, lstat("\(path)/\(ctid).json", &info) == 0 else { return nil }
        return Fingerprint(info)
    }

    private func write(_ status: ContainerStatus, _ state: inout State) throws(KernelError) -> Fingerprint {
        let bytes = try StatusReader.encode(status)
        var info = stat()
        if state.directory != nil, lstat(path, &info) != 0 { state.directory = nil }
        let directory = try open(&state)
        state.serial += 1
        let temporary = ".\(status.ctid).\(getpid()).\(state.serial).tmp"
        let file = try Descriptor.open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600, at: directory)
        do throws(KernelError) {
            try file.writeAll(bytes, named: temporary)
            group.share(file, mode: 0o640)
            guard renameat(directory.raw, temporary, directory.raw, "\(status.ctid).json") == 0, fstat(file.raw, &info) == 0 else {
                throw KernelError("rename to \(status.ctid).json", errno: errno)
            }
        } catch {
            unlinkat(directory.raw, temporary, 0)
            throw error
        }
        state.writes += 1
        return Fingerprint(info)
    }
}

/// The status files of a node as everybody sees them who may: no daemon is asked.
public struct StatusReader: Sendable {
    /// The largest status file, in bytes.
    static let sizeLimit = 1 << 20

    private let path: String

    /// - Parameter path: `NodePaths.status`.
    public init(_ path: String) { self.path = path }

    /// The container's status; `nil` when there is none that can be read and understood.
    public func status(of ctid: ContainerID) -> ContainerStatus? {
        (try? text(of: ctid)).flatMap { try? JSONDecoder().decode(ContainerStatus.self, from: Data($0.utf8)) }.flatMap {
            $0.ctid == ctid ? $0 : nil
        }
    }

    /// The file as it stands.
    /// - Throws: `KernelError`; `EACCES` when the caller may not look.
    public func text(of ctid: ContainerID) throws(KernelError) -> String {
        let name = "\(path)/\(ctid).json"
        let file = try Descriptor.open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
        return String(decoding: try file.readAll(limit: Self.sizeLimit, named: name), as: UTF8.self)
    }

    /// All containers that have a status file, in order.
    /// - Throws: `KernelError`; `EACCES` when the caller may not look. A directory that does not exist has none.
    public func ctids() throws(KernelError) -> [ContainerID] {
        do throws(KernelError) {
            return try Descriptor.open(path, O_RDONLY | O_DIRECTORY).names().compactMap(Self.ctid).sorted()
        } catch {
            if error.errno == ENOENT { return [] }
            throw error
        }
    }

    /// All statuses that can be read and understood, in the order of their CTIDs.
    /// - Throws: as `ctids`.
    public func all() throws(KernelError) -> [ContainerStatus] { try ctids().compactMap(status) }

    /// The container of that name or CTID; `nil` when no status tells of it.
    /// - Throws: as `ctids`.
    public func find(_ name: String) throws(KernelError) -> ContainerStatus? {
        let ctids = try ctids()
        if let ctid = ContainerID(text: name), ctids.contains(ctid) { return status(of: ctid) }
        for ctid in ctids {
            if let status = status(of: ctid), status.name == name { return status }
        }
        return nil
    }

    static func ctid(of file: String) -> ContainerID? {
        file.hasSuffix(".json") ? ContainerID(text: file.dropLast(5)) : nil
    }

    /// Members in the order of their names, one on a line, so that two statuses can be compared by people.
    static func encode(_ status: ContainerStatus) throws(KernelError) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        do {
            return Array(try encoder.encode(status)) + [UInt8(ascii: "\n")]
        } catch {
            throw KernelError("encode the status of CT \(status.ctid)", detail: "\(error)")
        }
    }
}
