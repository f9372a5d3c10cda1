internal import Glibc
internal import Synchronization
internal import VZKernel
public import VZManifest

/// A file that has a manifest's name and cannot be read as one. What runs because of it is to be left alone.
public struct ManifestProblem: Equatable, Sendable, CustomStringConvertible {
    public var path: String
    /// What was expected, what is there, and what to do.
    public var message: String

    public init(path: String, message: String) {
        self.path = path
        self.message = message
    }

    public var description: String { "\(path): \(message)" }
}

/// All that a directory list held at one time.
public struct Reading: Equatable, Sendable {
    /// What became of one directory.
    public enum Condition: Equatable, Sendable {
        /// It was read whole and holds at least one manifest's name.
        case read
        /// It was read whole and holds no manifest.
        case empty
        /// It does not exist, and did not in any reading before.
        case absent
        /// What it holds is not known: it is missing, unreadable, not trusted, or on another device than before and not complete there.
        case unavailable(String)
    }

    /// The manifests that are in force, sorted by path: the highest directory's of each file name.
    public var files: [ManifestFile] = []
    /// The files that would be in force but cannot be read, sorted by path.
    public var problems: [ManifestProblem] = []
    /// Drop-ins without a manifest to be merged into, sorted by path: they have no effect.
    public var orphans: [ManifestProblem] = []
    /// The condition of every directory, by the path it was given with.
    public var conditions: [String: Condition] = [:]

    public init() {}

    /// The directories of which it is not known what they hold, each with the reason, sorted by path.
    public var unavailable: [ManifestProblem] {
        let all = conditions.compactMap { path, condition -> ManifestProblem? in
            if case .unavailable(let reason) = condition { ManifestProblem(path: path, message: reason) } else { nil }
        }
        return all.sorted { $0.path < $1.path }
    }

    /// What it means that a manifest, which once stood at `path`, stands nowhere now.
    public func removal(of path: String) -> Acceptance.Removal {
        if let first = unavailable.first { return .unknown("\(first)") }
        guard let slash = path.lastIndex(of: "/") else { return .unknown("\(path) is in no directory of manifests") }
        // By name: a file that cannot be read masks those in lower directories too.
        if let problem = problems.first(where: { $0.path.hasSuffix(path[slash...]) }) { return .unknown("\(problem)") }
        let directory = path[..<slash]
        switch conditions[String(directory)] {
        case .read: return .certain
        case .empty: return .emptied
        case .absent: return .unknown("the directory \(directory) does not exist")
        default: return .unknown("\(directory) is none of the directories of manifests")
        }
    }
}

/// Directories of manifests, read whole each time: /usr/lib/vz.d, /etc/vz.d, /run/vz.d.
///
/// The same file name in a higher directory masks the lower one, also when the higher one cannot be read; a link to /dev/null
/// disables it. The drop-ins of `web.yaml` are the manifests in the directories `web.yaml.d` beside it and in the other directories of
/// the list, in the order of their names, with the same rules; one that cannot be read makes its manifest one that cannot.
/// Read are regular files and symbolic links to them with a manifest's name, owned by root or by the reader and writable by nobody
/// else, of 1 MiB at most, that nobody has open for writing. Between readings it remembers which directories were there,
/// which manifests each had last and on which device, and what files held that cannot have changed since, so that those are not
/// opened again (`ManifestFileReader`).
public struct ManifestDirectory: Sendable {
    /// The largest manifest, in bytes.
    public static let sizeLimit = 1 << 20

    /// From low to high priority, without a slash at the end.
    public let paths: [String]
    /// Whether a file that others than root and the reader may write is refused.
    private let asksOwner: Bool
    private let memory: ManifestFileReader.Memory

    private final class Remembered: Sendable {
        /// Those that were there at some time.
        let directories = Mutex<Set<String>>([])
        let lastContents = Mutex<[String: LastContents]>([:])
        let files = Mutex<[String: ManifestFileReader.Seen]>([:])
    }
    private let remembered = Remembered()

    /// The names of manifests that a directory had when it last had any, and where that was.
    private struct LastContents {
        var device: dev_t
        var names: [String]
    }

    /// - Parameter paths: the directories from low to high priority.
    public init(paths: [String]) { self.init(paths: paths, asksOwner: true) }

    init(paths: [String], asksOwner: Bool = true, memory: ManifestFileReader.Memory = .init()) {
        self.asksOwner = asksOwner
        self.memory = memory
        self.paths = paths.map { path in
            var path = path[...]
            while path.hasSuffix("/"), path.count > 1 { path.removeLast() }
            return String(path)
        }
    }

