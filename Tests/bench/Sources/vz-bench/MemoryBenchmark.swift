internal import Glibc
internal import VZIsolation
internal import VZKernel

/// (d) VSwap: what a page costs a program that goes over its memory again and again, within `ram` and above it.
struct MemoryBenchmark {
    private let core: IsolationCore
    private let vswap: VSwap
    private let directory: String
    private static let ram: Int64 = 64 << 20
    private static let swap: Int64 = 256 << 20

    init(paths: NodePaths) throws {
        core = try IsolationCore(paths: paths, preparing: true)
        vswap = VSwap(controlGroup: paths.controlGroup)
        directory = paths.run
        try Descriptor.makeDirectories(directory)
    }

    /// Writes to a page and the next, and prints the best time of some rounds: ns for each.
    private static let program = """
        import mmap, sys, time
        m = mmap.mmap(-1, int(sys.argv[1]) << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        m.madvise(15)
        best = None
        for r in range(6):
            t = time.monotonic_ns()
            for i in range(0, len(m), 4096): m[i:i+8] = (i + r).to_bytes(8, 'little')
            t = (time.monotonic_ns() - t) * 4096 // len(m)
            if r: best = t if best is None else min(t, best)
        open(sys.argv[2], 'w').write(str(best))
        """

    func run(into table: inout Table) throws {
        table.heading("(d) VSwap: ram \(Self.ram >> 20)M, swap \(Self.swap >> 20)M; going over so much memory, for each page; MB/s")
        if let mend = VSwapMechanism.ofThisHost(vswap).mend {
            return table.row("not to be had here", [], aim: mend)
        }
        let memory = try HostMemory.now()
        _ = try vswap.provide(Self.swap, ram: memory.total, isShort: false)
        defer { try? vswap.removeAll() }
        let group = try core.tree.group("memory")
        try group.create()
        defer { try? group.remove() }
        try group.setMemory(max: Self.ram, swap: Self.swap)
        let disk = try SwapArea.inUse().filter { $0.zram == nil }
        var first: Double?
        for mebibytes in [16, 48, 80, 128, 256] {
            let nanoseconds = try touch(mebibytes, in: group)
            let base = first ?? nanoseconds
            first = base
            table.row(
                "\(mebibytes) MiB, \(Int64(mebibytes) << 20 < Self.ram ? "within" : "above") ram",
                [(nanoseconds * 1e-9).microseconds, (4096e3 / nanoseconds).fixed(0), (nanoseconds / base).fixed(1) + " ×"])
        }
        let kills = try group.usage().memoryKills ?? 0
        table.row("processes ended for want of memory", [String(kills)], aim: "0", met: kills == 0)
        let written = try SwapArea.inUse().filter { area in
            area.zram == nil && area.used > disk.first { $0.path == area.path }?.used ?? 0
        }
        table.row("areas on a disk that took any of it", [String(written.count)], aim: "0", met: written.isEmpty)
    }

    private func touch(_ mebibytes: Int, in group: ControlGroup) throws -> Double {
        let (script, result) = ("\(directory)/touch.py", "\(directory)/touched")
        try Descriptor.open(script, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600).writeAll(Self.program.utf8)
        // It waits until it is in the group.
        let command = "kill -STOP $$; exec /usr/bin/python3 -S -E \(script) \(mebibytes) \(result)"
        let child = try Child(["/bin/sh", "-c", command], log: "\(directory)/touch.log")
        try Clock.wait("the program waits") { try KernelFile.read("/proc/\(child.pid)/stat").contains(") T ") }
        for file in try group.openTasksForJoining(unified: true) { try file.writeAll("\(child.pid)".utf8) }
        kill(child.pid, SIGCONT)
        let status = child.wait()
        guard status == 0, let nanoseconds = Double(try KernelFile.read(result)) else {
            throw Broken("going over \(mebibytes) MiB ended with wait status \(status)")
        }
        return nanoseconds
    }
}
