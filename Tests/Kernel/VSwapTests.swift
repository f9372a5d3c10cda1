import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// VSwap as programs in a container meet it: above ram slow, above ram and swap killed, and no disk is written meanwhile.
@Suite(.serialized, .enabled(if: mayUseControlGroups && mayMakeSwapSpace)) struct VSwapTests {
    /// Fills as many MiB, goes over them, and says what a page took in the best of some rounds, ns; then waits.
    private static func filler(_ mebibytes: Int, rounds: Int) -> String {
        """
        import sys, mmap, time
        m = mmap.mmap(-1, \(mebibytes) << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        m.madvise(15)
        pages = range(0, len(m), 4096)
        for i in pages: m[i:i+8] = (i + 1).to_bytes(8, 'little')
        best = None
        for r in range(\(rounds)):
            t = time.monotonic_ns()
            for i in pages:
                if m[i:i+8] != (i + 1).to_bytes(8, 'little'): print('lost', i, flush=True); sys.exit(3)
            t = (time.monotonic_ns() - t) // len(pages)
            best = t if best is None else min(t, best)
        print(best, flush=True)
        sys.stdin.readline()
        """
    }

    private static func provide(_ node: TestNode) throws {
        var look = try node.node().look(remembering: true)
        _ = try node.node().provideSwap(for: &look)
        #expect(look.warnings.isEmpty, "\(look.warnings)")
    }

    @Test func aboveRamAContainerIsSlowAndNoDiskIsWritten() throws {
        try withNode { node in
            try withDiskSwap { disk in
                try node.start("web", ctid: 101, "ram: 32M\nswap: 96M")
                try Self.provide(node)
                let vswap = VSwap(controlGroup: node.paths.controlGroup)
                #expect(VSwapMechanism.ofThisHost(vswap) == .zram)
                let kills = try node.group().usage().memoryKills

                let under = try GroupProgram.python(Self.filler(12, rounds: 4), in: node.group())
                let fast = try #require(Int64(try under.line()))
                try under.say("\n")
                #expect(under.wait() == 0)

                let over = try GroupProgram.python(Self.filler(80, rounds: 2), in: node.group())
                let slow = try #require(Int64(try over.line()))
                // All of it is there, and what is not in RAM is in ours.
                let areas = try SwapArea.inUse()
                let ours = areas.filter { $0.zram != nil && $0.priority == VSwap.priority }
                #expect(ours.reduce(0) { $0 + $1.used } > 32 << 20, "\(areas)")
                #expect(areas.filter { $0.path == disk }.allSatisfy { $0.used == 0 }, "\(areas)")
                #expect(try #require(try node.group().usage().memory) <= 32 << 20)
                try over.say("\n")
                #expect(over.wait() == 0)
                #expect(slow > fast * 3 / 2, "\(slow) ns a page over ram, \(fast) ns under it")
                #expect(try node.group().usage().memoryKills == kills)
            }
        }
    }

    @Test func aboveRamAndSwapItIsKilledAndItsNeighbourIsNot() throws {
        try withNode { node in
            let one = try node.start("web", ctid: 101, "ram: 24M\nswap: 24M")
            let two = try node.start("db", ctid: 102, "ram: 32M\nswap: 32M")
            try Self.provide(node)
            let neighbour = try GroupProgram.python(Self.filler(40, rounds: 1), in: node.group(102))
            #expect(Int64(try neighbour.line()) != nil)
            let greedy = try GroupProgram.python(Self.filler(128, rounds: 1), in: node.group(101))
            #expect(try greedy.line() == "")
            #expect(greedy.wait() == -SIGKILL)
            #expect(try #require(try node.group(101).usage().memoryKills) >= 1)
            #expect(try node.group(102).usage().memoryKills == 0)
            #expect(one.isRunning && two.isRunning && neighbour.lives)
            try neighbour.say("\n")
            #expect(neighbour.wait() == 0)
        }
    }

    /// Pages that cannot be compressed take as much RAM in a zram device as before: the kernel alone would end a process sooner than
    /// write to the disk.
    @Test(.enabled(if: TestPlace.isVirtualMachine)) func theDiskIsWrittenOnlyWhileTheHostIsShort() throws {
        try withNode { node in
            try withDiskSwap { disk in
                let vswap = VSwap(controlGroup: node.paths.controlGroup)
                func ours() throws -> [VSwap.Part] { vswap.parts(try SwapArea.inUse()).filter(\.isInUse) }
                func onDisk() throws -> Int64 { try #require(SwapArea.inUse().first { $0.path == disk }?.used) }
                try node.declare("web", "ctid: 101\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]\nram: 48M\nswap: 224M\n")
                let daemon = try node.vzd()
                try TestPlace.wait("there is swap space") { try node.running() != nil && ours().count == 1 }
                let written = try writtenBytes(disk)
                let program = try GroupProgram.python(Self.incompressible(160), in: node.group())
                func goesOver() throws {
                    try program.say("\n")
                    #expect(try program.line() == "all is there")
                    #expect(try node.group().usage().memoryKills == 0)
                }
                #expect(try program.line() == "all is there")
                try goesOver()
                #expect(try ours().reduce(0) { $0 + $1.used } > 96 << 20)
                #expect(try writtenBytes(disk) == written && onDisk() == 0)

                try withScarceMemory(leaving: try HostMemory.now().total / 25) {
                    try TestPlace.wait(
                        "it is moved", until: { try ours().isEmpty && onDisk() > 96 << 20 },
                        note: { "\((try? SwapArea.inUse()) ?? []) \(daemon.log)" })
                    #expect(try writtenBytes(disk) - written > 96 << 20)
                    #expect(daemon.log.contains("the host is short of memory: "), "\(daemon.log)")
                    try goesOver()
                }
                TestPlace.wait("it is known that there is memory") { daemon.log.contains("the host has memory again: ") }
                try TestPlace.wait("there is swap space in RAM") { try ours().count == 1 }
                let (after, before) = (try writtenBytes(disk), try swappedOutBytes())
                try goesOver()
                try goesOver()
                #expect(try ours().reduce(0) { $0 + $1.used } > 16 << 20)
                // What has kept its place on the disk, and the places that each CPU has put by, are used yet.
                let (more, swapped) = (try writtenBytes(disk) - after, try swappedOutBytes() - before)
                #expect(swapped > 32 << 20 && more < swapped / 10, "\(more) of \(swapped)")
                try program.say("end\n")
                #expect(program.wait() == 0)
            }
        }
    }

    /// Fills as many MiB with what cannot be compressed, and goes over them as often as it is told to.
    private static func incompressible(_ mebibytes: Int) -> String {
        """
        import mmap, os, sys
        m = mmap.mmap(-1, \(mebibytes) << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        m.madvise(15)
        noise = os.urandom(1 << 20)
        for i in range(0, len(m), 4096):
            start = i // 4096 * 7919 % ((1 << 20) - 4096)
            m[i:i+4096] = i.to_bytes(8, 'little') + noise[start:start+4088]
        while True:
            for i in range(0, len(m), 4096):
                if m[i:i+8] != i.to_bytes(8, 'little'): print('lost', i, flush=True); sys.exit(3)
                m[i+4000:i+4008] = m[i+4008:i+4016]
            print('all is there', flush=True)
            if sys.stdin.readline() != '\\n': break
        """
    }

    @Test func ramAndSwapAreChangedUnderABusyContainer() throws {
        try withNode { node in
            let process = try node.start("web", ctid: 101, "ram: 128M\nswap: 32M")
            try Self.provide(node)
            let program = try GroupProgram.python(
                """
                import mmap, sys, threading
                m = mmap.mmap(-1, 40 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
                m.madvise(15)
                rounds = 0
                def work():
                    global rounds
                    while True:
                        for i in range(0, len(m), 4096): m[i] = (m[i] + 1) & 255
                        rounds += 1
                threading.Thread(target=work, daemon=True).start()
                while rounds < 1: pass
                print('busy', flush=True)
                for line in sys.stdin: print(rounds, flush=True)
                """, in: node.group())
            #expect(try program.line() == "busy")
            func goesOn() throws {
                try program.say("\n")
                #expect(Int64(try program.line()) != nil)
                #expect(program.lives && process.isRunning)
                #expect(try node.group().usage().memoryKills == 0)
            }
            func set(_ lines: String) throws {
                try node.declare("web", "ctid: 101\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]\n" + lines)
                try node.apply()
                #expect(try node.plan().isEmpty)
                try goesOn()
            }
            func limits() throws -> MemoryLimits { try node.group().memory() }
            // Below what is in use, with more swap; swap up and ram down; swap down and ram up; both up; both down.
            for (ram, swap) in [(32, 64), (24, 96), (128, 16), (160, 64), (96, 32)] {
                try set("ram: \(ram)M\nswap: \(swap)M")
                #expect(try limits() == MemoryLimits(max: Int64(ram) << 20, swap: Int64(swap) << 20))
            }
            // Here it cannot be: it is told, and all stays as it is.
            let before = try limits()
            try node.declare("web", "ctid: 101\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]\nram: 12M\nswap: 4M")
            #expect {
                try node.apply()
            } throws: { error in
                String(describing: error).contains("the old limit stays")
            }
            #expect(try limits() == before)
            try goesOn()
        }
    }

    /// A limit is lowered while the container is stopped (v1) or slowed (v2).
    @Test func whoIsKilledWhileALimitGoesDownLeavesNothingStopped() throws {
        try withNode { node in
            let lines = "ctid: 101\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]\nswap: 64M\nram: "
            try node.start("web", ctid: 101, "ram: 64M\nswap: 64M")
            let program = try GroupProgram.python(
                """
                import ctypes, mmap, sys
                m = mmap.mmap(-1, 24 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
                place = ctypes.c_char.from_buffer(m)
                print(ctypes.CDLL(None).mlock(ctypes.byref(place), ctypes.c_size_t(len(m))), flush=True)
                for line in sys.stdin: print('goes on', flush=True)
                """, in: node.group())
            #expect(try program.line() == "0")
            let isV1 = node.controlGroups.version(of: .memory) == .v1
            func isHeld() throws -> Bool {
                isV1
                    ? try !node.controlGroupFile("freezer.state", of: .freezer).hasPrefix("THAWED")
                    : try !node.controlGroupFile("memory.high", of: .memory).hasPrefix("max")
            }
            try node.declare("web", lines + "12M")
            let setter = try node.spawn(["\(TestPlace.programs)/vzctl", "apply"])
            try TestPlace.wait("it is held", until: isHeld, note: { setter.log })
            #expect(setter.isRunning)
            setter.kill()
            try TestPlace.wait("it is let go") { try !isHeld() }
            try program.say("\n")
            #expect(try program.line() == "goes on")
            try node.declare("web", lines + "64M")
            try node.apply()
            #expect(try node.plan().isEmpty && node.group().memory().max == 64 << 20)

            // What cannot be reclaimed in bounded time is told, and the old limit stays.
            try node.declare("web", lines + "12M")
            #expect { try node.apply() } throws: { "\($0)".contains("cannot be reclaimed in time; the old limit stays") }
            #expect(try node.group().memory().max == 64 << 20 && !isHeld())
            try program.say("\n")
            #expect(try program.line() == "goes on")
            #expect(try node.group().usage().memoryKills == 0)
        }
    }

    @Test func theDaemonMakesSwapSpaceOnceAndTakesItAway() throws {
        try withNode { node in
            let vswap = VSwap(controlGroup: node.paths.controlGroup)
            func parts() throws -> [VSwap.Part] { vswap.parts(try SwapArea.inUse()) }
            let lines = "ctid: 101\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]\nram: 32M\n"
            try node.declare("web", lines)
            let first = try node.vzd()
            try TestPlace.wait("the container runs") { try node.running() != nil }
            #expect(try parts().isEmpty)
            try node.declare("web", lines + "swap: 64M")
            try TestPlace.wait("there is swap space") { try parts().contains { $0.isInUse } }
            let made = try parts()
            #expect(made.count == 1 && made[0].size >= 64 << 20)
            // Killed and started again it knows what is its own.
            first.kill()
            let second = try node.vzd()
            try node.declare("web", lines + "swap: 72M")
            let wanted: Int64 = 72 << 20
            try TestPlace.wait("the second one is at work") { try node.group().memory().swap == wanted }
            #expect(try parts() == made)
            try node.declare("web", lines)
            let isGone = { try parts().isEmpty && made[0].device.size == nil }
            try TestPlace.wait("it is taken away", until: isGone, note: { second.log })
        }
    }

    @Test func whatAKilledMakerLeftIsTakenAway() throws {
        try withNode { node in
            let vswap = VSwap(controlGroup: node.paths.controlGroup)
            let ram: Int64 = 16 << 30
            #expect(try vswap.provide(32 << 20, ram: ram, isShort: false).done.count == 1)
            let part = try #require(vswap.parts(try SwapArea.inUse()).first)
            try Command.run(["swapoff", part.device.path])
            // Another node's are none of ours.
            #expect(VSwap(controlGroup: "vz-test-other").parts([]).isEmpty)
            #expect(try vswap.provide(0, ram: ram, isShort: false).done.count == 1)
            #expect(vswap.parts(try SwapArea.inUse()).isEmpty && part.device.size == nil)
            #expect(try vswap.provide(0, ram: ram, isShort: false).done.isEmpty)
        }
    }
}
