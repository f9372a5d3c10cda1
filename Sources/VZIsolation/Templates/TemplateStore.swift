internal import Glibc
public import VZKernel

/// OS templates: a directory, or an archive of tar's, below one directory of the node. A container's root is made from one, once.
public struct TemplateStore: Sendable {
    public let directory: String
    /// What an archive's name may end in; tar tells the compression by itself.
    public static let archiveSuffixes = [".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.zst"]

    public init(directory: String) { self.directory = directory }

    public struct Template: Equatable, Sendable {
        public var name: String
        public var path: String
        public var isArchive: Bool
    }

    /// All templates, by name.
    public func list() throws(KernelError) -> [Template] {
        guard let stream = opendir(directory) else {
            if errno == ENOENT { return [] }
            throw KernelError("list templates in \(directory)", errno: errno)
        }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                })
        }
        var found: [Template] = []
        for name in Set(names.filter({ !$0.hasPrefix(".") }).map(Self.name(ofFile:))).sorted() {
            if let template = try find(name) { found.append(template) }
        }
        return found
    }

    /// The template of that name; `nil` when there is none.
    /// - Throws: when that cannot be told.
    public func find(_ name: String) throws(KernelError) -> Template? {
        guard Self.isName(name) else { return nil }
        var info = stat()
        for suffix in [""] + Self.archiveSuffixes {
            let path = "\(directory)/\(name)\(suffix)"
            guard lstat(path, &info) == 0 else {
                if errno == ENOENT || errno == ENOTDIR { continue }
                throw KernelError("look for template \"\(path)\"", errno: errno)
            }
            let type = info.st_mode & S_IFMT
            if suffix.isEmpty ? type == S_IFDIR : type == S_IFREG {
                return Template(name: name, path: path, isArchive: !suffix.isEmpty)
            }
        }
        return nil
    }

    /// Whether a template can have this name: it has letters, digits, dots, dashes and underscores, begins with one of the first two,
    /// and leads nowhere else.
    public static func isName(_ name: String) -> Bool {
        func isAlphanumeric(_ byte: UInt8) -> Bool {
            (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
        }
        guard let first = name.utf8.first, isAlphanumeric(first), name.utf8.count <= 128 else { return false }
        return name.utf8.allSatisfy { isAlphanumeric($0) || ".-_".utf8.contains($0) }
    }

    /// The name of a template made from `file`: its last part without an archive's ending.
    static func name(ofFile file: String) -> String {
        let suffix = archiveSuffixes.filter { file.hasSuffix($0) }.max { $0.count < $1.count } ?? ""
        return String(file.dropLast(suffix.count))
    }

    /// Fills `target`, a directory that does not exist yet, from a template. Ownership and ids stay as they are in the template.
    public func unpack(_ name: String, to target: String) throws(KernelError) {
        guard let template = try find(name) else {
            throw KernelError(
                "find template \"\(name)\"", errno: ENOENT,
                detail:
                    "looked for \(directory)/\(name) and \(name).tar[.gz|.xz|.zst]; make one with: vzctl template create \(name) --from PATH"
            ).waitingForInput
        }
        guard template.isArchive else {
            try Command.run(["cp", "-aT", "--reflink=auto", "--", template.path, target])
            return
        }
        try Descriptor.makeDirectories(target)
        if chmod(target, 0o755) != 0 { throw KernelError("set mode of \(target)", errno: errno) }
        try Command.run([
            "tar", "--extract", "--file", template.path, "--directory", target, "--numeric-owner", "--same-owner",
            "--preserve-permissions", "--xattrs", "--xattrs-include=user.*", "--xattrs-include=security.capability",
        ])
    }

    /// Makes a template from a directory or an archive, which is checked to be readable; nothing is left when that fails.
    public func create(_ name: String, from path: String) throws(KernelError) {
        try refuseExisting(name)
        var info = stat()
        guard stat(path, &info) == 0 else { throw KernelError("read \"\(path)\"", errno: errno) }
        if info.st_mode & S_IFMT == S_IFDIR {
            try install(name, suffix: "") { target throws(KernelError) in
                try Command.run(["cp", "-aT", "--reflink=auto", "--", path, target])
            }
            return
        }
        guard let suffix = Self.archiveSuffixes.filter({ path.hasSuffix($0) }).max(by: { $0.count < $1.count }) else {
            throw KernelError(
                "make template \"\(name)\" from \"\(path)\"",
                detail: "expected a directory or a file ending in \(Self.archiveSuffixes.joined(separator: ", "))")
        }
        try Command.run(["tar", "--list", "--file", path])
        try install(name, suffix: suffix) { target throws(KernelError) in
            try Command.run(["cp", "--reflink=auto", "--", path, target])
        }
    }

    public func remove(_ name: String) throws(KernelError) {
        guard let template = try find(name) else { throw KernelError("remove template \"\(name)\"", errno: ENOENT) }
        try Command.run(["rm", "-rf", "--one-file-system", "--", template.path])
    }

    func refuseExisting(_ name: String) throws(KernelError) {
        if let there = try find(name) {
            throw KernelError("make template \"\(name)\"", errno: EEXIST, detail: "\(there.path); vzctl template remove \(name)")
        }
    }

    /// What killed ones were making, as the process id in its name tells.
    private func removeLeftovers() throws(KernelError) {
        for file in try Descriptor.open(directory, O_RDONLY | O_DIRECTORY).names() where file.hasPrefix(".new-") {
            guard let maker = file.dropFirst(5).split(separator: "-").first.flatMap({ pid_t($0) }), maker > 0 else { continue }
            if maker == getpid() || (kill(maker, 0) != 0 && errno == ESRCH) {
                try Command.run(["rm", "-rf", "--one-file-system", "--", "\(directory)/\(file)"])
            }
        }
    }

    /// Lets `fill` make the template under a temporary name, which becomes the name when all of it is there.
    func install(_ name: String, suffix: String, fill: (String) throws(KernelError) -> Void) throws(KernelError) {
        try Descriptor.makeDirectories(directory)
        try removeLeftovers()
        let temporary = "\(directory)/.new-\(getpid())-\(name)\(suffix)"
        do throws(KernelError) {
            try fill(temporary)
            if rename(temporary, "\(directory)/\(name)\(suffix)") != 0 {
                throw KernelError("rename \(temporary) to \(name)\(suffix)", errno: errno)
            }
        } catch {
            _ = try? Command.run(["rm", "-rf", "--one-file-system", "--", temporary])
            throw error
        }
    }
}
