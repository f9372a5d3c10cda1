internal import Glibc

/// A named control group: the groups of one name in all hierarchies, taken as one.
///
/// A value is a name only; nothing of the kernel's is cached. All calls may be made twice and at once. They block while the kernel
/// works: call them off the cooperative threads. A call on a group that is not there throws `ENOENT` unless it says otherwise.
public struct ControlGroup: Sendable {
    public let tree: ControlGroupTree
    public let name: String
    /// Beneath the top of each hierarchy, without a leading slash.
    let path: String

    init(tree: ControlGroupTree, name: String) {
        self.tree = tree
        self.name = name
        path = "\(tree.parent)/\(name)"
    }

    /// How many groups deep it is below the top of each hierarchy.
    public var depth: Int { path.split(separator: "/").count }

    // MARK: - The group itself

    /// Has its settings read anew: it may be another group of the same name.
    public func forget() { tree.memory?.forget(self) }

    /// Makes the group in every hierarchy, and the parent where there is none. Settings are the kernel's defaults: no limit.
    public func create() throws(KernelError) {
        for hierarchy in tree.hierarchies {
            do throws(KernelError) {
                try hierarchy.makeGroup(path)
            } catch  where error.errno == ENOENT {
                try tree.prepareParent()
                try hierarchy.makeGroup(path)
            }
        }
    }

    /// Whether the group is there in at least one hierarchy.
    /// - Throws: when that cannot be told of one: a group that is there must not count as missing.
    public var exists: Bool {
        get throws(KernelError) {
            for hierarchy in tree.hierarchies {
                if faccessat(hierarchy.directory.raw, path, F_OK, 0) == 0 { return true }
                if errno != ENOENT { throw KernelError("look for cgroup /\(path) in \(hierarchy.name)", errno: errno) }
            }
            return false
        }
    }

    /// Removes the group and all groups nested in it, from every hierarchy. A group that is not there is no error.
    /// - Throws: `EBUSY` when processes are left, with the group, the hierarchy and the first of the processes in the message;
    ///   everything else is removed then.
    public func remove() throws(KernelError) {
        var failure: KernelError?
        for hierarchy in tree.hierarchies {
            do throws(KernelError) {
                try remove(from: hierarchy)
            } catch {
                failure = failure ?? error
            }
        }
        if let failure { throw failure }
    }

    private func remove(from hierarchy: ControlGroupTree.Hierarchy) throws(KernelError) {
        // A process may make another nested group, or a dying one may leave late, while we are at it: so often, and not for ever.
        for attempt in 1...50 {
            var left: (names: [[CChar]], processes: [Int32], errno: Int32)?
            try ControlGroupWalk.bottomUp(path, in: hierarchy) { group, above, names throws(KernelError) in
                guard let name = names.last, unlinkat(above.raw, name, AT_REMOVEDIR) < 0, errno != ENOENT, left == nil else {
                    return
                }
                left = (names, [], errno)
                left?.processes = try Self.processes(in: group)
            }
            guard let left else { return }
            if left.errno == EBUSY, left.processes.isEmpty, attempt < 50 {
                ControlGroupWait.pause(milliseconds: 2)
                continue
            }
            let group = left.names.map(ControlGroupWalk.text(of:)).joined(separator: "/")
            let processes = left.processes.prefix(5).map(String.init).joined(separator: ", ")
            throw KernelError(
                "remove cgroup /\(tree.parent)/\(group) in \(hierarchy.name)", errno: left.errno,
                detail: left.processes.isEmpty ? "" : "\(left.processes.count) processes are in it: \(processes); end them first")
        }
    }

    // MARK: - Its processes

    /// The processes in the group and the groups nested in it, in any hierarchy, by their ids in our PID namespace, ascending.
    ///
    /// Empty when there is no group. A zombie is not among them.
    public func processes() throws(KernelError) -> [Int32] {
        var all: Set<Int32> = []
        for hierarchy in tree.hierarchies {
            try ControlGroupWalk.bottomUp(path, in: hierarchy) { group, _, _ throws(KernelError) in
                all.formUnion(try Self.processes(in: group))
            }
        }
        return all.sorted()
    }

