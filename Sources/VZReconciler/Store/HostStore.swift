internal import FoundationEssentials
internal import Glibc
internal import Synchronization
internal import VZKernel

/// A directory of small records with facts that cannot be observed: each a file, replaced whole, checksummed, private to its owner.
///
/// A record that was written is there after a crash, and a write that did not finish left the former one (temporary file, fsync,
/// rename, fsync of the directory). A record whose bytes are not what was written is never trusted: reading it moves it aside to
/// NAME.corrupt and is an error once; then there is no such record. In a store that keeps damage it stays where it is and is the same
/// error each time, until it is written or removed. Writers of one record at the same time are safe: one of them is the last. A store for
/// reading changes nothing at all: a corrupt record is the same error, and stays. Names match `[a-z0-9.-]+`, start with a letter or digit,
/// have at most 200 characters and do not end in `.corrupt`.
///
/// The directory is opened anew for each call, so that one that was removed, replaced or mended meanwhile is taken as it is by then.
public struct HostStore: Sendable {
    /// The largest record, in bytes.
    public static let sizeLimit = 16 << 20

    private let path: String
    private let isReadOnly: Bool
    private let keepsDamage: Bool

    /// Names the directory, and touches nothing: each call that follows tells what is wrong with it.
    init(of directory: String, isReadOnly: Bool, keepsDamage: Bool = false) {
        // With a slash at the end, O_NOFOLLOW would follow.
        var path = directory[...]
        while path.hasSuffix("/"), path.count > 1 { path.removeLast() }
        (self.path, self.isReadOnly, self.keepsDamage) = (String(path), isReadOnly, keepsDamage)
    }

    /// Opens the directory, making it and its missing parents with mode 0700, and removes what killed writers left.
    /// - Throws: `StoreError`; `.unsafe` when it is a symbolic link, another user's, or open to others.
    public init(directory: String) throws(StoreError) {
        self.init(of: directory, isReadOnly: false)
        try prepare()
    }

    /// Opens the directory for reading only: nothing is made, removed or renamed. One that is not there holds no records.
    /// - Throws: `StoreError` as the other one.
    public init(reading directory: String) throws(StoreError) {
        self.init(of: directory, isReadOnly: true)
        _ = try open()
    }

    /// Makes the directory unless it is there, and removes what killed writers left.
    func prepare() throws(StoreError) { try removeLeftovers(in: writable("open the store")) }

    /// The directory, `nil` when it is not there.
    private func open() throws(StoreError) -> Descriptor? {
        let directory: Descriptor
        do throws(KernelError) {
            directory = try Descriptor.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
        } catch {
            if error.errno == ENOENT { return nil }
            let link = error.errno == ELOOP || error.errno == ENOTDIR
            throw StoreError(link ? .unsafe : .system, "open the store \"\(path)\": \(error) (expected a directory, no link)")
        }
        var status = stat()
        guard fstat(directory.raw, &status) == 0 else { throw Self.refused("look at the store \"\(path)\"", errno) }
        guard status.st_uid == geteuid(), status.st_mode & 0o077 == 0 else {
            throw StoreError(
                .unsafe,
                "open the store \"\(path)\": expected owner \(geteuid()) and mode 0700, got owner \(status.st_uid) and mode "
                    + "\(String(status.st_mode & 0o7777, radix: 8)): chown and chmod it, once its content is known to be sound")
        }
        return directory
    }

    /// The record's value, nil when there is none.
    /// - Throws: `StoreError`; `.corrupt` after the file was moved aside or left; `.unsupported` when it is sound but of another form.
    ///   Any other says that it is not known whether there is such a record and what it says.
    public func read<T: Decodable>(_ type: T.Type, _ name: String) throws(StoreError) -> T? {
        try check(name)
        guard let directory = try open(), let (file, bytes) = try load(name, in: directory) else { return nil }
        let content: [UInt8]
        do throws(Record.Fault) {
            content = try Record.decode(bytes, name: name)
        } catch {
            switch error {
            case .corrupt(let reason):
                let kept =
                    isReadOnly
                    ? "it is not used; left as it is, since this only looks"
                    : keepsDamage ? "it is not used, and left as it is" : moveAside(name, file, in: directory)
                throw StoreError(.corrupt, "read record \"\(path)/\(name)\": \(reason); \(kept)")
            case .version(let version):
                throw StoreError(
                    .unsupported,
                    "read record \"\(path)/\(name)\": expected version \(Record.version), got \(version): use the version of vz that wrote it"
                )
            }
        }
        do {
            return try JSONDecoder().decode(type, from: Data(content))
        } catch {
            throw StoreError(
                .unsupported,
                "read record \"\(path)/\(name)\": sound, but no \(type): \(error): use the version of vz that wrote it")
        }
    }

