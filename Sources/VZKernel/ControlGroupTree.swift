internal import Glibc

/// The host's control group hierarchies, v1, v2 or both at once (hybrid), with our parent group in each.
///
/// Groups lie at `/PARENT/NAME` of every hierarchy. What is not there is data, not an error: `missing` and `unsupported` tell the
/// reason. The value is found once and kept; it holds one open directory per hierarchy.
public struct ControlGroupTree: Sendable {
    /// Every usable hierarchy, also those without a controller of ours (`name=systemd`): a process joins all of them.
    public let hierarchies: [Hierarchy]
    /// The name of the group at the top of each hierarchy that holds all of ours.
    public let parent: String
    /// What settings were read as; without one each is read each time.
    public var memory: ControlGroupMemory?
    private let hierarchyOfController: [Controller: Int]
    /// What was found but cannot be used, and why.
    private let unusable: [(mount: ControlGroupMount, reason: String)]

    /// Looks for the mounted hierarchies in `mountInfo` (a file in the form of proc_pid_mountinfo(5)). Nothing is made or changed.
    /// - Throws: when `mountInfo` cannot be read, or `parent` is no name for a group (see `group`); and when the kernel fails at a
    ///   hierarchy: a container that was started without it would be outside of its limits for good.
    public static func discover(
        parent: String = "vz", mountInfo: String = "/proc/self/mountinfo"
    ) throws(KernelError) -> ControlGroupTree {
        try checkName(parent)
        let bytes = try Descriptor.open(mountInfo, O_RDONLY).readAll(limit: 64 << 20, named: mountInfo)
        return try ControlGroupTree(parent: parent, mounts: ControlGroupMount.parse(String(decoding: bytes, as: UTF8.self)))
    }

    /// What a mount that is hidden, read-only or somebody else's answers, and will answer again.
    private static let lasting = [ENOENT, ENOTDIR, ENODEV, EACCES, EPERM, EROFS]

    private init(parent: String, mounts: [ControlGroupMount]) throws(KernelError) {
        var hierarchies: [Hierarchy] = []
        var unusable: [(mount: ControlGroupMount, reason: String)] = []
        // The same hierarchy may be mounted more than once: a mount of all of it is better than one of a part.
        for mount in mounts.filter({ $0.root == "/" }) + mounts.filter({ $0.root != "/" })
        where !hierarchies.contains(where: { $0.name == mount.name }) {
            do throws(KernelError) {
                hierarchies.append(try Hierarchy(mount))
            } catch {
                guard Self.lasting.contains(error.errno) else { throw error }
                unusable.append((mount, String(describing: error)))
            }
        }
        var hierarchyOfController: [Controller: Int] = [:]
        for version in [Version.v1, .v2] {  // v2 last: where v1 has cpuacct or the freezer, those act
            for (index, hierarchy) in hierarchies.enumerated() where hierarchy.version == version {
                for controller in hierarchy.controllers where hierarchyOfController[controller] == nil {
                    hierarchyOfController[controller] = index
                }
            }
        }
        self.parent = parent
        self.hierarchies = hierarchies
        self.unusable = unusable
        self.hierarchyOfController = hierarchyOfController
    }

    /// The hierarchy that a controller is on, if any.
    public func hierarchy(of controller: Controller) -> Hierarchy? {
        hierarchyOfController[controller].map { hierarchies[$0] }
    }

    /// The cgroup v2 hierarchy: all of a v2 host, or the one beside v1 of a hybrid host.
    public var unified: Hierarchy? { hierarchies.first { $0.version == .v2 } }

    /// Whether a controller is on any usable hierarchy.
    public func supports(_ controller: Controller) -> Bool { hierarchyOfController[controller] != nil }

    /// Why a controller is not to be had, and what mends it; `nil` when it is there.
    public func missing(_ controller: Controller) -> String? {
        if supports(controller) { return nil }
        let name = unified == nil ? controller.nameOnV1 : controller.rawValue
        if let found = unusable.first(where: { $0.mount.version == .v2 || $0.mount.subsystems.contains(controller.nameOnV1) }) {
            return "the cgroup hierarchy with the controller \(name) cannot be used: \(found.reason)"
        }
        if controller == .devices, unified != nil { return "cgroup v2 has no files for devices; it limits them by BPF programs" }
        return "no mounted cgroup hierarchy has the controller \(name); mount one, and look for cgroup_disable= in /proc/cmdline"
    }

    /// Makes the parent group in every hierarchy and lets it hand its controllers down. May be called at any time, by many at once.
    ///
    /// cgroup v1: `cpuset` gets the CPUs and memory nodes of the group above, without which no process can join. cgroup v2: each
    /// controller is enabled by itself in the topmost group and the parent, so that one refused leaves the others; `unsupported`
    /// tells which.
    public func prepareParent() throws(KernelError) {
        for hierarchy in hierarchies {
            try hierarchy.makeGroup(parent)
            if hierarchy.version == .v2 {
                let wanted = hierarchy.controllers.filter { Self.handedDown.contains($0) }
                hierarchy.enable(wanted, below: nil)
                hierarchy.enable(wanted, below: parent)
            }
        }
    }

