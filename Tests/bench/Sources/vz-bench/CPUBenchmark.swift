internal import VZIsolation
internal import VZKernel
internal import VZModel
internal import VZPlan

/// (d) What containers that want all they can get are given: shares on one CPU, and the hard limit, at the same time.
struct CPUBenchmark {
    private let core: IsolationCore
    private static let template = "bench-busybox"

    /// Makes the template.
    init(paths: NodePaths) throws {
        core = try IsolationCore(paths: paths, preparing: true)
        if try core.templates.find(Self.template) == nil { try core.templates.createBusybox(Self.template) }
    }

    /// A container that spins on one CPU.
    private struct Spinner {
        var ctid: ContainerID
        var desired: DesiredContainer
        var group: ControlGroup
    }

    private func start(_ number: Int, cpu: Int, cpuunits: Int = 1000, cpulimit: Int = 0) throws -> Spinner {
        guard let ctid = ContainerID(900_100 + number) else { throw Broken("no CTID") }
        var spec = ContainerSpec(
            name: "spin-\(number)", ctid: ctid, template: Self.template, init: ["/bin/sh", "-c", "while :; do :; done"],
            cpuunits: cpuunits, cpulimit: cpulimit)
        spec.cpumask = .ranges([cpu...cpu])
        let host = core.host.scaled(for: [1000, 3000])
        let desired = DesiredContainer(
            ctid: ctid, name: spec.name, source: "bench", state: .running, template: Self.template,
            start: StartParameters(init: spec.`init`, env: [:]), wish: Facets.wish(for: spec, on: host))
        guard desired.wish.unsupported.isEmpty else { throw Broken("\(desired.wish.unsupported)") }
        let seen = try core.observe(ctid)
        try core.execute(
            Planner.changes(from: seen.container, to: desired), on: seen.handle, for: desired,
            idBase: 0x7fe0_0000 + UInt32(number) * 65536)
        return Spinner(ctid: ctid, desired: desired, group: seen.handle.group)
    }

    private func stop(_ spinner: Spinner) throws {
        var stopped = spinner.desired
        stopped.state = .stopped
        let seen = try core.observe(spinner.ctid)
        try core.execute(
            Planner.changes(from: seen.container, to: stopped), on: seen.handle, for: stopped, idBase: 0x7fe0_0000,
            stopTimeout: .zero)
    }

    private func used(_ spinner: Spinner) throws -> Double {
        guard let cpu = try spinner.group.usage().cpu else { throw Broken("this host counts no CPU time") }
        return Double(cpu) * 1e-9
    }

    /// - Parameters:
    ///   - count: of windows.
    ///   - seconds: that each takes.
    func run(count: Int, seconds: Double, into table: inout Table) throws {
        let last = (core.host.cpus.map(Self.last) ?? nil) ?? 0
        let one = try start(1, cpu: 0, cpuunits: 1000)
        let three = try start(2, cpu: 0, cpuunits: 3000)
        let limited = try start(3, cpu: last, cpulimit: 25)
        var (ratios, percents) = (Times(), Times())
        Clock.pause(1)
        for _ in 0..<count {
            let before = try [one, three, limited].map(used)
            let began = Clock.now()
            Clock.pause(seconds)
            let after = try [one, three, limited].map(used)
            ratios.add((after[1] - before[1]) / (after[0] - before[0]))
            percents.add((after[2] - before[2]) / (Clock.now() - began) * 100)
        }
        for spinner in [one, three, limited] { try stop(spinner) }
        table.heading("CPU, \(count) windows of \(seconds.fixed(0)) s, three containers that spin: median, least, greatest")
        func row(_ label: String, _ times: Times, _ aim: String, _ range: ClosedRange<Double>) {
            table.row(
                label, [times.p50, times.quantile(0), times.quantile(1)].map { $0.fixed(2) }, aim: aim,
                met: range.contains(times.p50))
        }
        row("cpuunits 3000 to 1000 on one CPU: times as much", ratios, "3 within 10 %", 2.7...3.3)
        row("cpulimit 25: percent of one CPU", percents, "25 within 5 %", 23.75...26.25)
    }

    private static func last(_ cpus: NumberSet) -> Int? {
        if case .ranges(let ranges) = cpus { ranges.last?.upperBound } else { nil }
    }
}
