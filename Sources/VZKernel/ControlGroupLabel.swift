internal import CLinux
internal import Glibc

// Facts about what runs in a group, kept by the kernel on the group's directory as extended attributes `trusted.vz.KEY`: they end
// with the group, and only CAP_SYS_ADMIN on the host can see or change them (xattr(7)).
extension ControlGroup {
    /// Sets a label, or replaces it. Empty values are taken.
    /// - Parameter key: 1…200 bytes, no zero.
    /// - Throws: `ENOENT` when the group is not there; `E2BIG` above 64 KiB.
    public func setLabel(_ key: String, _ value: [UInt8]) throws(KernelError) {
        defer { if let hierarchy = try? hierarchyOfLabels() { tree.memory?.forget(path, in: hierarchy) } }
        try labelled().setLabel(key, value, of: "cgroup /\(path)")
    }

    /// The label's value, `nil` when it was never set.
    /// - Throws: `ENOENT` when the group is not there.
    public func label(_ key: String) throws(KernelError) -> [UInt8]? {
        guard let memory = tree.memory else { return try labelled().label(key, of: "cgroup /\(path)") }
        // Behind a byte that tells an empty one from none.
        let bytes = try memory.bytes(of: "trusted.vz.\(key)", path, in: hierarchyOfLabels()) { () throws(KernelError) in
            (try labelled().label(key, of: "cgroup /\(path)")).map { [1] + $0 } ?? []
        }
        return bytes.isEmpty ? nil : Array(bytes.dropFirst())
    }

    /// Labels are in one hierarchy: that of `pids`, else the unified one, else the first.
    private func hierarchyOfLabels() throws(KernelError) -> ControlGroupTree.Hierarchy {
        guard let hierarchy = tree.hierarchy(of: .pids) ?? tree.unified ?? tree.hierarchies.first else {
            throw KernelError("open cgroup /\(path)", errno: EOPNOTSUPP, detail: "no cgroup hierarchy is mounted")
        }
        return hierarchy
    }

    private func labelled() throws(KernelError) -> Descriptor {
        let hierarchy = try hierarchyOfLabels()
        guard let directory = try hierarchy.openGroup(path) else {
            throw KernelError("open cgroup /\(path) in \(hierarchy.name)", errno: ENOENT, detail: "there is no such group")
        }
        return directory
    }
}

/// Facts about a directory, kept on it in the same way.
extension Descriptor {
    /// Sets a label, or replaces it.
    /// - Parameter what: what carries it, for messages.
    /// - Throws: `KernelError`; `EOPNOTSUPP` on a file system without extended attributes, `ENOSPC` when it has no room for it.
    public func setLabel(_ key: String, _ value: [UInt8], of what: String) throws(KernelError) {
        if vz_fsetxattr(raw, "trusted.vz.\(key)", value, value.count) < 0 {
            throw KernelError("set label \"\(key)\" of \(what)", errno: errno)
        }
    }

    /// The label's value, `nil` when it was never set.
    public func label(_ key: String, of what: String) throws(KernelError) -> [UInt8]? {
        // Most fit; the kernel takes none larger than the second (xattr(7)).
        for size in [1024, 1 << 16] {
            var number: Int32 = 0
            let value = withUnsafeTemporaryAllocation(byteCount: size, alignment: 1) { buffer -> [UInt8]? in
                let count = vz_fgetxattr(raw, "trusted.vz.\(key)", buffer.baseAddress, buffer.count)
                if count < 0 { number = errno }
                return count < 0 ? nil : Array(buffer[..<count])
            }
            if let value { return value }
            if number == ENODATA { return nil }
            if number != ERANGE || size == 1 << 16 { throw KernelError("read label \"\(key)\" of \(what)", errno: number) }
        }
        return nil
    }
}