    private static let handedDown: [Controller] = [.cpuset, .cpu, .io, .memory, .pids]

    /// Removes the parent group from every hierarchy. A parent that is not there is no error.
    /// - Throws: `EBUSY` when a group is left in it.
    public func removeParent() throws(KernelError) {
        for hierarchy in hierarchies {
            if unlinkat(hierarchy.directory.raw, parent, AT_REMOVEDIR) == 0 || errno == ENOENT { continue }
            throw KernelError(
                "remove cgroup /\(parent) in \(hierarchy.name)", errno: errno, detail: "remove the groups in it first")
        }
    }

    /// The parent group's directory in the unified hierarchy; `nil` when it is not there, or on a host with v1 alone.
    public func openUnifiedParent() throws(KernelError) -> Descriptor? { try unified?.openGroup(parent) }

    /// The names of all groups beneath the parent, in any hierarchy, sorted. Empty when there is no parent.
    public func groupNames() throws(KernelError) -> [String] {
        var names: Set<String> = []
        for hierarchy in hierarchies {
            guard let directory = try hierarchy.openGroup(parent) else { continue }
            for name in try ControlGroupWalk.children(of: directory) { names.insert(ControlGroupWalk.text(of: name)) }
        }
        return names.sorted()
    }

    /// The group `/PARENT/name` in all hierarchies. Nothing is made or looked up.
    /// - Parameter name: 1…200 of `A-Z a-z 0-9 _ -`.
    /// - Throws: `EINVAL` for any other name.
    public func group(_ name: String) throws(KernelError) -> ControlGroup {
        try Self.checkName(name)
        return ControlGroup(tree: self, name: name)
    }

    /// No separator, and no dot: files of the kernel have one (`cpu.max`), and so has the way up (`..`).
    private static func checkName(_ name: String) throws(KernelError) {
        let allowed = name.utf8.allSatisfy {
            switch $0 {
            case 48...57, 65...90, 97...122, UInt8(ascii: "_"), UInt8(ascii: "-"): true
            default: false
            }
        }
        let taken = ["tasks", "notify_on_release", "release_agent"]  // files of the kernel without a dot (v1)
        if !allowed || !(1...200).contains(name.utf8.count) || taken.contains(name) {
            throw KernelError("name a cgroup \"\(name)\"", errno: EINVAL, detail: "expected 1 to 200 of A-Z a-z 0-9 _ -")
        }
    }
}

extension ControlGroupTree.Hierarchy {
    /// Makes a group; one that is there already is fine. On a v1 `cpuset` hierarchy it gets the CPUs and nodes of the group above.
    func makeGroup(_ path: String) throws(KernelError) {
        if mkdirat(directory.raw, path, 0o755) < 0 && errno != EEXIST {
            throw KernelError("make cgroup /\(path) in \(name)", errno: errno)
        }
        guard version == .v1, controllers.contains(.cpuset) else { return }
        for file in ["cpuset.cpus", "cpuset.mems"] where try KernelFile.read("\(path)/\(file)", at: directory).isEmpty {
            let above = path.lastIndex(of: "/").map { "\(path[..<$0])/\(file)" } ?? file
            try KernelFile.write(KernelFile.read(above, at: directory), to: "\(path)/\(file)", at: directory)
        }
    }

    /// The group's directory, or `nil` when there is none.
    func openGroup(_ path: String) throws(KernelError) -> Descriptor? {
        do throws(KernelError) {
            return try Descriptor.open(path, O_RDONLY | O_DIRECTORY, at: directory)
        } catch  where error.errno == ENOENT {
            return nil
        }
    }

    /// Whether a group has this file. One that cannot be seen for another reason counts as there: whoever uses it is told that reason.
    func has(_ file: String, in path: String) -> Bool {
        faccessat(directory.raw, "\(path)/\(file)", F_OK, 0) == 0 || (errno != ENOENT && errno != ENODEV)
    }

    /// Enables controllers for the groups below one (v2). What the kernel refuses stays off, as `enabled(below:)` tells.
    func enable(_ controllers: [ControlGroupTree.Controller], below path: String?) {
        let on = enabled(below: path)
        for controller in controllers where !on.contains(controller) && controller != .cpuacct && controller != .freezer {
            try? KernelFile.write("+\(controller.rawValue)", to: Self.subtreeControl(path), at: directory)
        }
    }

    /// The controllers that a v2 group hands down to the groups below it. When they cannot be read they count as all: whoever uses one is
    /// told the reason.
    func enabled(below path: String?) -> [ControlGroupTree.Controller] {
        do throws(KernelError) {
            let text = try KernelFile.read(Self.subtreeControl(path), at: directory)
            return text.split(separator: " ").compactMap { ControlGroupTree.Controller(rawValue: String($0)) }
        } catch {
            return error.errno == ENOENT || error.errno == ENODEV ? [] : controllers
        }
    }

    private static func subtreeControl(_ path: String?) -> String {
        path.map { "\($0)/cgroup.subtree_control" } ?? "cgroup.subtree_control"
    }
}
