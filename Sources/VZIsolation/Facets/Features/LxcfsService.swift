internal import Glibc
internal import VZKernel

/// lxcfs of this host: a file system, served by one process, whose files look like some of /proc and tell whoever reads them the numbers of
/// the container that he is in. Plain data.
public struct LxcfsService: Equatable, Sendable, Codable {
    /// Where it is mounted.
    public var directory: String
    /// The number of its file system, which all mounts of it have, in containers too: `0:41`. Another lxcfs has another one. `nil` when
    /// it cannot be used.
    public var device: String?
    /// Why it cannot be used, and what mends it; `nil` when it can.
    public var unsupported: String?
    /// Whether it is mounted, and its process neither answers nor has ended; else `nil`.
    private var hangs: Bool?

    public init(directory: String, device: String) { (self.directory, self.device) = (directory, device) }

    public init(directory: String, hangs: Bool = false, unsupported: String) {
        (self.directory, self.unsupported) = (directory, unsupported)
        self.hangs = hangs ? true : nil
    }

    /// Looks whether it is mounted and answers.
    /// - Parameter before: what the last look said. One that has begun to hang is waited for once, and hardly again until it answers.
    public init(lookingAt directory: String, before: Self? = nil) {
        var found: String?
        do throws(KernelError) {
            found = try Self.device(of: directory)
            guard let device = found else {
                self.init(directory: directory, unsupported: Self.absence(from: directory))
                return
            }
            _ = try ServedFiles.open(
                [LxcfsFile.all[0].source], below: directory,
                milliseconds: before?.hangs == true ? Self.patience / 10 : Self.patience)
            self.init(directory: directory, device: device)
        } catch {
            // A shortage of our own, of memory or descriptors, says nothing of lxcfs, and is no reason to take it from the containers.
            if let before, let found, before.device == found, ![ENOTCONN, ECONNABORTED, ETIMEDOUT, ENOENT].contains(error.errno) {
                self = before
                return
            }
            self.init(
                directory: directory, hangs: error.errno == ETIMEDOUT,
                unsupported:
                    "lxcfs on \(directory) does not answer: \(KernelError.text(of: error.errno)); \(Self.restart(directory))")
        }
    }

    /// How long it may take to answer, in milliseconds.
    static let patience: Int32 = 5000
    static let type = "fuse.lxcfs"
    static let standardDirectory = "/var/lib/lxcfs"

    /// Its files, as mounts that are attached nowhere yet.
    /// - Throws: `KernelError`, when it does not answer, or is another one by now.
    func mounts() throws(KernelError) -> [MountTree] {
        let files = try ServedFiles.open(LxcfsFile.all.map(\.source), below: directory, milliseconds: Self.patience)
        var mounts: [MountTree] = []
        for file in files {
            guard try file.mounted().device == device else {
                throw KernelError("mount files of \(directory)", errno: ESTALE, detail: "another lxcfs has been mounted there")
            }
            let mount = try MountTree(cloning: file)
            try mount.set([.readOnly, .noSetuid, .noDevices, .noExec])
            mounts.append(mount)
        }
        return mounts
    }

    /// The number of its file system; `nil` when none is mounted there.
    private static func device(of directory: String) throws(KernelError) -> String? {
        guard let place = mount(at: directory) else { return nil }
        return try ProcessMount.own(types: [type]).contains { $0.id == place.id } ? place.device : nil
    }

    /// Whatever is mounted there.
    static func mount(at directory: String) -> Descriptor.Mounted? {
        guard let root = try? Descriptor.open(directory, Descriptor.pathOnly | O_DIRECTORY), let place = try? root.mounted() else {
            return nil
        }
        return place.isRoot ? place : nil
    }

    private static func absence(from directory: String) -> String {
        guard program != nil else { return "lxcfs is not installed; apt-get install lxcfs" }
        let mend = directory == standardDirectory ? "systemctl enable --now lxcfs" : "lxcfs \(directory)"
        return "no lxcfs is mounted on \(directory); \(mend)"
    }

    private static func restart(_ directory: String) -> String {
        directory == standardDirectory
            ? "systemctl stop lxcfs; umount -l \(directory); systemctl start lxcfs" : "umount -l \(directory); lxcfs \(directory)"
    }

    /// Where the program is; `nil` when it is not installed.
    static var program: String? { HostFacts.program("lxcfs") }
}

/// One of the files that lxcfs serves, and that a container sees in place of the kernel's.
struct LxcfsFile: Equatable, Sendable {
    /// The type of the file system that it covers a file of.
    let type: String
    /// Where that is mounted in a container.
    let point: String
    /// Below that.
    let path: String

    /// Below lxcfs' directory.
    var source: String { "\(point)/\(path)" }

    /// Those of /proc that say something about a container, and what sysconf(3) counts CPUs by. Not the rest of what lxcfs has below
    /// /sys/devices/system/cpu: it would be read with the rights of the host's root.
    static let all: [LxcfsFile] =
        ["uptime", "cpuinfo", "diskstats", "loadavg", "meminfo", "stat", "swaps"].map {
            Self(type: "proc", point: "proc", path: $0)
        }
        + [Self(type: "sysfs", point: "sys", path: "devices/system/cpu/online")]
}
