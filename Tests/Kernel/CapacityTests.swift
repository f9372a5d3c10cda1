import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZPlan

/// What containers hold, as the kernel counts it and as `vzctl capacity` shows it.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct CapacityTests {
    private static let mib: Int64 = 1 << 20

    @Test func allocationsCountUsedOrNotAndOncePerProcess() throws {
        try withControlGroups { tree in
            let group = try tree.group("101")
            try group.create()
            #expect(try group.allocations() == 0)
            let script = """
                import mmap, os, signal, sys, threading
                print("ready", flush=True)
                sys.stdin.readline()
                area = mmap.mmap(-1, 256 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
                print("allocated", flush=True)
                sys.stdin.readline()
                children = []
                for n in range(50):
                    children.append(os.fork())
                    if children[-1] == 0:
                        signal.pause()
                print("forked", flush=True)
                sys.stdin.readline()
                for child in children:
                    os.kill(child, signal.SIGKILL)
                print("killed", flush=True)
                sys.stdin.readline()
                """
            let program = try GroupProgram.python(script, in: group)
            #expect(try program.line() == "ready")
            let (before, first) = (try group.allocations(), try group.usage())
            try program.say("\n")
            #expect(try program.line() == "allocated")
            #expect(try group.allocations() == before + 256 * Self.mib)
            #expect(try #require(try group.usage().memory) < 256 * Self.mib)
            try program.say("\n")
            #expect(try program.line() == "forked")
            #expect(try group.allocations() > 51 * 256 * Self.mib)
            // Each process has a stack of 16 KiB in the kernel and tables of its pages, at the least. Linux before 5.18 cannot tell.
            if let kernel = first.kernel {
                #expect(try #require(try group.usage().kernel) > kernel + Self.mib)
                #expect(kernel > 0)
            }
            // They are killed and nobody waits for them: zombies hold nothing.
            try program.say("\n")
            #expect(try program.line() == "killed")
            try TestPlace.wait("zombies have no memory") { try group.allocations() < 2 * 256 * Self.mib }
        }
    }

    @Test func vzctlShowsWhatIsHeld() throws {
        try withNode { node in
            try node.declare("down", "ctid: 102\nstate: stopped\ntemplate: busybox\nram: 64M\nswap: 0")
            try node.start("web", ctid: 101, "ram: 512M\nswap: 0")
            _ = try node.output("dd if=/dev/zero of=/dev/shm/big bs=1M count=128 2>&1")
            _ = try node.output("i=0; while [ $i -lt 50 ]; do sleep 1000000 & i=$((i+1)); done")
            func held() throws -> Held { Held(usage: try node.group().usage(), allocations: try node.group().allocations()) }
            // Programs that were started a moment ago take memory and give it back: what is shown is compared when they rest.
            var (before, table, after) = (try held(), try node.vzctl("capacity"), try held())
            try TestPlace.wait("the container rests") {
                if before == after { return true }
                (before, table, after) = (after, try node.vzctl("capacity"), try held())
                return false
            }
            let (usage, allocations) = (after.usage, after.allocations)
            #expect(table.exit == .code(0) && table.errors == "", "\(table)")
            #expect(cells("down", table.output).enumerated().allSatisfy { Self.held.contains($0.offset) == ($0.element == "-") })
            let ram = try number("MemTotal:", in: "/proc/meminfo") << 10
            let threads = try number("", in: "/proc/sys/kernel/threads-max")
            let swap = try number("SwapTotal:", in: "/proc/meminfo") << 10
            let web = cells("web", table.output)
            // The kernel adds up what CPUs count each for itself, and so may be some pages late; and there is rounding.
            func isClose(_ index: Int, _ part: Int64, _ whole: Int64, slack: Int64 = Self.mib) -> Bool {
                guard let shown = Double(web[index]) else { return false }
                return abs(shown - Double(part) / Double(whole) * 100) < Double(slack) / Double(whole) * 100 + 0.01
            }
            let (kernel, memory) = (usage.kernel ?? 0, try #require(usage.memory))
            #expect(usage.kernel == nil ? web[0] == "-" : isClose(0, kernel, ram * 2 / 5), "\(web) \(usage)")
            #expect(isClose(2, memory, ram) && memory > 128 * Self.mib, "\(web) \(usage)")
            #expect(usage.swap.map { isClose(4, memory + $0, ram + swap) } ?? (web[4] == "-"), "\(web) \(usage)")
            #expect(isClose(6, allocations + kernel, ram + swap), "\(web) \(allocations)")
            #expect(isClose(9, try #require(usage.pids), threads, slack: 0) && usage.pids == 51, "\(web) \(usage)")
            // Only it runs: it holds what all hold.
            let all = cells("all, % of the host", table.output)
            for column in Self.held { #expect(all[column] == web[column]) }

            let given = try node.vzctl("capacity", "\(node.paths.manifests[0])/web.yaml")
            for column in Self.held { #expect(cells("web", given.output)[column] == "-") }
            #expect(try node.plan().isEmpty)
        }
    }

    private struct Held: Equatable {
        var usage: ControlGroupUsage
        var allocations: Int64

        static func == (a: Self, b: Self) -> Bool {
            a.usage.memory == b.usage.memory && a.usage.kernel == b.usage.kernel && a.usage.pids == b.usage.pids
                && a.allocations == b.allocations
        }
    }

    /// The columns of what is held, without the first one of names.
    private static let held: Set = [0, 2, 4, 6, 9]

    /// The eleven cells behind a row's name.
    private func cells(_ name: String, _ table: String) -> [String] {
        let row = table.split(separator: "\n").first { $0.hasPrefix(name + " ") } ?? ""
        let cells = row.split(separator: " ").suffix(11).map(String.init)
        #expect(cells.count == 11, "no row \(name) in \(table)")
        return cells.count == 11 ? cells : Array(repeating: "", count: 11)
    }

    private func number(_ key: String, in file: String) throws -> Int64 {
        let line = try #require(try KernelFile.read(file).split(separator: "\n").first { $0.hasPrefix(key) })
        return try #require(Int64(line.dropFirst(key.count).split(separator: " ").first ?? ""))
    }
}
