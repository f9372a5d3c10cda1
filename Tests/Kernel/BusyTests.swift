import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// Two containers at work, with programs that know nothing of us (stress-ng, fio), while every limit of both is changed: nothing of
/// them is ended, nothing stands still, and the limits hold.
@Suite(.serialized, .enabled(if: mayUseControlGroups && mayMakeSwapSpace)) struct BusyTests {
    /// One container's programs, in its groups.
    private struct Work {
        let ctid: Int
        let programs: [GroupProgram]

        init(_ ctid: Int, _ node: TestNode) throws {
            self.ctid = ctid
            let directory = node.root(ctid)
            // At its end it says that this came early.
            let quiet = ["/bin/sh", "-c", "exec stress-ng \"$@\" 2>/dev/null", "sh"]
            let stress = quiet + ["--quiet", "--temp-path", directory, "--cpu", "1", "--cpu-method", "int64"]
            // Not stress-ng: it has the kernel bring all of it into RAM in one call now and then (madvise(2), MADV_POPULATE_READ).
            let touch = "b = bytearray(40 << 20)\nwhile True:\n for i in range(0, len(b), 4096): b[i] = (b[i] + 1) & 255"
            let memory = ["/usr/bin/python3", "-S", "-E", "-c", touch]
            let files = [
                "fio", "--name=work", "--filename=\(directory)/work", "--size=16M", "--rw=randrw", "--bs=16k", "--direct=1",
                "--ioengine=psync", "--thread", "--time_based", "--runtime=3600", "--output=\(directory)/fio.log",
            ]
            let group = try node.group(ctid)
            programs = try [stress, files, memory].map { try GroupProgram($0, in: group) }
        }

        /// What fio has read and written, bytes.
        func moved() throws -> Int64 {
            let lines = try KernelFile.read("/proc/\(programs[1].process)/io").split(separator: "\n")
            return lines.filter { $0.hasPrefix("read_bytes: ") || $0.hasPrefix("write_bytes: ") }
                .reduce(0) { $0 + (Int64($1.split(separator: " ")[1]) ?? 0) }
        }
    }

    private static func spec(_ ctid: Int, _ lines: String) -> String {
        "ctid: \(ctid)\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]\n" + lines
    }

    /// Each differs from the one before in every field. What is in use is more than `ram` of some, and less than `ram` and `swap` of all.
    private static let settings = [
        "ram: 160M\nswap: 32M",
        """
        ram: 48M
        swap: 128M
        cpuunits: 3000
        cpulimit: 50
        cpumask: "0"
        ioprio: 0
        iolimit: 8M
        iopslimit: 400
        beancounters: {numproc: 200, vmguarpages: "2048:unlimited", oomguarpages: "1024:unlimited"}
        """,
        """
        ram: 128M
        swap: 48M
        cpuunits: 500
        cpulimit: 80
        cpus: 1
        iolimit: 4M
        iopslimit: 0
        ioprio: 7
        beancounters: {numproc: 100}
        """,
        """
        ram: 40M
        swap: 144M
        cpuunits: 1500
        cpulimit: 25
        iolimit: 1M
        iopslimit: 50
        ioprio: 2
        """,
    ]

    @Test func everyLimitIsChangedUnderTwoBusyContainers() throws {
        try withNode { node in
            func set(_ first: String, _ second: String) throws -> Plan {
                try node.declare("web", Self.spec(101, first))
                try node.declare("db", Self.spec(102, second))
                return try node.apply()
            }
            _ = try set(Self.settings[0], Self.settings[0])
            var look = try node.node().look(remembering: true)
            _ = try node.node().provideSwap(for: &look)
            let inits = try [101, 102].map { try #require(try node.running($0)).pid }
            let works = try [101, 102].map { try Work($0, node) }
            func used(_ work: Work) throws -> Int64 { try #require(try node.group(work.ctid).usage().cpu) }
            // stress-ng's own two, and process 1.
            try TestPlace.wait("all work") {
                try works.allSatisfy { try node.group($0.ctid).processes().count >= 5 && $0.moved() > 1 << 20 }
            }
            // On cgroup v1 the kernel was seen to end what thrashes above ram although there is swap.
            let isSpared = node.controlGroups.hierarchy(of: .memory)?.version == .v2
            let processes = try works.map { Set(try node.group($0.ctid).processes()) }

            for (round, other) in [(1, 2), (2, 3), (3, 1), (0, 0), (2, 1)] {
                let plan = try set(Self.settings[round], Self.settings[other])
                #expect(plan.containers.flatMap(\.changes).allSatisfy { $0.disruption == .live }, "\(plan.text())")
                let rest = try node.plan()
                #expect(rest.isEmpty, "\(rest.text())")
                let before = try works.map { ($0, try used($0), try $0.moved()) }
                for (work, cpu, moved) in before {
                    try TestPlace.wait("CT \(work.ctid) goes on (\(round), \(other))") {
                        try used(work) > cpu + 50_000_000 && work.moved() > moved + 256 << 10
                    }
                    #expect(work.programs.prefix(2).map(\.lives) == [true, true])
                    guard isSpared else { continue }
                    #expect(work.programs[2].lives)
                    #expect(try node.group(work.ctid).usage().memoryKills == 0)
                }
                #expect(try [101, 102].map { try node.running($0)?.pid } == inits)
                for (work, known) in zip(works, processes) where isSpared {
                    let now = Set(try node.group(work.ctid).processes())
                    #expect(known.isSubset(of: now), "CT \(work.ctid): \(known.subtracting(now)) ended")
                }
            }
            _ = try set(Self.settings[3], Self.settings[3])
            for work in works { try holds(work, node) }
        }
    }

    /// A quarter of a CPU, 1 MiB and 50 operations a second, for reads and for writes: over a window of some seconds, with wide bounds.
    private func holds(_ work: Work, _ node: TestNode) throws {
        let group = try node.group(work.ctid)
        let (began, cpu, moved) = (ContinuousClock.now, try #require(try group.usage().cpu), try work.moved())
        // What thrashes takes most of the CPU time that it may have.
        try TestPlace.wait("1 MiB more, and half a second of CPU time") {
            try work.moved() > moved + 1 << 20 && group.usage().cpu ?? 0 > cpu + 500_000_000
        }
        let seconds = began.duration(to: .now) / .seconds(1)
        let share = Double(try #require(try group.usage().cpu) - cpu) / 1e9 / seconds
        let rate = Double(try work.moved() - moved) / seconds
        #expect((0.02...0.4).contains(share), "CT \(work.ctid): \(share) of a CPU")
        #expect(rate < 3 * 1024 * 1024, "CT \(work.ctid): \(rate) bytes a second")
    }
}
