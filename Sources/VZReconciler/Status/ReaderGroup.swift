internal import Glibc
internal import VZKernel

/// Who may look without being root: the members of one group of the host.
///
/// The group is `vz`, or what `VZ_GROUP` says. Without such a group only root may look.
struct ReaderGroup: Sendable {
    /// `nil`: there is none.
    let id: UInt32?

    init(id: UInt32?) { self.id = id }

    init(environment: [String: String] = Node.environment) {
        let name = environment["VZ_GROUP"].flatMap { $0.isEmpty ? nil : $0 } ?? "vz"
        // By the file, not by getgrnam(3): that would load the host's name services into the daemon.
        let text = (try? KernelFile.read("/etc/group")) ?? ""
        let line = text.split(separator: "\n").first { $0.hasPrefix(name + ":") }
        let fields = line?.split(separator: ":", omittingEmptySubsequences: false) ?? []
        id = fields.count > 2 ? UInt32(fields[2]) : nil
    }

    /// Gives an open file or directory to the group, with exactly that mode.
    func share(_ file: Descriptor, mode: UInt32) {
        // Without the right to give it away it stays its owner's, whose look it is anyhow.
        if let id { _ = fchown(file.raw, uid_t.max, id) }
        _ = fchmod(file.raw, mode)
    }

    /// Opens a directory for the group to look into, making it and its missing parents.
    /// - Throws: `KernelError`; `ELOOP` or `ENOTDIR` for what is no directory, `EPERM` for another user's.
    func open(_ path: String) throws(KernelError) -> Descriptor {
        try Descriptor.makeDirectories(path)
        let directory = try Descriptor.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
        var status = stat()
        guard fstat(directory.raw, &status) == 0 else { throw KernelError("look at \"\(path)\"", errno: errno) }
        guard status.st_uid == geteuid() else {
            throw KernelError("open \"\(path)\"", errno: EPERM, detail: "expected a directory of owner \(geteuid())")
        }
        share(directory, mode: 0o750)
        return directory
    }

    /// Lets the group pass through a directory of ours on its way to what is shared below, without listing it.
    ///
    /// Only when everything else in it is closed: whoever passes could otherwise reach the files of containers, which on the disk
    /// belong to root and may be set-user-ID programs.
    /// - Returns: why it was left closed; `nil` when the group can pass, or there is none.
    func openWay(through path: String) -> String? {
        guard let id else { return nil }
        let action = "let group \(id) pass through \"\(path)\""
        var status = stat()
        guard let directory = try? Descriptor.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW), fstat(directory.raw, &status) == 0,
            let names = try? directory.names()
        else { return "\(action): it cannot be read" }
        if status.st_mode & 0o001 != 0 || (status.st_mode & 0o010 != 0 && status.st_gid == id) { return nil }
        guard status.st_uid == geteuid() else { return "\(action): it is user \(status.st_uid)'s" }
        for name in names {
            var inside = stat()
            guard fstatat(directory.raw, name, &inside, AT_SYMLINK_NOFOLLOW) == 0 else { continue }
            let isShared = inside.st_gid == id && inside.st_mode & 0o007 == 0
            if inside.st_mode & S_IFMT == S_IFLNK || inside.st_mode & 0o077 == 0 || isShared { continue }
            return "\(action): \"\(name)\" in it is open to others; take that away (chmod go=), or chmod the directory"
        }
        share(directory, mode: 0o710)
        return nil
    }
}