    /// The processes in one group, without those that our PID namespace does not show.
    private static func processes(in group: Descriptor) throws(KernelError) -> [Int32] {
        do throws(KernelError) {
            let bytes = try Descriptor.open("cgroup.procs", O_RDONLY, at: group).readAll(limit: 256 << 20, named: "cgroup.procs")
            return bytes.withUnsafeBytes { all in
                all.split(separator: UInt8(ascii: "\n")).compactMap { line in
                    var text = ControlGroupText(UnsafeRawBufferPointer(rebasing: line))
                    return text.number().flatMap { $0 > 0 ? Int32(exactly: $0) : nil }
                }
            }
        } catch  where error.errno == EOPNOTSUPP || error.errno == ENODEV || error.errno == ENOENT {
            // A threaded group of v2, whose processes the group above lists; or a group that has just gone.
            return []
        }
    }

    /// Whether any process is in the group or a group nested in it. False when there is no group.
    public func isPopulated() throws(KernelError) -> Bool {
        if let unified = tree.unified, try isPopulated(in: unified) { return true }
        for hierarchy in tree.hierarchies where hierarchy.version == .v1 {
            var found = false
            try ControlGroupWalk.bottomUp(path, in: hierarchy) { group, _, _ throws(KernelError) in
                if !found { found = try !Self.processes(in: group).isEmpty }
            }
            if found { return true }
        }
        return false
    }

    /// What the kernel itself keeps count of on v2 (`populated` of cgroup.events).
    func isPopulated(in unified: ControlGroupTree.Hierarchy) throws(KernelError) -> Bool {
        do throws(KernelError) {
            return try read("cgroup.events", in: unified) { $0.value(of: "populated") } != 0
        } catch  where error.errno == ENOENT {
            return false
        }
    }

    /// The group's `tasks` of every v1 hierarchy, open for writing: a process of one thread joins by writing `0` to each.
    ///
    /// Unlike `cgroup.procs`, that takes no lock of the whole kernel, which costs a grace period of RCU, 10 ms and more
    /// (cgroup_procs_write_start of the kernel).
    ///
    /// Open files keep the group from nothing: it may be removed meanwhile, and a write then fails with `ENODEV`.
    /// - Parameter unified: adds `cgroup.procs` of the unified hierarchy, where there is no such way but `CLONE_INTO_CGROUP`.
    public func openTasksForJoining(unified: Bool) throws(KernelError) -> [Descriptor] {
        var all: [Descriptor] = []
        for hierarchy in tree.hierarchies where unified || hierarchy.version == .v1 {
            let file = hierarchy.version == .v1 ? "tasks" : "cgroup.procs"
            all.append(try Descriptor.open("\(path)/\(file)", O_WRONLY, at: hierarchy.directory))
        }
        return all
    }

    /// The group's directory in the unified hierarchy, or, where there is none, in another.
    public func openDirectory() throws(KernelError) -> Descriptor {
        guard let hierarchy = tree.unified ?? tree.hierarchy(of: .pids) ?? tree.hierarchies.first else {
            throw KernelError("open control group \(name)", errno: ENOENT)
        }
        return try Descriptor.open(path, O_RDONLY | O_DIRECTORY, at: hierarchy.directory)
    }

    /// The group's directory in the unified hierarchy, as clone3(2) takes it with `CLONE_INTO_CGROUP`; `nil` on a host with v1
    /// alone.
    public func openUnifiedDirectory() throws(KernelError) -> Descriptor? {
        guard let unified = tree.unified else { return nil }
        return try Descriptor.open(path, O_RDONLY | O_DIRECTORY, at: unified.directory)
    }
}
