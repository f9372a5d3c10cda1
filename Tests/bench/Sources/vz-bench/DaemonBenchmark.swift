internal import Glibc
internal import VZIsolation
internal import VZKernel
internal import VZModel
internal import VZPlan
internal import VZReconciler

/// (b) from an edit to the kernel, (c) a look without a change, (d) memory: of the real vzd, on directories of its own.
struct DaemonBenchmark {
    private let node: Node
    private let manifests: String
    private let program: String
    private let log: String
    private static let template = "bench-busybox"
    private static let firstID = 1000
    /// How many of the manifests, at most, run.
    private static let running = 200

    init(paths: NodePaths, program: String) throws {
        self.program = program
        guard paths.manifests.count == 1 else { throw Broken("VZ_CONFIG_DIR: expected one directory") }
        manifests = paths.manifests[0]
        log = paths.run + "/vzd.log"
        for directory in [manifests, manifests + ".new", paths.run] { try Descriptor.makeDirectories(directory) }
        node = try Node(paths: paths)
        if try node.core.templates.find(Self.template) == nil { try node.core.templates.createBusybox(Self.template) }
    }

    func run(edits: Int, looks: Int, into table: inout Table) throws {
        var edited = Table()
        var looked = Table()
        var memory = Table()
        edited.heading("(b) manifest renamed into its directory → kernel's CPU share changed, p50 and p95 of \(edits)")
        looked.heading("(c) one look at everything without a change, median of \(looks): CPU and wall; per container that runs")
        memory.heading("(d) resident memory of vzd: all of it, and the part that no file backs")

        var daemon = try Vzd(program, log: log)
        defer { daemon.stop() }
        for _ in 0..<3 { _ = try daemon.look() }
        let empty = try daemon.memory()
        Self.report("0 containers", empty, aim: 15_000_000, into: &memory)

        try write(1...1)
        try waitUntilRunning(1...1, daemon)
        try edit(daemon, "1 manifest", count: edits, into: &edited, aimed: true)

        try write(2...10)
        try waitUntilRunning(1...10, daemon)
        try look(daemon, manifests: 10, count: looks, into: &looked)

        try write(11...100)
        try waitUntilRunning(1...100, daemon)
        let full = try daemon.memory()
        let aim = 15_000_000 + 20_000 * 100
        Self.report("100 containers, started by it", full, aim: aim, into: &memory)
        try look(daemon, manifests: 100, count: looks, into: &looked)
        Self.report("the same, \(looks) looks later", try daemon.memory(), aim: aim, into: &memory)

        daemon.stop()
        daemon = try Vzd(program, log: log)
        Self.report("100 containers, found after a restart", try daemon.memory(), aim: aim, into: &memory)

        try write(101...1000)
        try Clock.wait("all manifests are accepted; see \(log)", within: 120, step: 0.2) { try self.recorded() == 1000 }
        try waitUntilRunning(101...Self.running, daemon)
        try look(daemon, manifests: 1000, count: looks, into: &looked)
        Self.report("\(Self.running) containers, and 800 stopped", try daemon.memory(), into: &memory)
        try edit(daemon, "1000 manifests, \(Self.running) containers run", count: edits / 4, into: &edited, aimed: false)
        var scaled = Table()
        scaled.heading("(e) 1000 manifests, \(Self.running) containers run: CPU of vzd, wall, looks, containers converged")
        try one(daemon, count: looks, into: &scaled)
        try burst(daemon, into: &scaled)
        for part in [edited, looked, scaled, memory] { table.append(part) }
    }

    // MARK: - Manifests

    private func write(_ numbers: ClosedRange<Int>) throws {
        for number in numbers { try write(number, cpuunits: 1000) }
    }

    /// Writes a manifest elsewhere and renames it into the directory.
    /// - Returns: the moment before the rename.
    @discardableResult
    private func write(_ number: Int, cpuunits: Int) throws -> Double {
        let name = "c\(number).yaml"
        let text = """
            apiVersion: vz/v1
            kind: Container
            metadata:
              name: c\(number)
            spec:
              ctid: \(Self.firstID + number)
              state: \(number <= Self.running ? "running" : "stopped")
              template: \(Self.template)
              init: [/bin/sleep, "100000"]
              env: {ROLE: worker, PLACE: bench}
              hostname: c\(number).example.org
              cpuunits: \(cpuunits)
              cpulimit: 150
              ram: 64M
              swap: 64M
              beancounters:
                numproc: 100

            """
        let new = "\(manifests).new/\(name)"
        try Descriptor.open(new, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644).writeAll(text.utf8, named: new)
        let before = Clock.now()
        guard rename(new, "\(manifests)/\(name)") == 0 else { throw Broken("cannot rename \(new) into \(manifests)") }
        return before
    }

    private func id(_ number: Int) throws -> ContainerID {
        guard let ctid = ContainerID(Self.firstID + number) else { throw Broken("\(Self.firstID + number) is no CTID") }
        return ctid
    }

    /// How many containers the daemon has written down.
    private func recorded() throws -> Int {
        try Command.run(["ls", node.paths.records]).split(separator: "\n").count
    }

    private func waitUntilRunning(_ numbers: ClosedRange<Int>, _ daemon: Vzd) throws {
        for number in numbers {
            try Clock.wait("container \(number) runs; see \(log)", within: 120) {
                try node.core.observe(id(number)).container.isRunning
            }
        }
        try daemon.settle(quiet: 0.5)
    }

    // MARK: - (b)