    /// Writes the record, replacing the one that is there; on return it is on the disk.
    /// - Throws: `StoreError`; the former record is then still there.
    public func write<T: Encodable>(_ value: T, _ name: String) throws(StoreError) {
        try check(name)
        let directory = try writable("write to the store")
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        var content: [UInt8]
        do {
            content = Array(try encoder.encode(value))
        } catch {
            throw StoreError(.unsupported, "write record \"\(path)/\(name)\": \(error)")
        }
        content.append(UInt8(ascii: "\n"))
        let bytes = Record.encode(content, name: name)
        guard bytes.count <= Self.sizeLimit else { throw Self.refused("write record \"\(path)/\(name)\"", EFBIG) }
        try replace(name, with: bytes, in: directory)
    }

    /// Removes the record; without one it does nothing.
    public func remove(_ name: String) throws(StoreError) {
        try check(name)
        let directory = try writable("write to the store")
        guard unlinkat(directory.raw, name, 0) == 0 else {
            if errno == ENOENT { return }
            throw Self.refused("remove record \"\(path)/\(name)\"", errno)
        }
        try Self.sync(directory, "remove record \"\(path)/\(name)\"")
    }

    /// The names of all records, sorted; none of those moved aside.
    public func names() throws(StoreError) -> [String] {
        guard let directory = try open() else { return [] }
        return try files(in: directory).filter(Self.isName).sorted()
    }

    // MARK: reading

