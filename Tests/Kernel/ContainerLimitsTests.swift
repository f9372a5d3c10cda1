import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// Limits as programs inside meet them; the programs know nothing of us.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct ContainerLimitsTests {
    private static let spin = "init: [/bin/sh, -c, \"while :; do :; done\"]"

    @Test func processesAreRefusedAtNumprocUntilItIsRaised() throws {
        try withNode { node in
            let process = try node.start("web", ctid: 101, "beancounters: {numproc: 12}")
            let fork = "i=0; while [ $i -lt 20 ]; do sleep 1000000 & i=$((i+1)); done; echo all"
            let (exit, text) = try node.sh(fork)
            #expect(exit != .code(0))
            #expect(text.contains("can't fork: Resource temporarily unavailable"), "\(text)")
            let usage = try node.group().usage()
            #expect(try #require(usage.pids) <= 12)
            #expect(try #require(usage.pidsFailures) > 0)

            try node.declare("web", "ctid: 101\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]\nbeancounters: {numproc: 50}")
            let plan = try node.apply()
            #expect(plan.containers.flatMap(\.changes).map(\.disruption) == [.live])
            #expect(try node.output(fork) == "all")
            #expect(try node.running()?.pid == process.pid)
            #expect(try #require(try node.group().usage().pids) >= 21)
        }
    }

    @Test func aProcessBeyondRamIsKilledAndItsNeighbourIsNot() throws {
        try withNode { node in
            let one = try node.start("web", ctid: 101, "ram: 16M\nswap: 0")
            let two = try node.start("db", ctid: 102, "ram: 16M\nswap: 0")
            // tail keeps the last line, and this one has no end.
            #expect(try node.sh("exec tail /dev/zero").0 == .signal(SIGKILL))
            #expect(try #require(try node.group(101).usage().memoryKills) >= 1)
            #expect(try node.group(102).usage().memoryKills == 0)
            #expect(one.isRunning && two.isRunning)
            #expect(try node.output("echo still here", 102) == "still here")
            // Within the limit it is no problem.
            #expect(try node.output("head -c 8000000 /dev/zero | tail | wc -c") == "8000000")
            #expect(try node.plan().isEmpty)
        }
    }

    @Test func filesInMemoryCountAsRam() throws {
        try withNode { node in
            try node.start("web", ctid: 101, "ram: 16M\nswap: 0")
            let (exit, _) = try node.sh("dd if=/dev/zero of=/dev/shm/big bs=1M count=40")
            #expect(exit == .signal(SIGKILL) || exit == .code(137))
            let process = try #require(try node.running())
            #expect(try TestFile.read("/proc/\(process.pid)/cmdline").hasPrefix("/bin/sleep"))
        }
    }

    @Test func cpulimitThrottles() throws {
        try withNode { node in
            let process = try node.start("web", ctid: 101, "cpulimit: 20\n\(Self.spin)")
            func stat(_ name: String) throws -> Int64 {
                let text = try node.controlGroupFile("cpu.stat", of: .cpu)
                let line = try #require(text.split(separator: "\n").first { $0.hasPrefix(name + " ") })
                return try #require(Int64(line.dropFirst(name.count + 1)))
            }
            try TestPlace.wait("throttled once") { try stat("nr_throttled") >= 1 }
            let (periods, used, began) = (try stat("nr_periods"), try #require(try node.group().usage().cpu), ContinuousClock.now)
            try TestPlace.wait("10 periods more") { try stat("nr_periods") >= periods + 10 }
            let more = try #require(try node.group().usage().cpu) - used
            // A fifth of the time that has passed, and at most one period's share beside it.
            let passed = began.duration(to: .now) / .nanoseconds(1)
            #expect(Double(more) < passed * 0.2 + 40_000_000, "\(more) ns of \(passed)")
            #expect(try stat("nr_throttled") >= 5)

            // Taken away live: the same process gets more than that at once.
            try node.declare("web", "ctid: 101\ntemplate: busybox\n\(Self.spin)")
            try node.apply()
            let before = (try stat("nr_throttled"), try #require(try node.group().usage().cpu))
            try TestPlace.wait("300 ms of CPU time more") { try #require(try node.group().usage().cpu) > before.1 + 300_000_000 }
            #expect(try stat("nr_throttled") <= before.0 + 1)
            #expect(try node.running()?.pid == process.pid)
        }
    }

    @Test func cpuunitsShareOneCPU() throws {
        try withNode { node in
            let one = try node.start("web", ctid: 101, "cpuunits: 1000\n\(Self.spin)")
            let two = try node.start("db", ctid: 102, "cpuunits: 2000\n\(Self.spin)")
            for process in [one, two] { try Command.run(["taskset", "-pc", "0", "\(process.pid)"]) }
            func used() throws -> [Int64] { try [101, 102].map { try #require(try node.group($0).usage().cpu) } }
            let before = try used()
            var after = before
            try TestPlace.wait("1.5 s of CPU time more") {
                after = try used()
                return after[0] + after[1] > before[0] + before[1] + 1_500_000_000
            }
            let ratio = Double(after[1] - before[1]) / Double(after[0] - before[0])
            #expect((1.5...2.7).contains(ratio), "\(ratio)")
        }
    }

    @Test func aForkBombIsStopped() throws {
        try withNode { node in
            let bomb = "init: [/bin/sh, -c, \"b() { b & b & wait; }; while :; do b; done 2>/dev/null\"]"
            try node.start("web", ctid: 101, "beancounters: {numproc: 40}\n" + bomb)
            try TestPlace.wait("the limit is met") { try node.group().usage().pidsFailures ?? 0 > 0 }
            try node.declare("web", "ctid: 101\nstate: stopped\ntemplate: busybox")
            try node.apply()
            #expect(try !node.group().exists)
        }
    }
}