    private func edit(_ daemon: Vzd, _ label: String, count: Int, into table: inout Table, aimed: Bool) throws {
        let group = try node.core.tree.group(String(id(1).number))
        let quiet = 0.1  // what the daemon waits for after the last event
        var times = Times()
        for step in 0..<count {
            let old = try group.cpuWeight()
            // Different in the kernel each time, and so much that the rounding does not hide it.
            let begin = try write(1, cpuunits: 2000 + 100 * (step % 10))
            try Clock.wait("the CPU share changes", within: 10, step: 0.000_02) { try group.cpuWeight() != old }
            times.add(Clock.now() - begin)
            try daemon.settle(quiet: 0.15)
        }
        let ours = times.map { $0 - quiet }
        table.times(label, times, aim: aimed ? "p50 under 150 ms" : nil, met: aimed ? times.p50 < 0.150 : nil)
        table.times(
            "  less the 100 ms of quiet that it waits for", ours, aim: aimed ? "p50 under 5 ms" : nil,
            met: aimed ? ours.p50 < 0.005 : nil)
    }

    // MARK: - (c)

    private func look(_ daemon: Vzd, manifests count: Int, count looks: Int, into table: inout Table) throws {
        let running = min(count, Self.running)
        let label = "\(count) manifests, \(running) run"
        var cpu = Times()
        var wall = Times()
        for _ in 0..<looks {
            let one = try daemon.look()
            cpu.add(one.cpu)
            wall.add(one.wall)
        }
        let each = cpu.p50 / Double(running)
        table.row(
            "vzd, \(label)", [cpu.p50.milliseconds, wall.p50.milliseconds, each.microseconds],
            aim: "under 200 µs of CPU each", met: each < 200e-6)

        var parts: (reading: Times, converging: Times, wall: Times) = (Times(), Times(), Times())
        var known: [ContainerID: PidFD] = [:]
        for round in 0..<looks + 1 {
            let (begin, start) = (Clock.ownCPU(), Clock.now())
            let look = try node.look(remembering: true)
            let middle = Clock.ownCPU()
            for target in look.targets {
                let (plan, process) = try node.converge(target, known: known[target.record.ctid])
                guard plan.isSettled else { throw Broken("CT \(plan.ctid) was not settled: \(plan.changes)") }
                known[target.record.ctid] = process
            }
            if round == 0 { continue }  // parses, and finds the processes
            parts.reading.add(middle - begin)
            parts.converging.add(Clock.ownCPU() - middle)
            parts.wall.add(Clock.now() - start)
        }
        let sum = parts.reading.p50 + parts.converging.p50
        table.row(
            "  in one thread", [sum.milliseconds, parts.wall.p50.milliseconds, (sum / Double(running)).microseconds])
        table.row(
            "    manifests and records", [parts.reading.p50.milliseconds, "", (parts.reading.p50 / Double(running)).microseconds])
        table.row(
            "    containers", [parts.converging.p50.milliseconds, "", (parts.converging.p50 / Double(running)).microseconds])
    }

    // MARK: - (e)

    /// What the daemon's log holds of looks, and of changes made.
    private func logged() throws -> (looks: Int, changes: Int) {
        let lines = try KernelFile.read(log).split(separator: "\n")
        return (lines.count { $0.contains("look: ") }, lines.count { $0.contains(": cpuunits ") })
    }

    /// One edit of one file.
    private func one(_ daemon: Vzd, count: Int, into table: inout Table) throws {
        var cpu = Times()
        let (looks, changes) = try logged()
        for step in 0..<count {
            let before = try daemon.settle(quiet: 0.15).cpu
            try write(2, cpuunits: 2000 + 100 * (step % 10))
            try Clock.wait("vzd takes note", within: 10, step: 0.001) { Clock.cpu(of: daemon.child.pid) > before }
            cpu.add(try daemon.settle(quiet: 0.3).cpu - before)
        }
        let after = try logged()
        table.row(
            "one edit, median of \(count)",
            [
                cpu.p50.milliseconds, "", "\(Double(after.looks - looks) / Double(count)) looks",
                "\(Double(after.changes - changes) / Double(count)) containers",
            ])
    }

    /// A thousand edits of ten files in one second.
    private func burst(_ daemon: Vzd, into table: inout Table) throws {
        let before = try daemon.settle(quiet: 0.3).cpu
        let (looks, changes) = try logged()
        let begin = Clock.now()
        for edit in 0..<1000 {
            try write(3 + edit % 10, cpuunits: 1000 + edit)
            // Evenly over the second.
            while Clock.now() < begin + Double(edit) / 1000 { usleep(200) }
        }
        let wrote = Clock.now() - begin
        // Less than half the second between two looks at the host's memory, which go on for as long as swap is promised, and between two
        // words to the service manager's watchdog.
        let last = try daemon.settle(quiet: 0.4)
        let after = try logged()
        for number in 3..<13 {
            let weight = try node.core.tree.group(String(id(number).number)).cpuWeight()
            let wanted = try node.look(remembering: false).targets.first { $0.record.name == "c\(number)" }?.desired.wish.settings
            guard wanted?.first(where: { $0.field == "cpuunits" })?.kernelValue == .number(weight) else {
                throw Broken("container \(number): the last edit is not in force")
            }
        }
        table.row(
            "1000 edits of 10 files within \(wrote.fixed(2)) s",
            [
                (last.cpu - before).milliseconds, (last.last - begin).milliseconds, "\(after.looks - looks) looks",
                "\(after.changes - changes) changes",
            ])
    }

    // MARK: - (d)

    private static func report(
        _ label: String, _ memory: (resident: Int, anonymous: Int), aim: Int? = nil, into table: inout Table
    ) {
        func mega(_ bytes: Int) -> String { (Double(bytes) / 1e6).fixed(1) + " MB" }
        table.row(
            label, [mega(memory.resident), mega(memory.anonymous)], aim: aim.map { "under \(mega($0))" },
            met: aim.map { memory.resident < $0 })
    }
}
