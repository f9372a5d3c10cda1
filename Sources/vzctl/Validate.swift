internal import ArgumentParser
internal import Glibc
internal import VZKernel
internal import VZManifest

/// `vzctl validate`: the same verdict on every machine, without root, daemon or network.
struct Validate: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check manifests: form, values, and that names and CTIDs are unique.",
        discussion: "Exit status: 0 valid, 65 not valid, 66 when a path cannot be read.")

    @Argument(help: "Files and directories; - is standard input.", completion: .file())
    var paths: [String] = ["/etc/vz.d"]

    func run() throws {
        var sources = ManifestSources()
        for path in paths { sources.add(path) }
        let checked = ManifestSet.check(sources.parsed)

        let showsLines = isatty(STDERR_FILENO) == 1
        for diagnostic in checked.diagnostics {
            say(showsLines ? diagnostic.withCaret() : diagnostic.description)
        }
        for problem in sources.unreadable { say(problem) }
        print(summary(sources, mistakes: checked.diagnostics.count, valid: checked.valid.count))
        if !sources.unreadable.isEmpty { throw ExitCode(EX_NOINPUT) }
        if !checked.diagnostics.isEmpty { throw ExitCode(EX_DATAERR) }
    }

    private func summary(_ sources: ManifestSources, mistakes: Int, valid: Int) -> String {
        func counted(_ number: Int, _ word: String) -> String { "\(number) \(word)\(number == 1 ? "" : "s")" }
        var parts = [counted(valid, "valid document"), counted(mistakes, "mistake")]
        if !sources.unreadable.isEmpty { parts.append(counted(sources.unreadable.count, "path") + " not readable") }
        return counted(sources.parsed.count, "file") + ": " + parts.joined(separator: ", ")
    }
}

/// The manifests that paths on the command line stand for, each file once.
private struct ManifestSources {
    private(set) var parsed: [ParsedManifest] = []
    /// One message for each path that cannot be read.
    private(set) var unreadable: [String] = []
    private var seen: Set<FileIdentity> = []

    private struct FileIdentity: Hashable {
        var device: UInt
        var inode: UInt
    }

    mutating func add(_ path: String) {
        do {
            if path == "-" {
                parsed.append(
                    ManifestParser.parse(try Self.read(Descriptor(adopting: dup(STDIN_FILENO)), "standard input"), file: "<stdin>"))
            } else if try Self.status(path).isDirectory {
                try addDirectory(path)
            } else {
                try addFile(path)
            }
        } catch {
            unreadable.append("\(error)")
        }
    }

    /// All manifests directly in a directory, by name. What is no regular file, such as a link to /dev/null, is passed over.
    private mutating func addDirectory(_ path: String) throws {
        for name in try Self.names(in: path).sorted() where ManifestFileName.isManifest(name) {
            let file = path.hasSuffix("/") ? path + name : "\(path)/\(name)"
            do {
                if try Self.status(file).isRegular { try addFile(file) }
            } catch {
                unreadable.append("\(error)")
            }
        }
    }

    private mutating func addFile(_ path: String) throws {
        let status = try Self.status(path)
        if status.isRegular, !seen.insert(FileIdentity(device: UInt(status.st_dev), inode: UInt(status.st_ino))).inserted { return }
        parsed.append(ManifestParser.parse(try Self.read(Descriptor.open(path, O_RDONLY), path), file: path))
    }

    /// The bytes of a file, one more than a manifest may have at most: whether that is too much is the parser's to tell.
    private static func read(_ file: Descriptor, _ path: String) throws -> [UInt8] {
        let limit = (1 << 20) + 1
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while bytes.count < limit {
            let count = Glibc.read(file.raw, &chunk, min(chunk.count, limit - bytes.count))
            if count == 0 { break }
            if count < 0 {
                if errno == EINTR { continue }
                throw KernelError("read \"\(path)\"", errno: errno)
            }
            bytes += chunk[0..<count]
        }
        return bytes
    }

    private static func status(_ path: String) throws(KernelError) -> stat {
        var status = stat()
        guard stat(path, &status) == 0 else { throw KernelError("read \"\(path)\"", errno: errno) }
        return status
    }

    private static func names(in path: String) throws(KernelError) -> [String] {
        guard let directory = opendir(path) else { throw KernelError("read \"\(path)\"", errno: errno) }
        defer { closedir(directory) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(directory) else { break }
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            names.append(name)
        }
        guard errno == 0 else { throw KernelError("read \"\(path)\"", errno: errno) }
        return names
    }
}

extension stat {
    fileprivate var isDirectory: Bool { st_mode & S_IFMT == S_IFDIR }
    fileprivate var isRegular: Bool { st_mode & S_IFMT == S_IFREG }
}