    /// Reads everything. Blocks for as long as the disk does, never on what kind of file lies there.
    public func read() -> Reading {
        var reading = Reading()
        var reader = ManifestFileReader(
            asksOwner: asksOwner, seen: remembered.files.withLock { $0 }, memory: memory)
        defer { remembered.files.withLock { $0 = reader.remembered } }
        var taken: [String: Entry] = [:]
        // By the manifest's name, then by their own.
        var dropIns: [String: [String: Entry]] = [:]
        for path in paths {
            do throws(Unavailable) {
                let (entries, directories) = try entries(of: path, &reader)
                reading.conditions[path] = entries.isEmpty ? .empty : .read
                for entry in entries { taken[entry.name] = entry }
                for directory in directories {
                    guard let manifest = ManifestFileName.manifest(ofDropIns: directory.name) else { continue }
                    for entry in directory.entries { dropIns[manifest, default: [:]][entry.name] = entry }
                }
            } catch {
                reading.conditions[path] = error.condition
            }
        }
        for entry in taken.values.sorted(by: { $0.path < $1.path }) {
            switch entry.content {
            case .manifest(let bytes):
                reading.add(ManifestFile(path: entry.path, bytes: bytes), with: dropIns[entry.name].map { Array($0.values) } ?? [])
            case .disabled: break
            case .problem(let message): reading.problems.append(ManifestProblem(path: entry.path, message: message))
            }
        }
        for (manifest, entries) in dropIns where taken[manifest] == nil {
            reading.orphans += entries.values.map {
                ManifestProblem(path: $0.path, message: "warning: has no effect: no directory has the manifest \(manifest)")
            }
        }
        reading.orphans.sort { $0.path < $1.path }
        return reading
    }

    /// Reads what paths on a command line stand for: files with the drop-ins beside them, and directories, none of which masks another.
    ///
    /// Each file once. Whoever it belongs to, since nothing is run because of it. What cannot be read, because it is not there either, is
    /// among the problems.
    public static func read(given paths: [String]) -> Reading {
        var reading = Reading()
        var seen: Set<String> = []
        for path in paths {
            let part = part(path)
            for file in part.files where seen.insert(place(of: file.path)).inserted { reading.files.append(file) }
            reading.problems += part.problems
            for case (let path, .unavailable(let reason)) in part.conditions {
                reading.problems.append(ManifestProblem(path: path, message: reason))
            }
        }
        return reading
    }

    private static func part(_ path: String) -> Reading {
        var status = stat()
        guard stat(path, &status) == 0 else {
            var reading = Reading()
            reading.problems.append(ManifestProblem(path: path, message: KernelError.text(of: errno)))
            return reading
        }
        if status.st_mode & S_IFMT == S_IFDIR { return ManifestDirectory(paths: [path], asksOwner: false).read() }
        var reading = Reading()
        do throws(KernelError) {
            // A pipe is as good as a file here: somebody gave it by name, and waits for the end.
            let bytes = try Descriptor.open(path, O_RDONLY | O_NOCTTY).readAll(limit: sizeLimit, named: path)
            reading.add(ManifestFile(path: path, bytes: bytes), with: dropIns(beside: path))
        } catch {
            let message = error.errno == EFBIG ? ManifestFileReader.tooLarge : KernelError.text(of: error.errno)
            reading.problems.append(ManifestProblem(path: path, message: message))
        }
        return reading
    }

    private static func dropIns(beside path: String) -> [Entry] {
        let (parent, name) = split(path)
        guard ManifestFileName.isManifest(name), let directory = try? Descriptor.open(parent, O_RDONLY | O_DIRECTORY) else {
            return []
        }
        let prefix = String(path.dropLast(name.count))
        var reader = ManifestFileReader(asksOwner: false)
        return dropInEntries(ManifestFileName.dropIns(of: name), in: directory, prefix: prefix, &reader) ?? []
    }

    private static func split(_ path: String) -> (parent: String, name: String) {
        guard let slash = path.lastIndex(of: "/") else { return (".", path) }
        return (slash == path.startIndex ? "/" : String(path[..<slash]), String(path[path.index(after: slash)...]))
    }

    /// The same for two paths of one name in one directory.
    private static func place(of path: String) -> String {
        let (parent, name) = split(path)
        guard let real = realpath(parent, nil) else { return path }
        defer { free(real) }
        return String(cString: real) + "/" + name
    }

    // MARK: one directory

    private struct Unavailable: Error {
        var condition: Reading.Condition
        init(_ reason: String) { condition = .unavailable(reason) }
        init(_ condition: Reading.Condition) { self.condition = condition }
    }

    fileprivate struct Entry {
        var name: String
        var path: String
        var content: ManifestFileReader.Content
    }

    /// A directory of drop-ins.
    private struct DropIns {
        var name: String
        var entries: [Entry]
    }

