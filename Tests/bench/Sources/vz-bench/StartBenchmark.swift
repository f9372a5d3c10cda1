internal import Glibc
internal import VZIsolation
internal import VZKernel
internal import VZModel
internal import VZPlan

/// (a) The start of a container's process 1, until it executes its program: ours in this process, which stays, and crun's, a new
/// process each time. One after the other in turn, so that both meet the same machine.
struct StartBenchmark {
    private let core: IsolationCore
    private let ctid: ContainerID
    private let root: ContainerRoot
    private let spec: ContainerSpec
    private let idBase: UInt32 = 0x7fe0_0000
    private let crun: Crun
    private static let template = "bench-busybox"

    /// Makes the template, its root and crun's copy of that.
    init(paths: NodePaths) throws {
        core = try IsolationCore(paths: paths, preparing: true)
        guard let ctid = ContainerID(900_001) else { throw Broken("900001 is no CTID") }
        self.ctid = ctid
        root = ContainerRoot(ctid: ctid, paths: paths)
        spec = ContainerSpec(
            name: "bench", ctid: ctid, template: Self.template, init: ["/bin/sleep", "1000"], cpuunits: 2000, cpulimit: 200,
            ram: 64 << 20, swap: 64 << 20, beancounters: [.numproc: BarrierLimit(both: 100)])
        if try core.templates.find(Self.template) == nil { try core.templates.createBusybox(Self.template) }
        if try !root.exists { try root.make(from: Self.template, in: core.templates) }
        crun = try Crun(
            directory: paths.state + ".crun", copying: root.path, idBase: idBase, spec: spec,
            group: paths.controlGroup)
    }

    private struct Results {
        var whole = Times()
        var looking = Times()
        var crunRun = Times()
        var crunCreate = Times()
        var bare = Times()
        var crunBare = Times()
        var life = Times()
        var crunLife = Times()
        var crunNothing = Times()

        mutating func add(_ one: Self) {
            let all = [
                \Self.whole, \.looking, \.crunRun, \.crunCreate, \.bare, \.crunBare, \.life, \.crunLife, \.crunNothing,
            ]
            for times in all { self[keyPath: times].add(one[keyPath: times].p50) }
        }
    }

    func run(count: Int, into table: inout Table) throws {
        var results = Results()
        for round in 0..<count + 3 {
            var one = Results()
            try containers(&one)
            try bareContainers(&one)
            try lives(&one)
            one.crunNothing.add(try crun.run(["--version"]))
            // The first few rounds fill the caches of both.
            if round >= 3 { results.add(one) }
        }
        report(results, into: &table)
    }

    private func containers(_ one: inout Results) throws {
        let begin = Clock.now()
        let (changes, observation, desired) = try plan(spec)
        one.looking.add(Clock.now() - begin)
        try core.execute(changes, on: observation.handle, for: desired, idBase: idBase)
        one.whole.add(Clock.now() - begin)
        try stop()
        one.crunRun.add(try crun.run(["run", "--detach"], .stays, id: "bench"))
        try deleteCrun()
        one.crunCreate.add(try crun.run(["create"], .stays, id: "bench"))
        try deleteCrun()
    }

    /// Namespaces and mounts alone.
    private func bareContainers(_ one: inout Results) throws {
        let nothing = try ControlGroupTree.discover(parent: core.paths.controlGroup, mountInfo: "/dev/null").group("bare")
        let start = ContainerStart(
            idBase: idBase, hostname: spec.name, parameters: StartParameters(init: spec.`init`, env: [:]))
        let begin = Clock.now()
        let process = try start.run(root: root, group: nothing)
        one.bare.add(Clock.now() - begin)
        try process.send(signal: SIGKILL)
        _ = process.waitForExit(milliseconds: 10_000)
        settle()
        one.crunBare.add(try crun.run(["run", "--detach"], .bare, id: "bench"))
        try deleteCrun()
    }

    /// From nothing to nothing again, with a program that exits at once.
    private func lives(_ one: inout Results) throws {
        var short = spec
        short.`init` = ["/bin/true"]
        let begin = Clock.now()
        let (changes, observation, desired) = try plan(short)
        let process = try core.execute(changes, on: observation.handle, for: desired, idBase: idBase)
        _ = process?.waitForExit(milliseconds: 10_000)
        try stop(settling: false)
        one.life.add(Clock.now() - begin)
        settle()
        one.crunLife.add(try crun.run(["run"], .ends, id: "bench"))
        settle()
    }

    // MARK: -

    private func plan(_ spec: ContainerSpec) throws -> ([Change], IsolationCore.Observation, DesiredContainer) {
        let desired = desired(spec, state: .running)
        let observation = try core.observe(ctid)
        return (Planner.changes(from: observation.container, to: desired), observation, desired)
    }

    private func desired(_ spec: ContainerSpec, state: RunState) -> DesiredContainer {
        DesiredContainer(
            ctid: ctid, name: spec.name, source: "", state: state, template: spec.template,
            start: StartParameters(init: spec.`init`, env: spec.env), wish: Facets.wish(for: spec, on: core.host))
    }

    private func stop(settling: Bool = true) throws {
        let observation = try core.observe(ctid)
        let stopped = desired(spec, state: .stopped)
        try core.execute(
            Planner.changes(from: observation.container, to: stopped), on: observation.handle, for: stopped, idBase: idBase,
            stopTimeout: .zero)
        if settling { settle() }
    }

    private func deleteCrun() throws {
        try crun.run(["delete", "--force"], id: "bench")
        settle()
    }

    /// The kernel takes a network namespace apart after its last process has gone; nobody tells when it is done.
    private func settle() { Clock.pause(0.03) }

    private func report(_ r: Results, into table: inout Table) {
        table.heading("(a) container start, p50 and p95 of \(r.whole.count): user, mount, pid, net, uts, ipc, cgroup namespaces")
        table.times(
            "vz in its process: observe, plan, execute", r.whole, aim: "p50 under half of crun run's",
            met: r.whole.p50 < r.crunRun.p50 / 2)
        table.times("  of which observe and plan", r.looking)
        table.times("crun run --detach", r.crunRun)
        table.times("crun create", r.crunCreate)
        table.times("  of which a crun that does nothing (--version)", r.crunNothing)
        table.row("vz / crun run --detach", [Self.ratio(r.whole, r.crunRun)])
        table.times("vz without control groups", r.bare)
        table.times("crun run --detach without control groups", r.crunBare)
        table.row("vz / crun, both without control groups", [Self.ratio(r.bare, r.crunBare)])
        table.times("vz: start, exit of /bin/true, clean up", r.life)
        table.times("crun run: start, exit of /bin/true, clean up", r.crunLife)
        table.row("vz / crun, from start to clean up", [Self.ratio(r.life, r.crunLife)])
    }

    private static func ratio(_ a: Times, _ b: Times) -> String { (a.p50 / b.p50).fixed(2) }
}