    private func load(_ name: String, in directory: Descriptor) throws(StoreError) -> (Descriptor, [UInt8])? {
        let action = "read record \"\(path)/\(name)\""
        do throws(KernelError) {
            let file = try Descriptor.open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, at: directory)
            var status = stat()
            guard fstat(file.raw, &status) == 0 else { throw KernelError(action, errno: errno) }
            guard status.st_mode & S_IFMT == S_IFREG, status.st_uid == geteuid(), status.st_mode & 0o022 == 0 else {
                throw KernelError(action, errno: EPERM)
            }
            return (file, try file.readAll(limit: Self.sizeLimit, named: name))
        } catch {
            switch error.errno {
            case ENOENT: return nil
            case ELOOP, EPERM, ENXIO:
                throw StoreError(
                    .unsafe,
                    "\(action): expected a regular file of owner \(geteuid()), writable by nobody else, and no link: remove it, or put "
                        + "back what it replaced")
            default: throw Self.refused(action, error.errno)
            }
        }
    }

    /// Puts a corrupt record out of the way, unless a good one has taken its place meanwhile. Says what became of it.
    private func moveAside(_ name: String, _ file: Descriptor, in directory: Descriptor) -> String {
        var read = stat()
        var there = stat()
        guard fstat(file.raw, &read) == 0, fstatat(directory.raw, name, &there, AT_SYMLINK_NOFOLLOW) == 0,
            read.st_ino == there.st_ino, read.st_dev == there.st_dev
        else { return "it was replaced meanwhile" }
        guard renameat(directory.raw, name, directory.raw, name + Self.corrupt) == 0 else {
            return "it could not be moved aside: \(KernelError.text(of: errno))"
        }
        _ = fsync(directory.raw)
        return "it was kept as \"\(name)\(Self.corrupt)\" and is not used"
    }

    // MARK: writing

    private static let corrupt = ".corrupt"
    private static let counter = Atomic<UInt64>(0)

    /// The directory, made unless it is there.
    private func writable(_ action: String) throws(StoreError) -> Descriptor {
        guard !isReadOnly else { throw StoreError(.readOnly, "\(action) \"\(path)\": it was opened for reading") }
        if let directory = try open() { return directory }
        do throws(KernelError) {
            try Self.makeDirectory(path)
        } catch {
            let link = error.errno == ELOOP || error.errno == ENOTDIR
            throw StoreError(link ? .unsafe : .system, "open the store \"\(path)\": \(error)")
        }
        guard let directory = try open() else { throw Self.refused("open the store \"\(path)\"", ENOENT) }
        return directory
    }

    private func replace(_ name: String, with bytes: [UInt8], in directory: Descriptor) throws(StoreError) {
        let action = "write record \"\(path)/\(name)\""
        do throws(KernelError) {
            let (file, temporary) = try Self.makeTemporary(in: directory)
            do throws(KernelError) {
                try file.writeAll(bytes, named: temporary)
                guard fsync(file.raw) == 0 else { throw KernelError("sync", errno: errno) }
                guard renameat(directory.raw, temporary, directory.raw, name) == 0 else {
                    throw KernelError("rename", errno: errno)
                }
            } catch {
                unlinkat(directory.raw, temporary, 0)
                throw error
            }
        } catch {
            throw StoreError(.system, "\(action): \(error)")
        }
        try Self.sync(directory, action)
    }

    /// A new file whose name tells its writer's process id, by which a left-over is known, and a number, by which the writers of one
    /// process are kept apart.
    private static func makeTemporary(in directory: Descriptor) throws(KernelError) -> (Descriptor, String) {
        while true {
            let name = ".\(getpid()).\(counter.add(1, ordering: .relaxed).newValue).tmp"
            do throws(KernelError) {
                return (try Descriptor.open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600, at: directory), name)
            } catch {
                // Left behind by a killed writer that had our process id.
                if error.errno != EEXIST { throw error }
            }
        }
    }

    private static func sync(_ directory: Descriptor, _ action: String) throws(StoreError) {
        guard fsync(directory.raw) == 0 else { throw refused(action, errno) }
    }

    private func removeLeftovers(in directory: Descriptor) throws(StoreError) {
        for file in try files(in: directory) where file.hasPrefix(".") && file.hasSuffix(".tmp") {
            guard let writer = file.split(separator: ".").first.flatMap({ pid_t($0) }), writer > 0, writer != getpid() else {
                continue
            }
            if kill(writer, 0) != 0, errno == ESRCH { unlinkat(directory.raw, file, 0) }
        }
    }

    // MARK: names and directories

    private func check(_ name: String) throws(StoreError) {
        guard Self.isName(name) else {
            throw StoreError(
                .name,
                "use record \"\(name)\": expected 1 to 200 of a-z 0-9 . - with a letter or digit first and no \".corrupt\" last")
        }
    }

    private static func isName(_ name: String) -> Bool {
        func isAlphanumeric(_ byte: UInt8) -> Bool {
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
        }
        guard let first = name.utf8.first, isAlphanumeric(first), name.utf8.count <= 200, !name.hasSuffix(corrupt) else {
            return false
        }
        return name.utf8.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "-") }
    }

    private func files(in directory: Descriptor) throws(StoreError) -> [String] {
        do throws(KernelError) {
            return try directory.names()
        } catch {
            throw Self.refused("list the store \"\(path)\"", error.errno)
        }
    }

    /// mkdir -p with mode 0700, each new directory on the disk before the next.
    private static func makeDirectory(_ path: String) throws(KernelError) {
        guard mkdir(path, 0o700) != 0 else { return syncParent(of: path) }
        switch errno {
        case EEXIST: return
        case ENOENT:
            guard let slash = path.lastIndex(of: "/"), slash > path.startIndex else { throw KernelError("make it", errno: ENOENT) }
            try makeDirectory(String(path[..<slash]))
            guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw KernelError("make it", errno: errno) }
            syncParent(of: path)
        case let error: throw KernelError("make it", errno: error)
        }
    }

    private static func syncParent(of path: String) {
        // Best effort: what matters is synced with every record.
        let parent = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        if let directory = try? Descriptor.open(parent, O_RDONLY | O_DIRECTORY) { _ = fsync(directory.raw) }
    }

    private static func refused(_ action: String, _ error: Int32) -> StoreError {
        StoreError(.system, "\(action): \(KernelError.text(of: error))")
    }
}