    private func entries(of path: String, _ reader: inout ManifestFileReader) throws(Unavailable) -> ([Entry], [DropIns]) {
        let directory = try open(path, reader)
        var entries: [Entry] = []
        let names: [String]
        do throws(KernelError) {
            names = try directory.names()
        } catch {
            throw Unavailable(KernelError.text(of: error.errno))
        }
        var dropIns: [DropIns] = []
        // A name that is not UTF-8 is not among them: it could be told neither in a message nor in a status.
        for name in names {
            if ManifestFileName.isManifest(name) {
                let file = path + "/" + name
                if let content = reader.content(of: name, in: directory, path: file) {
                    entries.append(Entry(name: name, path: file, content: content))
                }
            } else if ManifestFileName.manifest(ofDropIns: name) != nil,
                let inside = Self.dropInEntries(name, in: directory, prefix: path + "/", &reader)
            {
                dropIns.append(DropIns(name: name, entries: inside))
            }
        }
        // A directory that goes away under our eyes looks as if its files were being removed.
        var status = stat()
        guard fstat(directory.raw, &status) == 0 else { throw Unavailable(KernelError.text(of: errno)) }
        guard status.st_nlink > 0 else { throw Unavailable("removed while being read") }
        try compare(entries, of: path, on: status.st_dev)
        return (entries, dropIns)
    }

    /// An unmounted file system uncovers another directory, which is not to be taken for an emptied one. When it is mounted again it may
    /// have another number, but it has its files.
    private func compare(_ entries: [Entry], of path: String, on device: dev_t) throws(Unavailable) {
        let last = remembered.lastContents.withLock { $0[path] }
        if let last, last.device != device {
            let names = Set(entries.map(\.name))
            if let missing = last.names.filter({ !names.contains($0) }).min() {
                throw Unavailable(
                    "on another device than before, and without \(missing): was its file system unmounted? If it was moved for good, "
                        + "restart vzd")
            }
        }
        // An empty one may be the place where a file system is yet to be mounted.
        guard !entries.isEmpty else { return }
        remembered.lastContents.withLock { $0[path] = LastContents(device: device, names: entries.map(\.name)) }
    }

    /// The manifests in a directory of drop-ins; one entry with a problem when it cannot be read; `nil` when it is not there.
    private static func dropInEntries(
        _ name: String, in parent: Descriptor, prefix: String, _ reader: inout ManifestFileReader
    ) -> [Entry]? {
        let path = prefix + name
        do throws(KernelError) {
            let directory = try Descriptor.open(name, O_RDONLY | O_DIRECTORY, at: parent)
            var status = stat()
            guard fstat(directory.raw, &status) == 0 else { throw KernelError("read \(path)", errno: errno) }
            if let distrust = reader.distrust(status) { return [Entry(name: "", path: path, content: .problem(distrust))] }
            var entries: [Entry] = []
            for name in try directory.names() where ManifestFileName.isManifest(name) {
                let file = "\(path)/\(name)"
                guard let content = reader.content(of: name, in: directory, path: file) else { continue }
                entries.append(Entry(name: name, path: file, content: content))
            }
            return entries
        } catch {
            return error.errno == ENOENT ? nil : [Entry(name: "", path: path, content: .problem(KernelError.text(of: error.errno)))]
        }
    }

    private func open(_ path: String, _ reader: ManifestFileReader) throws(Unavailable) -> Descriptor {
        let directory: Descriptor
        do throws(KernelError) {
            directory = try Descriptor.open(path, O_RDONLY | O_DIRECTORY)
        } catch {
            let seen = remembered.directories.withLock { $0.contains(path) }
            throw error.errno == ENOENT && !seen ? Unavailable(.absent) : Unavailable(KernelError.text(of: error.errno))
        }
        var status = stat()
        guard fstat(directory.raw, &status) == 0 else { throw Unavailable(KernelError.text(of: errno)) }
        if let distrust = reader.distrust(status) { throw Unavailable(distrust) }
        remembered.directories.withLock { _ = $0.insert(path) }
        return directory
    }
}

extension Reading {
    /// Takes a manifest in with its drop-ins. What cannot be told of them cannot be told of the manifest either.
    fileprivate mutating func add(_ file: ManifestFile, with entries: [ManifestDirectory.Entry]) {
        var file = file
        for entry in entries.sorted(by: { $0.name < $1.name }) {
            switch entry.content {
            case .manifest(let bytes): file.dropIns.append(ManifestFile(path: entry.path, bytes: bytes))
            case .disabled: break
            case .problem(let message):
                problems.append(ManifestProblem(path: file.path, message: "its drop-in \(entry.path) cannot be read: \(message)"))
                return
            }
        }
        files.append(file)
    }
}
