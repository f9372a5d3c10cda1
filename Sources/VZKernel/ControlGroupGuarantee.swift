internal import Glibc
internal import Synchronization

/// How much of a group's memory the kernel leaves alone when the host is short of it (cgroup-v2.rst, memory.min and memory.low).
public struct MemoryGuarantee: Hashable, Sendable {
    /// Bytes that are taken only when there is nothing else to take; `nil` is all.
    public var low: Int64?
    /// Bytes that are never taken; `nil` is all.
    public var min: Int64?

    public init(low: Int64?, min: Int64?) {
        self.low = low
        self.min = min
    }
}

extension ControlGroup {
    /// What is guaranteed to the group.
    /// - Throws: `EOPNOTSUPP` on v1, which has nothing of the kind.
    public func memoryGuarantee() throws(KernelError) -> MemoryGuarantee {
        let hierarchy = try hierarchy(for: .memoryMin)
        guard hierarchy.version == .v2 else { throw unsupported(.memoryMin) }
        return MemoryGuarantee(
            low: try ControlGroupV2.limit(ControlGroupV2.memoryLow, of: self, in: hierarchy),
            min: try ControlGroupV2.limit(ControlGroupV2.memoryMin, of: self, in: hierarchy))
    }

    /// Guarantees memory to the group, and to the parent what all its groups have together: the kernel gives a group no more than the
    /// one above has.
    public func setMemoryGuarantee(_ guarantee: MemoryGuarantee) throws(KernelError) {
        let hierarchy = try hierarchy(for: .memoryMin)
        guard hierarchy.version == .v2 else { throw unsupported(.memoryMin) }
        for (file, bytes) in [(ControlGroupV2.memoryLow, guarantee.low), (ControlGroupV2.memoryMin, guarantee.min)] {
            try ControlGroupV2.write(bytes, to: file, of: self, in: hierarchy)
            try tree.sumUp(file, in: hierarchy)
        }
    }
}

extension ControlGroupTree {
    /// Whoever sums up last has seen what all others wrote before.
    private static let summing = Mutex(())

    fileprivate func sumUp(_ file: String, in hierarchy: Hierarchy) throws(KernelError) {
        let names = try groupNames()
        try Self.summing.withLock { _ throws(KernelError) in
            var sum: Int64 = 0
            for name in names {
                // One that has gone meanwhile has no part in it.
                guard let bytes = try? ControlGroupV2.limit(file, of: group(name), in: hierarchy) ?? .max else { continue }
                sum = sum.addingReportingOverflow(bytes).overflow ? .max : sum + bytes
            }
            try KernelFile.write(sum == .max ? "max" : String(sum), to: "\(parent)/\(file)", at: hierarchy.directory)
        }
    }
}
