import Glibc
import Testing

@testable import VZKernel

/// Settings: what is written is what is read, and what a program in the group gets to feel.
@Suite(.enabled(if: mayUseControlGroups)) struct ControlGroupLimitsTests {
    private func withGroup(_ body: (ControlGroup) throws -> Void) throws {
        try withControlGroups { tree in
            let group = try tree.group("101")
            try group.create()
            try body(group)
        }
    }

    private func errno(_ body: () throws -> Void) -> Int32? {
        do {
            try body()
            return nil
        } catch {
            return (error as? KernelError)?.errno
        }
    }

    // MARK: - Written and read

    @Test func aNewGroupHasTheKernelsDefaults() throws {
        try withGroup { group in
            let memory = try group.memory()
            #expect(memory == MemoryLimits(max: nil, swap: nil))
            #expect(try group.cpuWeight() == group.tree.cpuWeightScale.default)
            #expect(try group.cpuQuota() == nil)
            #expect(try group.pidsMax() == nil)
            if group.tree.unsupported(.ioWeight) == nil {
                #expect(try group.ioWeight() == group.tree.ioWeightScale.default)
            }
        }
    }

    @Test func whatIsNotThereSaysSo() throws {
        try withControlGroups { tree in
            let group = try tree.group("101")
            #expect(errno { _ = try group.cpuWeight() } == ENOENT)
            #expect(errno { _ = try group.cpuQuota() } == ENOENT)
            #expect(errno { _ = try group.memory() } == ENOENT)
            #expect(errno { _ = try group.pidsMax() } == ENOENT)
            #expect(errno { _ = try group.usage() } == ENOENT)
            #expect(errno { try group.setCPUWeight(100) } == ENOENT)
            #expect(errno { try group.setMemory(max: 1 << 30, swap: 0) } == ENOENT)
            if tree.unsupported(.ioWeight) == nil { #expect(errno { _ = try group.ioWeight() } == ENOENT) }
        }
    }

    @Test func weights() throws {
        try withGroup { group in
            let range = group.tree.cpuWeightScale.range
            for weight in [range.lowerBound, 777, range.upperBound] {
                try group.setCPUWeight(weight)
                #expect(try group.cpuWeight() == weight)
            }
            if group.tree.version(of: .cpu) == .v2 {
                #expect(errno { try group.setCPUWeight(range.upperBound + 1) } == ERANGE)
                #expect(try group.cpuWeight() == range.upperBound)
            }
            guard group.tree.unsupported(.ioWeight) == nil else { return }
            for weight in [Int64(1), 320, 1000] {
                try group.setIOWeight(weight)
                #expect(try group.ioWeight() == weight)
            }
            #expect(errno { try group.setIOWeight(100_000) } != nil)
            // Two files hold it on some kernels: one changed by hand is not taken for the whole.
            guard let io = group.tree.hierarchy(of: .io), io.has("io.weight", in: group.path),
                io.has("io.bfq.weight", in: group.path)
            else { return }
            try KernelFile.write("500", to: "\(group.path)/io.bfq.weight", at: io.directory)
            #expect(try group.ioWeight() == nil)
        }
    }

    @Test func quotas() throws {
        try withGroup { group in
            let quotas: [CPUQuota?] = [
                CPUQuota(quota: 1000), CPUQuota(quota: 250_000), nil, CPUQuota(quota: 5000, period: 50_000),
                CPUQuota(quota: 20_000),
                CPUQuota(quota: 1000, period: 1_000_000), CPUQuota(quota: 6_400_000, period: 100_000), nil, nil,
            ]
            for quota in quotas {
                try group.setCPUQuota(quota)
                #expect(try group.cpuQuota() == quota)
            }
            for quota in [CPUQuota(quota: 0), CPUQuota(quota: -1), CPUQuota(quota: 1000, period: 2_000_000)] {
                #expect(errno { try group.setCPUQuota(quota) } == EINVAL)
                #expect(try group.cpuQuota() == nil)
            }
        }
    }

    @Test func cpuSets() throws {
        try withGroup { group in
            let available = try #require(try group.tree.available(.cpus))
            // All is a list of all, or on v2 none.
            let all = [nil, available]
            let nodes = [nil, try group.tree.available(.memoryNodes)]
            #expect(try all.contains(group.cpus()) && nodes.contains(group.memoryNodes()))
            try group.setCPUs("0")
            #expect(try group.cpus() == "0")
            let refusals: [Int32?] = [EINVAL, EACCES, ERANGE]
            #expect(refusals.contains(errno { try group.setCPUs("4095") }))
            #expect(refusals.contains(errno { try group.setMemoryNodes("1000") }))
            // Nobody in it, somebody in it: either way a mask can be taken away.
            try group.setCPUs(nil)
            #expect(try all.contains(group.cpus()))
            let program = try GroupProgram(["/bin/cat"], in: group)
            for list in ["0", nil, nil] {
                try group.setCPUs(list)
                try group.setMemoryNodes(list)
                let status = try KernelFile.read("/proc/\(program.process)/status")
                #expect(status.contains("Cpus_allowed_list:\t\(list ?? available)\n"))
            }
            #expect(try all.contains(group.cpus()) && nodes.contains(group.memoryNodes()))
            #expect(errno { _ = try group.tree.group("102").cpus() } == ENOENT)
            #expect(errno { try group.tree.group("102").setCPUs(nil) } == ENOENT)
        }
    }

    @Test func numbersOfProcesses() throws {
        try withGroup { group in
            for max in [0, 1, 240, group.tree.pidsMaxRange.upperBound, nil, 32] as [Int64?] {
                try group.setPIDsMax(max)
                #expect(try group.pidsMax() == max)
            }
            for max in [-1, group.tree.pidsMaxRange.upperBound + 1] {
                #expect(errno { try group.setPIDsMax(max) } == EINVAL)
                #expect(try group.pidsMax() == 32)
            }
        }
    }

    private static let mib: Int64 = 1 << 20

    /// Every way from one pair to another: RAM up while the sum goes down, and so on.
    @Test func memoryInAnyOrder() throws {
        try withGroup { group in
            let mib = Self.mib
            let swapIsCounted = group.tree.unsupported(.swapMax) == nil
            var pairs: [MemoryLimits] = [
                MemoryLimits(max: nil, swap: nil), MemoryLimits(max: 64 * mib, swap: nil), MemoryLimits(max: 4096, swap: nil),
            ]
            if swapIsCounted {
                for max in [4096, 32 * mib, 64 * mib, 1024 * mib] {
                    for swap in [0, 4096, 64 * mib, 4096 * mib] { pairs.append(MemoryLimits(max: max, swap: swap)) }
                }
                if group.tree.version(of: .memory) == .v2 {
                    pairs += [MemoryLimits(max: nil, swap: 0), MemoryLimits(max: nil, swap: 64 * mib)]
                }
            }
            for before in pairs {
                for after in pairs {
                    try group.setMemory(max: before.max, swap: before.swap)
                    try group.setMemory(max: after.max, swap: after.swap)
                    #expect(try group.memory() == after, "from \(before) to \(after)")
                }
            }
        }
    }

    @Test func memoryIsRoundedToPagesAndBounded() throws {
        try withGroup { group in
            let swap: Int64? = group.tree.unsupported(.swapMax) == nil ? 8191 : nil
            try group.setMemory(max: 10 * Self.mib + 1, swap: swap)
            #expect(try group.memory() == MemoryLimits(max: 10 * Self.mib, swap: swap.map { _ in 4096 }))
            try group.setMemory(max: .max, swap: nil)
            #expect(try group.memory() == MemoryLimits(max: nil, swap: nil))
            #expect(errno { try group.setMemory(max: -1, swap: nil) } == EINVAL)
            #expect(errno { try group.setMemory(max: 4096, swap: -4096) } == EINVAL)
            if group.tree.version(of: .memory) == .v1 {
                #expect(errno { try group.setMemory(max: nil, swap: 0) } == EINVAL)
                #expect(try group.memory() == MemoryLimits(max: nil, swap: nil))
            }
        }
    }

    // MARK: - Felt by a program

    @Test func oneForkMoreThanAllowedIsRefused() throws {
        try withGroup { group in
            try group.setPIDsMax(10)
            let script = """
                import os, signal, sys, errno
                def go():
                    n = 0
                    try:
                        while True:
                            if os.fork() == 0:
                                signal.pause()
                            n += 1
                    except OSError as e:
                        print(n, errno.errorcode[e.errno], flush=True)
                go()
                sys.stdin.readline()
                go()
                sys.stdin.readline()
                """
            let program = try GroupProgram.python(script, in: group)
            #expect(try program.line() == "9 EAGAIN")
            var usage = try group.usage()
            #expect(usage.pids == 10)
            #expect(usage.pidsPeak == nil || usage.pidsPeak == 10)
            #expect(usage.pidsFailures == 1)
            #expect(try group.processes().count == 10)
            // While it runs: more, and below what there is.
            try group.setPIDsMax(15)
            try program.say("\n")
            #expect(try program.line() == "5 EAGAIN")
            try group.setPIDsMax(3)
            #expect(try group.processes().count == 15)
            usage = try group.usage()
            #expect(usage.pidsFailures == 2)
            #expect(try group.pidsMax() == 3)
        }
    }

    @Test func moreMemoryThanAllowedEndsTheProgram() throws {
        try withGroup { group in
            let swap: Int64? = group.tree.unsupported(.swapMax) == nil ? 0 : nil
            try group.setMemory(max: 32 * Self.mib, swap: swap)
            let small = try GroupProgram.python("b = b'x' * (8 << 20); print(len(b), flush=True)", in: group)
            #expect(try small.line() == "8388608")
            #expect(small.wait() == 0)
            #expect(try group.usage().memoryKills == 0)
            let large = try GroupProgram.python("b = b'x' * (64 << 20); print(len(b), flush=True)", in: group)
            #expect(try large.line() == "")
            #expect(large.wait() == -SIGKILL)
            let usage = try group.usage()
            #expect(usage.memoryKills == 1)
            #expect((usage.memoryPeak ?? 0) <= 32 * Self.mib)
            #expect((usage.memoryPeak ?? 32 * Self.mib) > 24 * Self.mib)
        }
    }

    /// Neither version ends the program, and what cannot be had leaves the old limits.
    @Test func aLimitOfMemoryBelowWhatIsInUseIsRefused() throws {
        try withGroup { group in
            let mib = Self.mib
            let swap: Int64? = group.tree.unsupported(.swapMax) == nil ? 0 : nil
            let before = MemoryLimits(max: 256 * mib, swap: swap)
            try group.setMemory(max: before.max, swap: before.swap)
            let program = try GroupProgram.python(
                """
                import sys, mmap, ctypes
                # Locked: no swap space takes it.
                m = mmap.mmap(-1, 48 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
                for i in range(0, len(m), 4096): m[i] = 1
                ctypes.CDLL(None).mlockall(1)
                print(len(m), flush=True); sys.stdin.readline(); print('well', flush=True)
                """, in: group)
            #expect(try program.line() == "50331648")
            let began = ContinuousClock.now
            #expect {
                try group.setMemory(max: 16 * mib, swap: swap)
            } throws: { error in
                (error as? KernelError)?.errno == EBUSY && String(describing: error).contains("the old limit stays")
            }
            #expect(began.duration(to: .now) < ControlGroupReclaim.patience.all + TestPlace.patience)
            #expect(try group.memory() == before)
            #expect(try group.usage().memoryKills == 0)
            // Raising both is no problem meanwhile, nor is lowering to what there is room for.
            try group.setMemory(max: 300 * mib, swap: swap)
            try group.setMemory(max: 100 * mib, swap: swap)
            #expect(try group.memory() == MemoryLimits(max: 100 * mib, swap: swap))
            #expect(program.lives)
            try program.say("\n")
            #expect(try program.line() == "well")
            #expect(program.wait() == 0)
            // And now it fits.
            try group.setMemory(max: 16 * mib, swap: swap)
            #expect(try group.memory() == MemoryLimits(max: 16 * mib, swap: swap))
        }
    }

    /// The page cache is given back; nobody is slowed for longer than that takes.
    @Test func aLimitOfMemoryBelowTheCacheReclaimsIt() throws {
        try withGroup { group in
            let mib = Self.mib
            let swap: Int64? = group.tree.unsupported(.swapMax) == nil ? 0 : nil
            try group.setMemory(max: 256 * mib, swap: swap)
            let file = "\(TestPlace.directory)/cache-\(getpid())"
            defer { unlink(file) }
            let program = try GroupProgram.python(
                """
                import sys, os
                f = open('\(file)', 'wb')
                for i in range(64): f.write(b'x' * (1 << 20))
                f.flush(); os.fsync(f.fileno()); print('written', flush=True)
                for line in sys.stdin: print('well', flush=True)
                """, in: group)
            #expect(try program.line() == "written")
            #expect(try #require(try group.usage().memory) > 48 * mib)
            try group.setMemory(max: 24 * mib, swap: swap)
            #expect(try group.memory() == MemoryLimits(max: 24 * mib, swap: swap))
            #expect(try #require(try group.usage().memory) <= 24 * mib)
            if group.tree.version(of: .memory) == .v2 {
                let hierarchy = try #require(group.tree.unified)
                #expect(try KernelFile.read("\(group.path)/memory.high", at: hierarchy.directory) == "max")
            }
            try program.say("\n")
            #expect(try program.line() == "well")
            #expect(try group.usage().memoryKills == 0)
        }
    }

    @Test func aQuotaSlowsAProgramDown() throws {
        try withGroup { group in
            try group.setCPUQuota(CPUQuota(quota: 20_000))
            let script = "import time\nt = time.monotonic()\nwhile time.monotonic() - t < 1.5: pass"
            let start = ContinuousClock.now
            let program = try GroupProgram.python(script, in: group)
            #expect(program.wait() == 0)
            let wall = start.duration(to: .now) / .nanoseconds(1)
            let used = Double(try #require(try group.usage().cpu))
            #expect(used > 0)
            #expect(used / wall < 0.3, "\(used / 1e6) ms of CPU in \(wall / 1e6) ms")
        }
    }
}
