import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// vmguarpages and oomguarpages: what a container keeps when the host is short of memory.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct GuaranteeTests {
    private static let idle = "ctid: 101\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]\n"

    @Test func guaranteesAreHeldOrTold() throws {
        try withNode { node in
            let process = try node.start(
                "web", ctid: 101, "beancounters: {vmguarpages: \"2048:unlimited\", oomguarpages: \"1024:unlimited\"}")
            try node.start("db", ctid: 102, "beancounters: {oomguarpages: \"512:unlimited\"}")
            let host = try node.node().core.host
            let ram = try #require(host.ram)
            let score = try #require(GuaranteeFacet.oomScore(guaranteed: 1024 * 4096, ram: ram))
            #expect(score < 0)
            #expect(try OOMScore.of(process) == (host.noSparing == nil ? score : 0))
            let plan = try node.plan()
            #expect(plan.isEmpty)
            let told = plan.containers.flatMap(\.unsupported).map(\.field)
            if node.controlGroups.version(of: .memory) == .v1 {
                // cgroup v1 knows none, which is said of each.
                let survival = Array(repeating: "beancounters.oomguarpages", count: host.noSparing == nil ? 1 : 2)
                #expect(told == ["beancounters.vmguarpages"] + survival + survival)
                return
            }
            #expect(told == (host.noSparing == nil ? [] : ["beancounters.oomguarpages", "beancounters.oomguarpages"]))
            #expect(try node.group(101).memoryGuarantee() == MemoryGuarantee(low: 2048 * 4096, min: 1024 * 4096))
            #expect(try node.group(102).memoryGuarantee() == MemoryGuarantee(low: 0, min: 512 * 4096))
            // The kernel gives them no more than the group above has.
            let unified = try #require(node.controlGroups.unified)
            func above(_ file: String) throws -> String {
                try KernelFile.read("\(node.paths.controlGroup)/\(file)", at: unified.directory)
            }
            #expect(try above("memory.low") == "\(2048 * 4096)")
            #expect(try above("memory.min") == "\(1536 * 4096)")
            try node.declare("web", Self.idle)
            try node.apply()
            #expect(try node.group(101).memoryGuarantee() == MemoryGuarantee(low: 0, min: 0))
            #expect(try above("memory.min") == "\(512 * 4096)")
        }
    }

    @Test(.enabled(if: OOMScore.refusal == nil)) func theScoreIsChangedLiveForAllButWhoChoseHisOwn() throws {
        try withNode { node in
            let process = try node.start("web", ctid: 101)
            #expect(try OOMScore.of(process) == 0)
            let follower = try GroupProgram(["/bin/cat"], in: node.group())
            let own = try GroupProgram(["/bin/cat"], in: node.group())
            try KernelFile.write("500", to: "/proc/\(own.process)/oom_score_adj")
            try node.declare("web", Self.idle + "beancounters: {oomguarpages: unlimited}")
            let plan = try node.apply()
            #expect(plan.containers.flatMap(\.changes).allSatisfy { $0.disruption == .live })
            let scores = try [process.pid, follower.process, own.process].map { try KernelFile.read("/proc/\($0)/oom_score_adj") }
            #expect(scores == ["-999", "-999", "500"])
            #expect(try node.plan().isEmpty)
            #expect(try node.output("cat /proc/1/oom_score_adj") == "-999")
            // Changed outside, it is put back.
            try KernelFile.write("0", to: "/proc/\(process.pid)/oom_score_adj")
            #expect(try node.plan().containers.flatMap(\.changes).map(\.reason) == [.drift])
            try node.apply()
            #expect(try OOMScore.of(process) == -999)
            try node.declare("web", Self.idle)
            try node.apply()
            #expect(try OOMScore.of(process) == 0 && process.isRunning)
        }
    }

    /// Where nothing else is at stake: a kernel of our own.
    @Test(.enabled(if: TestPlace.isVirtualMachine)) func whoIsGuaranteedSurvivesAGreedyNeighbour() throws {
        try withNode { node in
            try withScarceMemory(leaving: 320 << 20) {
                // 96 MiB, guaranteed; the neighbour has many processes of a third of that: without the guarantee the kernel would end
                // the largest.
                try node.start("web", ctid: 101, "beancounters: {oomguarpages: \"65536:unlimited\"}")
                let greedy = try node.start("db", ctid: 102)
                let hold =
                    "import sys; b = b'x' * (%d << 20); print('has', flush=True); sys.stdin.readline(); print('well', flush=True)"
                let guaranteed = try GroupProgram.python(hold.replacing("%d", with: "96"), in: node.group(101))
                let first = try #require(try node.running(101))
                let score = try #require(try OOMScore.of(first))
                try KernelFile.write("\(score)", to: "/proc/\(guaranteed.process)/oom_score_adj")
                #expect(try guaranteed.line() == "has")
                var others: [GroupProgram] = []
                try TestPlace.wait("the host is exhausted") {
                    let other = try GroupProgram.python(hold.replacing("%d", with: "32"), in: node.group(102))
                    // It has ours otherwise.
                    try KernelFile.write("0", to: "/proc/\(other.process)/oom_score_adj")
                    others.append(other)
                    let isFull = try other.line() != "has"
                    return try isFull || node.group(102).usage().memoryKills ?? 0 > 0 || !guaranteed.lives
                }
                #expect(guaranteed.lives)
                #expect(others.contains { !$0.lives })
                #expect(try node.group(101).usage().memoryKills == 0)
                #expect(try #require(try node.group(102).usage().memoryKills) > 0)
                try guaranteed.say("\n")
                #expect(try guaranteed.line() == "well")
                withExtendedLifetime((others, greedy)) {}
            }
        }
    }
}
