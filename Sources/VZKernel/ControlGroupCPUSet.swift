internal import Glibc

// Which CPUs a group's processes run on, and which memory nodes their memory comes from (admin-guide/cgroup-v1/cpusets.rst, the section
// Cpuset of cgroup-v2.rst). Both are lists as the kernel writes them: `0-3,5`.
extension ControlGroup {
    static let cpusFile = "cpuset.cpus"
    static let memoryNodesFile = "cpuset.mems"

    /// The CPUs of the group; `nil` when nothing says that they are others than its parent's: on v2. On v1 each group has a list.
    public func cpus() throws(KernelError) -> String? { try list(.cpus, Self.cpusFile) }

    /// Processes that run on another CPU move at once, and lose an affinity that they chose themselves.
    /// - Parameter list: `nil` for all that the parent has. With a CPU that the parent does not have: `EINVAL`, `EACCES` or `ERANGE`.
    public func setCPUs(_ list: String?) throws(KernelError) { try set(.cpus, Self.cpusFile, to: list) }

    /// The memory nodes of the group; `nil` as for `cpus`.
    public func memoryNodes() throws(KernelError) -> String? { try list(.memoryNodes, Self.memoryNodesFile) }

    /// Memory on other nodes than those of the list moves along.
    /// - Parameter list: `nil` for all that the parent has. With a node that the parent does not have: `EINVAL`, `EACCES` or `ERANGE`.
    public func setMemoryNodes(_ list: String?) throws(KernelError) {
        let hierarchy = try hierarchy(for: .memoryNodes)
        // v2 has no such switch and always does.
        if list != nil, hierarchy.version == .v1 { try write("1", to: "cpuset.memory_migrate", in: hierarchy) }
        try set(.memoryNodes, Self.memoryNodesFile, to: list)
    }

    private func list(_ setting: ControlGroupTree.Setting, _ file: String) throws(KernelError) -> String? {
        let hierarchy = try hierarchy(for: setting)
        do throws(KernelError) {
            // A list may be longer than the few bytes that other settings are read with.
            func read() throws(KernelError) -> String { try KernelFile.read("\(path)/\(file)", at: hierarchy.directory) }
            guard let memory = tree.memory else { return try read().nilWhenEmpty }
            let bytes = try memory.bytes(of: file, path, in: hierarchy) { () throws(KernelError) in Array(try read().utf8) }
            return String(decoding: bytes, as: UTF8.self).nilWhenEmpty
        } catch  where error.errno == ENODEV {
            throw KernelError("read \"\(file)\" of cgroup /\(path)", errno: ENOENT, detail: "there is no such group")
        }
    }

    private func set(_ setting: ControlGroupTree.Setting, _ file: String, to list: String?) throws(KernelError) {
        let hierarchy = try hierarchy(for: setting)
        let all = try tree.available(setting) ?? ""
        let expected = "expected a part of \(all)"
        if let list { return try write(list, to: file, in: hierarchy, expected: expected) }
        // On v2 nothing in the file is all that the parent has now or ever gets, but the kernel takes that only while no process is in
        // the group (ENOSPC).
        if hierarchy.version == .v2 {
            do throws(KernelError) {
                return try write("\n", to: file, in: hierarchy)
            } catch  where error.errno == ENOSPC {}
        }
        try write(all, to: file, in: hierarchy, expected: expected)
    }
}

extension ControlGroupTree {
    /// All the CPUs or memory nodes that groups beneath the parent can have now, as the kernel writes a list; before there is a parent,
    /// what it will have. `nil` when this host has no such controller, and for any other setting.
    public func available(_ setting: Setting) throws(KernelError) -> String? {
        guard setting == .cpus || setting == .memoryNodes, let hierarchy = hierarchy(of: .cpuset) else { return nil }
        let file = setting == .cpus ? ControlGroup.cpusFile : ControlGroup.memoryNodesFile
        let effective = hierarchy.version == .v2 ? file + ".effective" : file
        for file in ["\(parent)/\(effective)", effective] {
            do throws(KernelError) {
                let list = try KernelFile.read(file, at: hierarchy.directory)
                if !list.isEmpty { return list }
            } catch  where error.errno == ENOENT || error.errno == ENODEV {}
        }
        return nil
    }
}

extension String {
    fileprivate var nilWhenEmpty: String? { isEmpty ? nil : self }
}
