internal import Glibc

extension ControlGroupTree {
    /// The two interfaces of the kernel (cgroup-v1/cgroups.rst, cgroup-v2.rst).
    public enum Version: String, Sendable {
        case v1, v2
    }

    /// The controllers that a group's settings come from, by their names on cgroup v2.
    public enum Controller: String, CaseIterable, Sendable {
        case cpu, cpuacct, cpuset, memory, devices, freezer, io, pids

        /// The name on cgroup v1, which differs for `io` alone.
        public var nameOnV1: String { self == .io ? "blkio" : rawValue }
    }

    /// One mounted hierarchy: a tree of groups with its controllers.
    public struct Hierarchy: Sendable {
        public let version: Version
        /// As the kernel names it: `cpu,cpuacct`, `name=systemd`; `unified` for cgroup v2.
        public let name: String
        /// Where it is mounted, for messages; work goes through `directory`.
        public let mountPoint: String
        /// Those that this hierarchy serves.
        public let controllers: [Controller]
        /// The topmost group, kept open.
        public let directory: Descriptor
    }
}

/// One cgroup mount of /proc/self/mountinfo (proc_pid_mountinfo(5)).
struct ControlGroupMount: Equatable {
    var version: ControlGroupTree.Version
    /// The group that is mounted, `/` for all of the hierarchy.
    var root: String
    var mountPoint: String
    /// The controllers and the `name=` of a v1 hierarchy, in the kernel's order; empty on v2.
    var subsystems: [String]
    var readOnly: Bool

    /// `unified` on v2, else the subsystems with commas.
    var name: String { version == .v2 ? "unified" : subsystems.joined(separator: ",") }

    /// All cgroup mounts in the order of the file; lines that are no cgroup mount, or none at all, are passed over.
    static func parse(_ mountInfo: String) -> [ControlGroupMount] {
        mountInfo.split(separator: "\n").compactMap(parse(line:))
    }

    private static func parse(line: Substring) -> ControlGroupMount? {
        // id, parent, device, root, mount point, options, any number of tags, "-", type, source, options of the superblock
        let fields = line.split(separator: " ")
        guard let dash = fields.firstIndex(of: "-"), dash >= 6, fields.count > dash + 3 else { return nil }
        let superOptions = fields[dash + 3].split(separator: ",").map(String.init)
        let version: ControlGroupTree.Version
        var subsystems: [String] = []
        switch fields[dash + 1] {
        case "cgroup2": version = .v2
        case "cgroup":
            version = .v1
            subsystems = superOptions.filter { !notSubsystems.contains($0) && !$0.hasPrefix("release_agent=") }
            if subsystems.isEmpty { return nil }
        default: return nil
        }
        let readOnly = superOptions.contains("ro") || fields[5].split(separator: ",").contains("ro")
        return ControlGroupMount(
            version: version, root: unescaped(fields[3]), mountPoint: unescaped(fields[4]), subsystems: subsystems,
            readOnly: readOnly)
    }

    /// Mount options of cgroup v1 that name no controller (cgroup1_show_options of the kernel).
    private static let notSubsystems: Set<String> = [
        "rw", "ro", "noprefix", "xattr", "cpuset_v2_mode", "favordynmods", "clone_children", "seclabel",
    ]

    /// Undoes the kernel's `\ooo` for blank, tab, line break and backslash.
    static func unescaped(_ field: Substring) -> String {
        guard field.utf8.contains(UInt8(ascii: "\\")) else { return String(field) }
        var bytes: [UInt8] = []
        var rest = Array(field.utf8)[...]
        while let byte = rest.popFirst() {
            let digits = rest.prefix(3)
            if byte == UInt8(ascii: "\\"), digits.count == 3, digits.allSatisfy({ (48...55).contains($0) }) {
                bytes.append(UInt8(truncatingIfNeeded: digits.reduce(0) { $0 * 8 + Int($1 - 48) }))
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension ControlGroupTree.Hierarchy {
    /// Opens a mount and asks it for its controllers.
    ///
    /// A mount may lie hidden under a later one at the same place, therefore the directory must show the files of a cgroup of this
    /// version.
    init(_ mount: ControlGroupMount) throws(KernelError) {
        if mount.readOnly { throw KernelError("use \(mount.mountPoint)", errno: EROFS, detail: "mount it read-write") }
        let directory = try Descriptor.open(mount.mountPoint, O_RDONLY | O_DIRECTORY)
        let controllers: [ControlGroupTree.Controller]
        switch mount.version {
        case .v1:
            _ = try Descriptor.open("tasks", O_RDONLY, at: directory)
            controllers = ControlGroupTree.Controller.allCases.filter { mount.subsystems.contains($0.nameOnV1) }
        case .v2:
            let names = try KernelFile.read("cgroup.controllers", at: directory).split(separator: " ")
            // CPU time and the freezer are in every group of v2, without a controller to enable.
            controllers = ControlGroupTree.Controller.allCases.filter {
                names.contains(Substring($0.rawValue)) || $0 == .cpuacct || $0 == .freezer
            }
        }
        self.init(
            version: mount.version, name: mount.name, mountPoint: mount.mountPoint, controllers: controllers, directory: directory)
    }
}
