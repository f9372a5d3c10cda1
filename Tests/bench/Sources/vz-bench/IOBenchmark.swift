internal import Glibc
internal import VZIsolation
internal import VZKernel
internal import VZModel
internal import VZPlan

/// (d) Limits and shares of a disk, as programs inside meet them: what grows in a window of time are the files that they write past
/// the page cache, one after the other without end.
struct IOBenchmark {
    private let core: IsolationCore
    private let paths: NodePaths
    private let seconds: Double
    private static let template = "bench-busybox"

    init(paths: NodePaths, seconds: Double = 10) throws {
        core = try IsolationCore(paths: paths, preparing: true)
        (self.paths, self.seconds) = (paths, seconds)
        if try core.templates.find(Self.template) == nil { try core.templates.createBusybox(Self.template) }
    }

    func run(into table: inout Table) throws {
        let device = core.host.storage?.stack.tops.map { "\($0.name) (\($0.scheduler ?? "none"))" }.joined(separator: ", ")
        table.heading("(d) disk limits and shares over \(Int(seconds)) s, direct writes, roots on \(device ?? "nothing known")")
        let limit = 1 << 20
        let bytes = try rates([Writer(900_001, block: 64 << 10) { $0.iolimit = Int64(limit) }])[0]
        row("iolimit 1M: written, MiB a second", bytes / 1_048_576, against: bytes / Double(limit), 1, 0.1, &table)
        let operations = try rates([Writer(900_001, block: 4096) { $0.iopslimit = 40 }])[0] / 4096
        row("iopslimit 40: operations a second", operations, against: operations / 40, 1, 0.1, &table)
        for block in [64 << 10, 256 << 10] {
            let shares = try rates([
                Writer(900_001, block: block) { $0.ioprio = 0 }, Writer(900_002, block: block) { $0.ioprio = 7 },
            ])
            let ratio = shares[1] / shares[0]
            row("ioprio 7 against ioprio 0, writes of \(block >> 10) KiB", ratio, against: ratio, 2, 0.15, &table)
        }
    }

    private func row(
        _ label: String, _ figure: Double, against value: Double, _ aim: Double, _ tolerance: Double, _ table: inout Table
    ) {
        table.row(
            label, [figure.fixed(2)], aim: "within \(Int(tolerance * 100)) %", met: abs(value / aim - 1) <= tolerance)
    }

    /// A container that writes without end, in blocks of so many bytes.
    private struct Writer {
        var number: Int
        var block: Int
        var change: (inout ContainerSpec) -> Void

        init(_ number: Int, block: Int, _ change: @escaping (inout ContainerSpec) -> Void) {
            (self.number, self.block, self.change) = (number, block, change)
        }

        func spec() throws -> (ContainerID, ContainerSpec) {
            guard let ctid = ContainerID(number) else { throw Broken("\(number) is no CTID") }
            // Several at once, or a disk has nothing to choose from.
            let write = "dd if=/dev/zero of=/file$i bs=\(block) count=\((64 << 20) / block) oflag=direct conv=notrunc 2>/dev/null"
            let script = "for i in 1 2 3 4; do (while :; do \(write); done) & done; wait"
            var spec = ContainerSpec(name: "bench\(number)", ctid: ctid, template: template, init: ["/bin/sh", "-c", script])
            change(&spec)
            return (ctid, spec)
        }
    }

    /// What containers write at the same time, in bytes a second each.
    private func rates(_ writers: [Writer]) throws -> [Double] {
        let specs = try writers.map { try $0.spec() }
        defer { for (ctid, spec) in specs { try? converge(ctid, spec, .stopped) } }
        for (ctid, spec) in specs { try converge(ctid, spec, .running) }
        Clock.pause(2)
        let (before, began) = (try specs.map { try written(by: $0.0) }, Clock.now())
        Clock.pause(seconds)
        let (after, passed) = (try specs.map { try written(by: $0.0) }, Clock.now() - began)
        return zip(before, after).map { Double($1 - $0) / passed }
    }

    /// Bytes that the kernel counted for all processes of a container, on any device.
    private func written(by ctid: ContainerID) throws -> Int64 {
        try core.group(of: ctid).processes().reduce(0) { sum, pid in
            let text = (try? KernelFile.read("/proc/\(pid)/io")) ?? ""
            let line = text.split(separator: "\n").first { $0.hasPrefix("write_bytes: ") }
            return sum + (line.flatMap { Int64($0.dropFirst(13)) } ?? 0)
        }
    }

    private func converge(_ ctid: ContainerID, _ spec: ContainerSpec, _ state: RunState) throws {
        try core.lookAtHost()
        let desired = DesiredContainer(
            ctid: ctid, name: spec.name, source: "", state: state, template: spec.template,
            start: StartParameters(init: spec.`init`, env: spec.env), wish: Facets.wish(for: spec, on: core.host))
        let seen = try core.observe(ctid)
        if state == .running, !desired.wish.unsupported.isEmpty { throw Broken("\(desired.wish.unsupported)") }
        try core.execute(
            Planner.changes(from: seen.container, to: desired), on: seen.handle, for: desired,
            idBase: 0x7fe0_0000 + UInt32(ctid.number - 900_001) * 65_536, stopTimeout: .zero)
    }
}
