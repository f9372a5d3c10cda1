internal import Glibc

/// What a group has used, read from the kernel. `nil` where this host does not count it.
public struct ControlGroupUsage: Hashable, Sendable {
    /// CPU time, ns.
    public var cpu: Int64?
    /// RAM now, bytes.
    public var memory: Int64?
    /// The most RAM at once, bytes (v2: Linux 5.19).
    public var memoryPeak: Int64?
    /// Kernel memory now, socket buffers included, bytes (v2: Linux 5.18). All of it is in `memory`, but for TCP's buffers on v1.
    public var kernel: Int64?
    /// How often a process was ended for want of memory (OOM).
    public var memoryKills: Int64?
    /// Swap now, bytes; on v1 what RAM and swap together are above RAM.
    public var swap: Int64?
    /// Processes and threads now.
    public var pids: Int64?
    /// The most processes and threads at once (Linux 6.1).
    public var pidsPeak: Int64?
    /// How often one more was refused.
    public var pidsFailures: Int64?
}

extension ControlGroup {
    /// How often the group met its limits since it was made, by the limit: of `usage()` that part alone, for frequent looks.
    public func failures() throws(KernelError) -> [String: Int64] {
        var failures: [String: Int64] = [:]
        if let memory = tree.hierarchy(of: .memory) {
            switch memory.version {
            case .v1: failures["memory"] = try counter("memory.oom_control", of: "oom_kill", in: memory)
            case .v2: failures["memory"] = try counter("memory.events", of: "oom_kill", in: memory)
            }
        }
        if let pids = tree.hierarchy(of: .pids) { failures["pids"] = try counter("pids.events", of: "max", in: pids) }
        return failures
    }
}

extension ControlGroup {
    /// The group's counters, groups nested in it included; but `memoryKills` on v1, and `pidsFailures` on v1 and before Linux 6.11,
    /// count only what processes in the group itself met.
    /// - Throws: `ENOENT` when the group is not there; a counter that this kernel lacks is `nil`.
    public func usage() throws(KernelError) -> ControlGroupUsage {
        var usage = ControlGroupUsage()
        if let cpu = tree.hierarchy(of: .cpuacct) {
            switch cpu.version {
            case .v1: usage.cpu = try counter("cpuacct.usage", in: cpu)
            case .v2: usage.cpu = try counter("cpu.stat", of: "usage_usec", in: cpu).map { $0 * 1000 }
            }
        }
        if let memory = tree.hierarchy(of: .memory) {
            switch memory.version {
            case .v1:
                usage.memory = try counter("memory.usage_in_bytes", in: memory)
                usage.memoryPeak = try counter("memory.max_usage_in_bytes", in: memory)
                usage.kernel = try counter("memory.kmem.usage_in_bytes", in: memory)
                let sockets = try counter("memory.kmem.tcp.usage_in_bytes", in: memory) ?? 0
                usage.kernel = usage.kernel.map { $0 + sockets }
                usage.memoryKills = try counter("memory.oom_control", of: "oom_kill", in: memory)
                if let both = try counter("memory.memsw.usage_in_bytes", in: memory) {
                    usage.swap = max(both - (usage.memory ?? 0), 0)
                }
            case .v2:
                usage.memory = try counter("memory.current", in: memory)
                usage.memoryPeak = try counter("memory.peak", in: memory)
                usage.kernel = try counter("memory.stat", in: memory) { text in
                    text.value(of: "kernel").map { $0 + (text.value(of: "sock") ?? 0) }
                }
                usage.memoryKills = try counter("memory.events", of: "oom_kill", in: memory)
                usage.swap = try counter("memory.swap.current", in: memory)
            }
        }
        if let pids = tree.hierarchy(of: .pids) {
            usage.pids = try counter("pids.current", in: pids)
            usage.pidsPeak = try counter("pids.peak", in: pids)
            usage.pidsFailures = try counter("pids.events", of: "max", in: pids)
        }
        return usage
    }

    /// What the group's processes, those of groups nested in it included, may write and share with no one, used or not, in bytes:
    /// VmData and VmStk of proc_pid_status(5).
    ///
    /// Each process counts with all that it has: what several share after vfork(2) counts for each of them, hence an upper bound. A
    /// process that ends meanwhile counts for nothing.
    public func allocations() throws(KernelError) -> Int64 {
        var sum: Int64 = 0
        for process in try processes() {
            guard let status = try? Descriptor.open("/proc/\(process)/status", O_RDONLY).readAll(named: "status") else { continue }
            let kibibytes = status.withUnsafeBytes { bytes in
                // A process that ends has none of the two lines left.
                (["VmData:", "VmStk:"] as [StaticString]).reduce(0 as Int64) { part, key in
                    var text = ControlGroupText(bytes)
                    return part + (text.value(of: key) ?? 0)
                }
            }
            sum += kibibytes << 10
        }
        return sum
    }

    /// One number of a file, the first, or the one behind `key`; `nil` when the kernel has no such file or number.
    private func counter(
        _ file: String, of key: StaticString? = nil, in hierarchy: ControlGroupTree.Hierarchy
    ) throws(KernelError) -> Int64? {
        try counter(file, in: hierarchy) { text in
            if let key { text.value(of: key) } else { text.number() }
        }
    }

    private func counter(
        _ file: String, in hierarchy: ControlGroupTree.Hierarchy, take: (inout ControlGroupText) -> Int64?
    ) throws(KernelError) -> Int64? {
        do throws(KernelError) {
            return try read(file, in: hierarchy) { .some(take(&$0)) }
        } catch  where error.errno == EOPNOTSUPP {
            return nil
        }
    }
}
