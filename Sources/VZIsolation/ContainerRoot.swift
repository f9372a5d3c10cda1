internal import Glibc
public import VZKernel
public import VZModel

/// The directory that a container's root lives in. What lies below it is the container's, and hostile.
public struct ContainerRoot: Sendable {
    public let ctid: ContainerID
    /// Ours: root:root, 0700.
    let home: String
    public var path: String { home + "/root" }

    public init(ctid: ContainerID, paths: NodePaths) {
        self.ctid = ctid
        home = "\(paths.containers)/\(ctid)"
    }

    /// - Throws: when that cannot be told.
    public var exists: Bool { get throws(KernelError) { try Descriptor.exists(path) } }

    /// Makes the root from a template, all or nothing.
    public func make(from template: String, in store: TemplateStore) throws(KernelError) {
        try Descriptor.makeDirectories(home)
        let new = home + "/root.new"
        _ = try Command.run(["rm", "-rf", "--one-file-system", "--", new])  // of a start that was killed
        do throws(KernelError) {
            try store.unpack(template, to: new)
            if rename(new, path) != 0 { throw KernelError("rename \(new) to \(path)", errno: errno) }
        } catch {
            _ = try? Command.run(["rm", "-rf", "--one-file-system", "--", new])
            throw error
        }
    }

    /// Opens the root and makes sure that the mount points in it are true directories.
    ///
    /// - Throws: `KernelError` naming the mount point that is a symbolic link or anything else; nothing was made outside the root.
    func open() throws(KernelError) -> Descriptor {
        let directory: Descriptor
        do throws(KernelError) {
            directory = try Descriptor.open(home, Descriptor.pathOnly | O_DIRECTORY).openBeneath("root", O_RDONLY | O_DIRECTORY)
        } catch {
            throw KernelError("open the root of CT \(ctid) at \(path)", errno: error.errno)
        }
        for point in Self.mountPoints {
            try directory.ensureDirectory(point)
            do throws(KernelError) {
                _ = try directory.openBeneath(point, Descriptor.pathOnly | O_DIRECTORY | O_NOFOLLOW)
            } catch {
                throw KernelError(
                    "use /\(point) of the root of CT \(ctid) as a mount point", errno: error.errno,
                    detail: "expected a true directory, as \(path)/\(point)")
            }
        }
        return directory
    }

    static let mountPoints = ["dev", "proc", "sys"]
}
