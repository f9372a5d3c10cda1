import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// CPU time, affinity and CPU shares as programs inside meet them; the programs know nothing of us.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct CPUTests {
    private static let spin = "init: [/bin/sh, -c, \"while :; do :; done\"]"
    private static let base = "template: busybox\n"

    /// All that the kernel gives to groups.
    private static let available = (try? ControlGroupTree.discover().available(.cpus)) ?? ""
    private static let hasTwoCPUs = NumberSet(text: "0-1")?.isSubset(of: NumberSet(text: available) ?? .ranges([])) ?? false

    private func declare(_ node: TestNode, _ spec: String, ctid: Int = 101) throws {
        try node.declare("c\(ctid)", "ctid: \(ctid)\n" + Self.base + spec)
    }

    private func start(_ node: TestNode, _ spec: String, ctid: Int = 101) throws -> PidFD {
        try declare(node, spec, ctid: ctid)
        try node.apply()
        return try #require(try node.running(ctid))
    }

    private func changes(_ plan: Plan, _ field: String) -> [Change] {
        plan.containers.flatMap(\.changes).filter { $0.field == field }
    }

    // MARK: Affinity

    private func allowed(_ process: PidFD) throws -> String {
        let line = try KernelFile.read("/proc/\(process.pid)/status").split(separator: "\n").first {
            $0.hasPrefix("Cpus_allowed_list:")
        }
        return try #require(line).split(separator: "\t").last.map(String.init) ?? ""
    }

    @Test(.enabled(if: hasTwoCPUs)) func aMaskIsWhereProgramsRun() throws {
        try withNode { node in
            let process = try start(node, "cpumask: \"1\"\nnodemask: \"0\"\n" + Self.spin)
            #expect(try node.output("nproc") == "1")
            #expect(try node.output("grep -o 'Cpus_allowed_list.*' /proc/self/status") == "Cpus_allowed_list:\t1")
            #expect(try node.output("grep -o 'Mems_allowed_list.*' /proc/self/status") == "Mems_allowed_list:\t0")
            #expect(try node.output("taskset -p $$").hasSuffix("mask: 2"))
            #expect(try node.sh("taskset 1 true").0 != .code(0), "a program inside cannot leave it")
            #expect(try allowed(process) == "1")
            #expect(try node.plan().isEmpty)

            // Live, while it spins.
            try declare(node, "cpumask: \"0\"\n" + Self.spin)
            let plan = try node.apply()
            #expect(
                plan.containers.flatMap(\.changes).map { "\($0.field) \($0.before ?? "") \($0.after) \($0.disruption)" } == [
                    "cpumask 1 0 live"
                ])
            #expect(try allowed(process) == "0")
            #expect(try node.output("taskset -p $$").hasSuffix("mask: 1"))

            // Drift is put back.
            try node.group().setCPUs("1")
            #expect(try changes(node.plan(), "cpumask").map(\.reason) == [.drift])
            try node.apply()
            #expect(try node.group().cpus() == "0" && allowed(process) == "0")

            // `all` is all of the host's, for what runs and for what is started.
            try declare(node, Self.spin)
            try node.apply()
            #expect(try [nil, Self.available].contains(node.group().cpus()))
            #expect(try allowed(process) == Self.available)
            #expect(try node.output("grep -o 'Cpus_allowed_list.*' /proc/self/status").hasSuffix("\t" + Self.available))
            #expect(try node.plan().isEmpty)
            // Another spelling of the same.
            try declare(node, "cpumask: \"\(Self.available)\"\n" + Self.spin)
            #expect(try node.plan().isEmpty)
            #expect(try node.running()?.pid == process.pid)
        }
    }

    @Test(.enabled(if: hasTwoCPUs)) func aMaskOfWhatTheHostLacksIsRefusedAndTheRestIsDone() throws {
        try withNode { node in
            let process = try start(node, "cpumask: \"0\"\n" + Self.spin)
            try declare(node, "cpumask: \"0,4095\"\nnodemask: \"4095\"\ncpuunits: 3000\n" + Self.spin)
            let plan = try node.plan()
            #expect(plan.containers.flatMap(\.changes).map(\.field) == ["cpuunits"])
            #expect(
                plan.text().contains("! cpumask                0,4095: unsupported here: this host has the CPUs \(Self.available)"))
            #expect(plan.text().contains("! nodemask               4095: unsupported here: this host has the NUMA nodes "))
            try node.apply()
            #expect(try node.plan().isEmpty)
            #expect(try allowed(process) == "0", "it keeps the mask that it had")
            #expect(try node.group().cpuWeight() == CPUScale(node.controlGroups.cpuWeightScale).weight(of: 3000))
            let other = try start(node, "cpumask: \"4095\"\n" + Self.spin, ctid: 102)
            #expect(try allowed(other) == Self.available)
        }
    }

    // MARK: The hard limit

    private func stat(_ node: TestNode, _ name: String) throws -> Int64 {
        let text = try node.controlGroupFile("cpu.stat", of: .cpu)
        let line = try #require(text.split(separator: "\n").first { $0.hasPrefix(name + " ") })
        return try #require(Int64(line.dropFirst(name.count + 1)))
    }

    /// Milliseconds of CPU time in a period of 100 ms, over some in which the container wanted more.
    private func perPeriod(_ node: TestNode) throws -> Double {
        let first = try stat(node, "nr_throttled")
        try TestPlace.wait("throttled anew") { try stat(node, "nr_throttled") > first }
        let (began, used) = (try stat(node, "nr_periods"), try #require(try node.group().usage().cpu))
        var periods: Int64 = 0
        try TestPlace.wait("20 periods more") {
            periods = try stat(node, "nr_periods") - began
            return periods >= 20
        }
        return Double(try #require(try node.group().usage().cpu) - used) / Double(periods) / 1e6
    }

    @Test func cpulimitAndCPUsLimitABusyContainerLive() throws {
        try withNode { node in
            let two = "init: [/bin/sh, -c, \"while :; do :; done & while :; do :; done\"]"
            let process = try start(node, "cpulimit: 25\n" + two)
            let quarter = try perPeriod(node)
            #expect((15...35).contains(quarter), "\(quarter)")

            // 0 takes it away: nothing is throttled any more.
            try declare(node, two)
            try node.apply()
            #expect(try node.group().cpuQuota() == nil)
            let (throttled, used) = (try stat(node, "nr_throttled"), try #require(try node.group().usage().cpu))
            try TestPlace.wait("500 ms of CPU time more") { try #require(try node.group().usage().cpu) > used + 500_000_000 }
            #expect(try stat(node, "nr_throttled") <= throttled + 1)

            // Above what the host has is no mistake, and limits nothing.
            try declare(node, "cpulimit: 1000000\n" + two)
            try node.apply()
            #expect(try node.group().cpuQuota() == CPUQuota(quota: 1_000_000_000))
            #expect(try node.plan().isEmpty)

            for (spec, percent) in [("cpus: 1", 100), ("cpus: 1\ncpulimit: 60", 60), ("cpus: 1\ncpulimit: 300", 100)] {
                try declare(node, spec + "\n" + two)
                try node.apply()
                #expect(try node.group().cpuQuota() == CPUQuota(quota: Int64(percent) * 1000), "\(spec)")
                #expect(try node.plan().isEmpty)
            }
            try node.group().setCPUQuota(nil)
            #expect(try changes(node.plan(), "cpulimit").map(\.reason) == [.drift])
            try node.apply()
            #expect(try node.group().cpuQuota() == CPUQuota(quota: 100_000))
            #expect(try node.running()?.pid == process.pid)
        }
    }

    // MARK: Shares

    /// How much more CPU time container 102 gets than 101, both on one CPU.
    private func ratio(_ node: TestNode) throws -> Double {
        func used() throws -> [Int64] { try [101, 102].map { try #require(try node.group($0).usage().cpu) } }
        let before = try used()
        var after = before
        try TestPlace.wait("1.5 s of CPU time more") {
            after = try used()
            return after[0] + after[1] > before[0] + before[1] + 1_500_000_000
        }
        return Double(after[1] - before[1]) / Double(after[0] - before[0])
    }

    @Test func sharesAreOfContainersFirst() throws {
        try withNode { node in
            let three = "init: [/bin/sh, -c, \"for i in 1 2; do while :; do :; done & done; while :; do :; done\"]"
            try declare(node, "cpumask: \"0\"\n" + three, ctid: 101)
            try declare(node, "cpumask: \"0\"\n" + Self.spin, ctid: 102)
            try node.apply()
            // As many units, three processes against one.
            let equal = try ratio(node)
            #expect((0.7...1.4).contains(equal), "\(equal)")

            let process = try #require(try node.running(102))
            try declare(node, "cpumask: \"0\"\ncpuunits: 3000\n" + Self.spin, ctid: 102)
            try node.apply()
            let triple = try ratio(node)
            #expect((2.2...4).contains(triple), "\(triple)")
            #expect(try node.running(102)?.pid == process.pid)
        }
    }

    private func weights(_ node: TestNode, _ ctids: [Int]) throws -> [Int64] { try ctids.map { try node.group($0).cpuWeight() } }

    @Test func oneScaleForAllContainersOfTheNode() throws {
        try withNode { node in
            let sleep = "init: [/bin/sleep, \"1000000\"]\n"
            let kernel = node.controlGroups.cpuWeightScale
            let isV1 = node.controlGroups.version(of: .cpu) == .v1
            for (ctid, units) in [(101, 100), (102, 1000)] { try declare(node, "cpuunits: \(units)\n" + sleep, ctid: ctid) }
            try node.apply()
            let processes = try [101, 102].map { try #require(try node.running($0)) }
            #expect(try weights(node, [101, 102]) == (isV1 ? [102, 1024] : [10, 100]))
            #expect(try node.vzctl("plan").output == "Plan: nothing to do\n")

            // One that the standard scale does not hold beside the others: all change in the same look.
            try declare(node, "cpuunits: 500000\n" + sleep, ctid: 103)
            let plan = try node.vzctl("plan")
            #expect(plan.output.contains("Note: cpuunits of this node are scaled together"), "\(plan)")
            #expect(plan.output.contains("cpuunits               1000 → 1000"), "\(plan)")
            // The same plan, made elsewhere.
            let saved = try node.vzctl("list", "-o", "json", "--full").output
            try TestFile.write(saved, to: node.directory + "/saved.json")
            let elsewhere = try node.vzctl("plan", "--state", node.directory + "/saved.json", node.paths.manifests[0])
            #expect(elsewhere.output.split(separator: "\n").dropLast() == plan.output.split(separator: "\n").dropLast())
            try node.apply()
            #expect(try weights(node, [101, 102, 103]) == (isV1 ? [52, 524, 262_144] : [2, 20, 10_000]))
            #expect(try node.plan().isEmpty)
            let show = try node.vzctl("show", "c102").output
            #expect(show.contains("# cpuunits: 1000 (") && show.contains("scaled together"), "\(show)")

            // Drift is put back by the scale in force.
            try node.group(102).setCPUWeight(kernel.range.upperBound)
            #expect(
                try changes(node.plan(), "cpuunits").map { "\($0.before ?? "") \($0.after) \($0.reason)" } == [
                    "500000 1000 drift"
                ])
            try node.apply()
            #expect(try weights(node, [102]) == [isV1 ? 524 : 20])

            // More than v2's whole range: the least is clipped, and told.
            try declare(node, "cpuunits: 8\n" + sleep, ctid: 101)
            let told = try node.plan().text()
            #expect(told.contains("! cpuunits               8: unsupported here") == !isV1, "\(told)")
            try node.apply()
            #expect(try weights(node, [101, 102, 103]) == (isV1 ? [4, 524, 262_144] : [1, 20, 10_000]))

            // What does not run takes part in nothing.
            try declare(node, "cpuunits: 100\n" + sleep, ctid: 101)
            try declare(node, "state: stopped\ncpuunits: 500000\n" + sleep, ctid: 103)
            try node.apply()
            #expect(try weights(node, [101, 102]) == (isV1 ? [102, 1024] : [10, 100]))
            #expect(try [101, 102].map { try node.running($0)?.pid } == processes.map(\.pid))
        }
    }
}
