import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// lockedpages, as programs inside meet it, and the keeper that holds it.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct LockedPagesTests {
    /// Python: `lock(n)` locks n new pages, `area(n, flags)` maps some, `unlock()` gives all back; `locked()` is what the kernel counts.
    private static let tools = """
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
        libc.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
        libc.mlock.argtypes = libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        areas = []
        def checked(done):
            if not done: raise OSError(ctypes.get_errno(), 'refused')
        def area(n, flags=0):
            at = libc.mmap(None, n * 4096, 3, 0x22 | flags, -1, 0)
            checked(at != ctypes.c_void_p(-1).value)
            areas.append((at, n))
            return at
        def grow(n):
            # What was locked last becomes n pages.
            at, before = areas[-1]
            new = libc.mremap(at, before * 4096, n * 4096, 1)
            checked(new != ctypes.c_void_p(-1).value)
            areas[-1] = (new, n)
        def lock(n): checked(libc.mlock(area(n), n * 4096) == 0)
        def unlock():
            libc.munlockall()
            for at, n in areas: libc.munmap(at, n * 4096)
            areas.clear()
        def locked(): return int([l for l in open('/proc/self/status') if l.startswith('VmLck')][0].split()[1]) // 4
        def child(text):
            # What another process answers to a text, and that process goes on until `end`.
            answers, ends = os.pipe(), os.pipe()
            if not os.fork():
                try: os.write(answers[1], str(eval(text)).encode())
                except BaseException as e: os.write(answers[1], repr(e).encode())
                os.read(ends[0], 1)
                os._exit(0)
            children.append(ends[1])
            return os.read(answers[0], 1000).decode()
        children = []
        def end():
            for e in children: os.write(e, b'x')
            for e in children: os.wait()
            children.clear()
        """

    /// A container with the tools in it; a host that cannot hold it is one without vz-keeper, which no test's is.
    private func container(_ node: TestNode, _ spec: String, _ name: String = "web", _ ctid: Int = 101) throws -> PythonContainer {
        let container = try PythonContainer(node, name, ctid, spec)
        try #require(container.enforcement(.lockedpages).isEnforced)
        _ = try container.ask(Self.tools)
        return container
    }

    /// What the kernel counts in all processes of a container.
    private func inKernel(_ node: TestNode, _ ctid: Int = 101) throws -> Int64 {
        try node.group(ctid).processes().reduce(0) { sum, pid in
            let status = (try? KernelFile.read("/proc/\(pid)/status")) ?? ""
            let line = status.split(separator: "\n").first { $0.hasPrefix("VmLck:") }
            return sum + (line.flatMap { Int64($0.split(whereSeparator: { $0 == " " || $0 == "\t" })[1]) } ?? 0) / 4
        }
    }

    /// The first of the two processes, and the spare.
    private func keepers(_ node: TestNode) -> [Int32] {
        TestNode.processes(of: node.paths.controlGroup).filter { $0.contains("vz-keeper") }
            .compactMap { $0.split(separator: " ").first.flatMap { Int32($0) } }.sorted()
    }

    @Test func moreThanTheBarrierIsRefused() throws {
        try withPythonNode { node in
            let container = try self.container(node, "beancounters: {lockedpages: 100}")
            let neighbour = try self.container(node, "", "db", 102)
            #expect(try container.ask("answer = attempt(100, lambda i: lock(10))") == "10 ENOMEM")
            var now = try container.state(.lockedpages)
            #expect(now == BeancounterState(held: 100, maxheld: 100, bounds: BarrierLimit(both: 100), failcnt: 1))
            #expect(try inKernel(node) == 100)
            // Nor another process, nor by another call.
            #expect(try container.ask("answer = child('attempt(1, lambda i: lock(1))')") == "0 ENOMEM")
            #expect(try container.ask("answer = attempt(1, lambda i: area(1, 0x2000))") == "0 ENOMEM")
            #expect(try container.ask("answer = attempt(1, lambda i: checked(libc.mlockall(1) == 0))") == "0 ENOMEM")
            #expect(try container.state(.lockedpages).failcnt == 4)
            #expect(try neighbour.ask("answer = attempt(40, lambda i: lock(10))") == "40 all")
            #expect(try neighbour.state(.lockedpages).failcnt == 0)

            try container.declare("web", "beancounters: {lockedpages: 150}")
            #expect(try node.apply().containers.flatMap(\.changes).map(\.disruption) == [.live])
            #expect(try node.plan().isEmpty)
            #expect(try container.ask("answer = attempt(100, lambda i: area(10, 0x2000))") == "5 ENOMEM")
            #expect(try inKernel(node) == 150 && container.state(.lockedpages).held == 150)
            // Less than is held ends nothing.
            try container.declare("web", "beancounters: {lockedpages: 20}")
            try node.apply()
            #expect(try inKernel(node) == 150)
            #expect(try container.ask("answer = attempt(1, lambda i: lock(1))") == "0 ENOMEM")
            #expect(try container.ask("end(); unlock(); answer = locked()") == "0")
            now = try container.state(.lockedpages)
            #expect(now.held == 0 && now.maxheld == 150 && now.failcnt == 6, "\(now)")
            #expect(try node.node().core.refusals(of: node.container())[.lockedpages] == 6)
            #expect(try container.ask("answer = attempt(100, lambda i: lock(10))") == "2 ENOMEM")
        }
    }

    @Test func nobodyIsAskedAndTheBarrierHoldsAllTheSame() throws {
        try withPythonNode { node in
            let container = try self.container(node, "beancounters: {lockedpages: 100}")
            // All that is mapped from now on is locked.
            #expect(try container.ask("answer = attempt(1, lambda i: checked(libc.mlockall(2) == 0))") == "1 all")
            let grown = try container.ask("answer = attempt(200, lambda i: area(4))")
            #expect(grown == "25 EAGAIN" || grown == "24 EAGAIN", "\(grown)")
            #expect(try (96...100).contains(inKernel(node)))
            #expect(try container.ask("answer = child('attempt(1, lambda i: lock(8))')") == "0 ENOMEM")
            _ = try container.ask("end(); unlock()")
            // What is locked grows with the share that its process was given.
            #expect(try container.ask("answer = attempt(1, lambda i: lock(50))") == "1 all")
            #expect(try container.ask("answer = child('(attempt(1, lambda i: lock(20)), locked())')") == "('1 all', 20)")
            #expect(try container.ask("answer = attempt(1, lambda i: grow(200))") == "0 EAGAIN")
            #expect(try container.ask("answer = attempt(1, lambda i: grow(60))") == "1 all")
            let (kernel, state) = (try inKernel(node), try container.state(.lockedpages))
            #expect(kernel == 80 && state.held == 80, "\(kernel), \(state)")
            // Its root can neither raise that, nor lock memory that is no process's, nor have the kernel lock it otherwise.
            let raise = "(libc.setrlimit(8, (ctypes.c_uint64 * 2)(1 << 40, 1 << 40)), attempt(1, lambda i: grow(200)))[1]"
            #expect(try container.ask("answer = \(raise)") == "0 EAGAIN")
            #expect(try container.ask("answer = attempt(1, lambda i: checked(libc.syscall(447, 0) >= 0))") == "0 ENOSYS")
            let shared = "libc.shmctl(libc.shmget(0, 4096, 0o1600), 11, 0) == 0"
            #expect(try container.ask("answer = attempt(1, lambda i: checked(\(shared)))") == "0 ENOMEM")
        }
    }

    @Test func theLastPagesAreGivenOnce() throws {
        try withPythonNode { node in
            let container = try self.container(node, "beancounters: {lockedpages: 100}")
            let race = """
                start = os.pipe()
                got = os.pipe()
                for i in range(8):
                    if not os.fork():
                        os.close(start[1]); os.read(start[0], 1)
                        os.write(got[1], attempt(1, lambda i: lock(30)).encode()[:1])
                        signal.pause()
                os.close(start[0]); os.close(start[1])
                answer = sum(int(os.read(got[0], 1)) for i in range(8))
                """
            #expect(try container.ask(race) == "3")
            #expect(try inKernel(node) == 90)
            let state = try container.state(.lockedpages)
            #expect(state.held == 90 && state.failcnt == 5, "\(state)")
        }
    }

    @Test func aKeeperThatIsKilledIsReplaced() throws {
        try withPythonNode { node in
            let container = try self.container(node, "beancounters: {lockedpages: 100}")
            #expect(try container.ask("answer = attempt(100, lambda i: lock(10))") == "10 ENOMEM")
            let busy = """
                if not os.fork():
                    wrong = set()
                    while not os.path.exists('/tmp/stop'):
                        said = attempt(1, lambda i: lock(1))
                        if said != '0 ENOMEM': wrong.add(said)
                    os.write(os.open('/tmp/wrong', os.O_WRONLY | os.O_CREAT), repr(wrong).encode())
                    os._exit(0)
                """
            _ = try container.ask("os.umask(0)\n" + busy)
            for index in [0, 1, 0, 0, 1] {
                let before = keepers(node)
                try #require(before.count == 2)
                let failures = try container.state(.lockedpages).failcnt
                #expect(kill(before[index], SIGKILL) == 0)
                TestPlace.wait("there are two again") {
                    let now = keepers(node)
                    return now.count == 2 && !now.contains(before[index])
                }
                try TestPlace.wait("it answers") { try container.state(.lockedpages).failcnt > failures }
            }
            #expect(try container.ask("open('/tmp/stop', 'w').close(); os.wait(); answer = open('/tmp/wrong').read()") == "set()")
            #expect(try inKernel(node) == 100)
            #expect(try node.plan().isEmpty)
            try container.declare("web", "beancounters: {lockedpages: 130}")
            try node.apply()
            #expect(try container.ask("answer = attempt(100, lambda i: lock(10))") == "3 ENOMEM")

            // Both at once: nobody answers, and that is told.
            for keeper in keepers(node) { kill(keeper, SIGSTOP) }
            for keeper in keepers(node) { kill(keeper, SIGKILL) }
            TestPlace.wait("both have ended") { keepers(node).isEmpty }
            #expect(try container.ask("answer = attempt(1, lambda i: lock(1))") == "0 ENOSYS")
            #expect(try node.plan().containers.flatMap(\.changes).map(\.field) == ["beancounters.lockedpages"])
            #expect(throws: KernelError.self) { try node.apply() }
        }
    }

    @Test func programsThatEnterAreHeldAndTheKeeperEndsWithTheLastContainer() throws {
        try withPythonNode { node in
            let container = try self.container(node, "beancounters: {lockedpages: 100}")
            #expect(keepers(node).count == 2)
            let script = "import ctypes, os, mmap, errno\nheld = []\n" + Self.agentAttempt + Self.tools
            try TestFile.write(script + "\nprint(attempt(100, lambda i: lock(10)))\n", to: node.root() + "/lock.py")
            #expect(try node.output("/usr/bin/python3 -S -E /lock.py") == "10 ENOMEM")
            #expect(try container.state(.lockedpages).failcnt == 1)
            // It has nothing of those who started it.
            for keeper in keepers(node) {
                let open = try Descriptor.open("/proc/\(keeper)/fd", O_RDONLY | O_DIRECTORY).names()
                #expect(open.count < 16, "\(open)")
                #expect(try !KernelFile.read("/proc/\(keeper)/cgroup").contains(node.paths.controlGroup))
                #expect(try KernelFile.read("/proc/\(keeper)/stat").split(separator: " ")[5] != "\(getsid(0))")
            }
            try node.removeManifest("web.yaml")
            try node.acknowledge()
            try node.apply()
            TestPlace.wait("the keeper ends") { keepers(node).isEmpty }
            #expect(!TestFile.exists(node.paths.run + "/keeper"))
        }
    }

    private static let agentAttempt = """
        def attempt(count, one):
            for i in range(count):
                try: one(i)
                except OSError as e: return '%d %s' % (i, errno.errorcode[e.errno])
            return '%d all' % count

        """
}
