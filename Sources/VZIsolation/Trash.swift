internal import Glibc
public import VZKernel
public import VZModel

/// Where the roots go that no manifest wants any more, until their time is over: nothing that input says destroys data at once.
public struct Trash: Sendable {
    /// How long a root is kept, in seconds: 7 days.
    public static let retention: Int64 = 7 * 24 * 3600

    let directory: String
    private let paths: NodePaths

    public init(paths: NodePaths) {
        self.paths = paths
        directory = paths.trash
    }

    /// One root in the trash: the directory that was `ct/CTID`.
    public struct Item: Equatable, Sendable {
        public var ctid: ContainerID
        public var name: String
        /// When it was put there, in seconds since the epoch.
        public var time: Int64
        /// The directory's name: `101-web-20260203T040506Z`.
        public var file: String

        init?(file: String) {
            guard let first = file.firstIndex(of: "-"), let last = file.lastIndex(of: "-"), first < last,
                let ctid = ContainerID(text: file[..<first]),
                let time = Timestamp.seconds(compact: file[file.index(after: last)...])
            else { return nil }
            self.ctid = ctid
            name = String(file[file.index(after: first)..<last])
            self.time = time
            self.file = file
        }
    }

    /// What is there, oldest first; nothing when there is no trash yet.
    public func items() throws(KernelError) -> [Item] {
        do throws(KernelError) {
            let names = try Descriptor.open(directory, O_RDONLY | O_DIRECTORY).names()
            return names.compactMap { Item(file: $0) }.sorted { ($0.time, $0.file) < ($1.time, $1.file) }
        } catch {
            if error.errno == ENOENT { return [] }
            throw error
        }
    }

    public func path(of item: Item) -> String { "\(directory)/\(item.file)" }

    /// Moves everything that a container has on the disk here. A container that has nothing: nothing is done.
    /// - Returns: where it is now.
    @discardableResult
    public func take(_ ctid: ContainerID, named name: String) throws(KernelError) -> String? {
        try Descriptor.makeDirectories(directory)
        let home = ContainerRoot(ctid: ctid, paths: paths).home
        guard try Descriptor.exists(home) else { return nil }
        // Two within one second: the later one waits for the next.
        var time = Timestamp.now
        while try Descriptor.exists("\(directory)/\(ctid)-\(name)-\(Timestamp.compact(time))") { time += 1 }
        let target = "\(directory)/\(ctid)-\(name)-\(Timestamp.compact(time))"
        guard rename(home, target) == 0 else { throw KernelError("move \(home) to \(target)", errno: errno) }
        return target
    }

    /// Puts a root back where it was.
    /// - Throws: `KernelError`; `EEXIST` when the container has another root by now.
    public func restore(_ item: Item) throws(KernelError) {
        let home = ContainerRoot(ctid: item.ctid, paths: paths).home
        // Renaming onto an empty directory would replace it.
        let error = try Descriptor.exists(home) ? EEXIST : rename(path(of: item), home) == 0 ? 0 : errno
        guard error == 0 else { throw KernelError("move \(path(of: item)) back to \(home)", errno: error) }
    }

    /// Destroys one.
    public func destroy(_ item: Item) throws(KernelError) {
        try Command.run(["rm", "-rf", "--one-file-system", "--", path(of: item)])
    }
}
