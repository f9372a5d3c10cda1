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

    /// The container whose root this is, and the template that it was made from, as far as they are known: kept on the directory itself,
    /// so that the root is not taken for another container's when the record of its own is lost.
    public var labels: (name: String?, template: String?) {
        guard let directory = try? Descriptor.open(home, O_RDONLY | O_DIRECTORY | O_NOFOLLOW) else { return (nil, nil) }
        func text(_ key: String) -> String? {
            let bytes = (try? directory.label(key, of: home)).flatMap { $0 }
            return bytes.flatMap { Labels.unsealed(key, $0) }.map { String(decoding: $0, as: UTF8.self) }
        }
        return (text(Labels.name), text(Labels.template))
    }

    /// Best effort: a file system without extended attributes has none, and a full one may have no room.
    func note(name: String? = nil, template: String? = nil) {
        guard let directory = try? Descriptor.open(home, O_RDONLY | O_DIRECTORY | O_NOFOLLOW) else { return }
        for (key, value) in [(Labels.name, name), (Labels.template, template)] {
            guard let value = value.map({ Labels.sealed(key, Array($0.utf8)) }) else { continue }
            if (try? directory.label(key, of: home)) != value { try? directory.setLabel(key, value, of: home) }
        }
    }

    /// Makes the root from a template, all or nothing.
    public func make(from template: String, in store: TemplateStore) throws(KernelError) {
        try Descriptor.makeDirectories(home)
        let new = home + "/root.new"
        _ = try Command.run(["rm", "-rf", "--one-file-system", "--", new])  // of a start that was killed
        do throws(KernelError) {
            try store.unpack(template, to: new)
            note(template: template)
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
