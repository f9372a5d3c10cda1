import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// Beancounters as programs inside meet them. Where this kernel lets none be enforced, the plan has to say so.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct BeancounterTests {
    /// Something that is counted one by one.
    struct Countable: CustomTestStringConvertible, Sendable {
        var beancounter: Beancounter
        /// Python: makes the i-th.
        var one: String
        var errno: String
        /// What it takes.
        var before = ""
        var testDescription: String { "\(beancounter.rawValue) \(one)" }
    }

    private static let countables = [
        Countable(beancounter: .numfile, one: "os.open('/dev/null', os.O_RDONLY)", errno: "ENFILE"),
        Countable(beancounter: .numtcpsock, one: "socket.socket(socket.AF_INET, socket.SOCK_STREAM)", errno: "ENOBUFS"),
        Countable(beancounter: .numtcpsock, one: "socket.socket(socket.AF_INET6, socket.SOCK_STREAM)", errno: "ENOBUFS"),
        Countable(beancounter: .numothersock, one: "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)", errno: "ENOBUFS"),
        Countable(beancounter: .numothersock, one: "socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)", errno: "ENOBUFS"),
        Countable(beancounter: .numothersock, one: "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)", errno: "ENOBUFS"),
        Countable(
            beancounter: .numflock,
            one: "(lambda f: (fcntl.flock(f, fcntl.LOCK_EX), f)[1])(open('/tmp/lock-%d' % i, 'w'))", errno: "ENOLCK"),
        Countable(
            beancounter: .numflock, one: "fcntl.lockf(ranges, fcntl.LOCK_EX, 1, 2 * i)", errno: "ENOLCK",
            before: "ranges = open('/tmp/ranges', 'w'); held.append([ranges])"),
    ]

    private static func isCounted(_ what: Countable, _ container: PythonContainer) throws -> Bool {
        guard try container.enforcement(what.beancounter).isEnforced else { return false }
        // Programs of control groups see no others.
        let tier = try container.node.node().core.host.beancounters.tier
        return tier != .groups || what.one.contains("AF_INET")
    }

    /// Without this a kernel that takes none would pass every other test here.
    @Test func theProgramsAreThere() throws {
        try withNode { node in
            let core = try node.node().core
            let support = core.host.beancounters
            #expect(support.problem == nil && core.beancounterTrouble == nil)
            // The stock kernel in the virtual machine has the BPF LSM.
            if TestPlace.isVirtualMachine { #expect(support.tier == .lsm, "\(support)") }
            #expect(support.tier != .none && support.programs.contains("user_beancounters"), "\(support)")
        }
    }

    @Test(arguments: countables) func whatIsCountedOneByOneIsRefusedAtTheBarrier(_ what: Countable) throws {
        try withPythonNode { node in
            let name = what.beancounter.rawValue
            let container = try PythonContainer(node, "web", 101, "")
            guard try Self.isCounted(what, container) else { return try expectTold(what.beancounter, container) }
            let neighbour = try PythonContainer(node, "db", 102, "")
            for one in [container, neighbour] { _ = try one.ask(what.before) }
            let before = try container.state(what.beancounter)
            let bound = before.held + 20
            try container.declare("web", "beancounters: {\(name): \(bound)}")
            #expect(try node.apply().containers.flatMap(\.changes).map(\.field) == ["beancounters.\(name)"])

            let attempt = "answer = attempt(60, lambda i: \(what.one))"
            #expect(try container.ask(attempt) == "20 \(what.errno)")
            var now = try container.state(what.beancounter)
            #expect(now.held == bound && now.maxheld == bound && now.failcnt == before.failcnt + 1, "\(now)")
            // A neighbour and the host have their own.
            #expect(try neighbour.ask(attempt) == "60 all")
            #expect(try neighbour.state(what.beancounter).failcnt == 0)
            var files: [Descriptor] = []
            for _ in 0..<60 { files.append(try Descriptor.open("/dev/null", O_RDONLY)) }
            #expect(try container.state(what.beancounter).held == bound)

            // More, live; less than is held ends nothing.
            try container.declare("web", "beancounters: {\(name): \(bound + 10)}")
            #expect(try node.apply().containers.flatMap(\.changes).map(\.disruption) == [.live])
            let others = what.one.replacing("lock-%d", with: "more-%d").replacing("2 * i", with: "1000 + 2 * i")
            #expect(try container.ask("answer = attempt(60, lambda i: \(others))") == "10 \(what.errno)")
            try container.declare("web", "beancounters: {\(name): \(max(before.held, 1))}")
            try node.apply()
            #expect(try container.ask("answer = 'alive'") == "alive")
            #expect(try container.state(what.beancounter).held == bound + 10)

            _ = try container.ask("drop()")
            try TestPlace.wait("all is given back") { try container.state(what.beancounter).held == before.held }
            now = try container.state(what.beancounter)
            #expect(now.failcnt == before.failcnt + 2 && now.maxheld == bound + 10, "\(now)")
            // It is the kernel's: who looks anew finds the same.
            #expect(try Node(paths: node.paths).core.refusals(of: node.container())[what.beancounter] == now.failcnt)
            withExtendedLifetime(files) {}
        }
    }

    /// Where it is not enforced, the plan says so, and the container runs.
    private func expectTold(_ beancounter: Beancounter, _ container: PythonContainer) throws {
        guard try !container.enforcement(beancounter).isEnforced else { return }
        try container.declare("web", "beancounters: {\(beancounter.rawValue): 50}")
        let plan = try container.node.apply()
        #expect(plan.containers.flatMap(\.unsupported).map(\.field) == ["beancounters.\(beancounter.rawValue)"])
        #expect(plan.containers.flatMap(\.changes).isEmpty)
        #expect(try container.ask("answer = 'alive'") == "alive")
    }

    @Test func privvmpagesIsWhatTheKernelCallsDataAndStack() throws {
        try withPythonNode { node in
            let container = try PythonContainer(node, "web", 101, "")
            guard try container.enforcement(.privvmpages).isEnforced else { return try expectTold(.privvmpages, container) }
            let held = try container.state(.privvmpages).held
            #expect(held == (try node.group().allocations()) / 4096)
            try container.declare("web", "beancounters: {privvmpages: \(held + 5000)}")
            try node.apply()
            let map = "answer = attempt(100, lambda i: mmap.mmap(-1, 1 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))"
            let answer = try container.ask(map)
            #expect(answer.hasSuffix("ENOMEM") && (15...20).contains(Int(answer.split(separator: " ")[0]) ?? 0), "\(answer)")
            #expect(try container.state(.privvmpages).failcnt >= 1)
            #expect(try container.state(.privvmpages).held == (try node.group().allocations()) / 4096)
            _ = try container.ask("drop()")
            try container.declare("web", "beancounters: {privvmpages: \(held + 50_000)}")
            try node.apply()
            #expect(try container.ask(map) == "100 all")
            _ = try container.ask("drop()")
            #expect(try container.state(.privvmpages).held == (try node.group().allocations()) / 4096)
        }
    }

    @Test func vmOvercommitBoundsPrivvmpages() throws {
        try withPythonNode { node in
            let container = try PythonContainer(node, "web", 101, "ram: 64M\nswap: 0\nvm_overcommit: 1.5")
            let bound = 64 * 256 * 3 / 2
            guard try container.enforcement(.privvmpages).isEnforced else {
                #expect(try node.plan().containers.flatMap(\.unsupported).map(\.field) == ["vm_overcommit"])
                return
            }
            #expect(try container.state(.privvmpages).bounds == BarrierLimit(both: Int64(bound)))
            #expect(try container.state(.physpages).bounds == BarrierLimit(barrier: 0, limit: 64 * 256))
            let answer = try container.ask(
                "answer = attempt(100, lambda i: mmap.mmap(-1, 4 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))")
            #expect(answer.hasSuffix("ENOMEM"), "\(answer)")
        }
    }

    @Test func queuedSignalsAreRefusedAtNumsiginfo() throws {
        try withPythonNode { node in
            let container = try PythonContainer(node, "web", 101, "beancounters: {numsiginfo: 30}")
            guard try container.enforcement(.numsiginfo).isEnforced else { return try expectTold(.numsiginfo, container) }
            let queue = """
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN + 1])
                libc = ctypes.CDLL(None, use_errno=True)
                def one(i):
                    if libc.sigqueue(os.getpid(), signal.SIGRTMIN + 1, ctypes.c_void_p(0)) != 0:
                        raise OSError(ctypes.get_errno(), 'sigqueue')
                answer = attempt(100, one)
                """
            #expect(try container.ask(queue) == "30 EAGAIN")
            #expect(try container.state(.numsiginfo).held == 30 && container.state(.numsiginfo).failcnt == 1)
            // What kill(2) sends is delivered all the same.
            #expect(try container.ask("os.kill(os.getpid(), signal.SIGRTMIN + 1); answer = 'sent'") == "sent")
            try container.declare("web", "beancounters: {numsiginfo: 45}")
            try node.apply()
            #expect(try container.ask(queue) == "14 EAGAIN")
            _ = try container.ask("while signal.sigtimedwait([signal.SIGRTMIN + 1], 0): pass")
            #expect(try container.state(.numsiginfo).held == 0 && container.state(.numsiginfo).maxheld == 45)
        }
    }

    @Test func kmemsizeRefusesWhatTakesMuchOfIt() throws {
        try withPythonNode { node in
            let container = try PythonContainer(node, "web", 101, "")
            guard try container.enforcement(.kmemsize).isEnforced else { return try expectTold(.kmemsize, container) }
            try container.declare("web", "beancounters: {kmemsize: \"8192:16384\"}")
            try node.apply()
            #expect(try container.ask("answer = attempt(1, lambda i: os.fork() or os._exit(0))") == "0 ENOMEM")
            #expect(try container.state(.kmemsize).failcnt >= 1)
            try container.declare("web", "beancounters: {kmemsize: unlimited}")
            try node.apply()
            #expect(try container.ask("pid = os.fork() or os._exit(7); answer = os.waitpid(pid, 0)[1] >> 8") == "7")
        }
    }

    @Test func aContainerThatRunsIsCountedFromThenOn() throws {
        try withPythonNode { node in
            let container = try PythonContainer(node, "web", 101, "")
            guard try container.enforcement(.numfile).isEnforced else { return }
            let fill = """
                attempt(25, lambda i: os.open('/dev/null', os.O_RDONLY)); attempt(5, lambda i: os.dup(held[0][0]))
                attempt(7, lambda i: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
                attempt(6, lambda i: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                attempt(4, lambda i: (lambda f: (fcntl.flock(f, fcntl.LOCK_EX), f)[1])(open('/tmp/lock-%d' % i, 'w')))
                f = open('/tmp/ranges', 'w'); held.append([f]); [fcntl.lockf(f, fcntl.LOCK_EX, 1, 2 * i) for i in range(9)]
                """
            let counted: [Beancounter] = [.numfile, .numtcpsock, .numothersock, .numflock, .privvmpages]
            func held() throws -> [Int64] { try counted.map { try container.state($0).held } }
            let empty = try held()
            _ = try container.ask(fill)
            let full = try held()
            #expect(full[1...3] == [empty[1] + 7, empty[2] + 6, empty[3] + 13])

            // As after an upgrade from a version that did not count, or when what was pinned is lost.
            let core = try node.node().core
            try #require(core.beancounters).release(node.container())
            #expect(try !node.plan().isEmpty)
            try node.apply()
            // Files that are only mapped are in no table: seven or so libraries.
            let adopted = try held()
            #expect(adopted[1...] == full[1...], "\(adopted), was \(full)")
            #expect(adopted[0] <= full[0] && adopted[0] >= full[0] - 40, "\(adopted), was \(full)")
            #expect(try node.plan().isEmpty)
            _ = try container.ask("drop(); f.close()")
            let after = try held()
            #expect(after[1...3] == empty[1...3] && after[0] >= 0, "\(after), was \(empty)")
        }
    }

    @Test func otherProgramsTakeOverWithoutAGap() throws {
        // QEMU 7.2 can go on executing kernel code that another CPU has replaced meanwhile, for ever (TCG with a thread for each
        // CPU; mended in QEMU 8.1): there one CPU does it all.
        func otherCPU(online: Bool) throws {
            guard TestPlace.isVirtualMachine else { return }
            try KernelFile.write(online ? "1" : "0", to: "/sys/devices/system/cpu/cpu1/online")
        }
        try otherCPU(online: false)
        defer { #expect(throws: Never.self) { try otherCPU(online: true) } }
        try withPythonNode { node in
            let container = try PythonContainer(node, "web", 101, "")
            guard try container.enforcement(.numfile).isEnforced else { return }
            let before = try container.state(.numfile).held
            let busy = """
                if not os.fork():
                    while not os.path.exists('/tmp/stop'):
                        files = [os.open('/dev/null', os.O_RDONLY) for i in range(50)]
                        [os.close(f) for f in files]
                        # The kernel waits for each process to sleep once before it takes a program away.
                        time.sleep(0.001)
                    os._exit(0)
                """
            _ = try container.ask(busy)
            let isV1 = node.controlGroups.hierarchy(of: .memory)?.version == .v1
            let version = BPFObject.beancountersVersion
            for other in [version ^ 2, version] {
                let programs = BeancounterPrograms(node.paths, version: other)
                _ = try programs.ensure(memoryIsV1: isV1, replacing: true)
                #expect(try programs.table("").version == other)
                let sets = try Descriptor.open("\(node.paths.bpf)/1", O_RDONLY).names().filter { $0.hasPrefix("programs-") }
                #expect(sets.count == 1)
            }
            _ = try container.ask("open('/tmp/stop', 'w').close(); os.wait()")
            // An event that is under way while the word changes may count on one side alone: one for each CPU and change at most.
            let after = try container.state(.numfile).held
            #expect(abs(after - before) <= 2 * Int64(sysconf(Int32(_SC_NPROCESSORS_ONLN))), "\(before) before, \(after) after")
        }
    }

    @Test func theReportIsOpenVZsFormat() throws {
        try withPythonNode { node in
            let container = try PythonContainer(node, "web", 101, "ram: 64M\nswap: 0\nbeancounters: {numproc: 40}")
            _ = try PythonContainer(node, "db", 102, "")
            let core = try node.node().core
            guard let path = core.beancounterReport else {
                #expect(core.host.beancounters.tier == .none)
                return
            }
            let text = try TestFile.read(path)
            let lines = text.split(separator: "\n").map(String.init)
            #expect(lines[0] == "Version: 2.5")
            #expect(lines[1].hasPrefix("       uid  resource     ") && lines[1].hasSuffix(" failcnt"))
            let first = try #require(lines.firstIndex { $0.hasPrefix("      101:  kmemsize     ") }, "\(text)")
            #expect(lines[first...].prefix(24).allSatisfy { $0.utf8.count == 129 })
            #expect(lines[first + 5].split(separator: " ").map(String.init).prefix(1) == ["numproc"])
            #expect(lines[first + 5].hasSuffix("                   40                   40                    0"), "\(text)")
            #expect(lines[first + 6].contains("physpages") && lines[first + 6].contains(" 16384 "))
            // Both ways of writing it agree, but for what changes between them.
            func shape(_ text: String) -> [[String]] {
                text.split(separator: "\n").map { line in
                    let words = line.split(separator: " ").map(String.init)
                    return words.count >= 6 ? [words[words.count - 6]] + words.suffix(3) : words
                }
            }
            let raw = try node.vzctl("ubc", "--raw", "web")
            #expect(raw.exit == .code(0), "\(raw)")
            let own = shape(text).firstIndex { $0.first == "kmemsize" && $0.count == 4 } ?? 0
            #expect(shape(raw.output).count == 26 && own > 0)
            #expect(shape(raw.output)[2 + 5] == shape(lines[first + 5] + "\n")[0])

            // From inside its own lines alone; and nothing there can write to it.
            let inside = try container.ask("answer = open('/run/user_beancounters').read()").split(separator: "\n")
            #expect(inside.count == 26 && inside[0] == "Version: 2.5" && inside[2].hasPrefix("      101:  kmemsize "))
            #expect(inside[7].hasSuffix("                   40                   40                    0"))
            let write = """
                try: open('/run/user_beancounters', 'w'); answer = 'open'
                except OSError as e: answer = errno.errorcode[e.errno]
                """
            #expect(try container.ask(write) != "open")
            #expect(try TestFile.read("\(node.paths.run)/user_beancounters").hasPrefix("Version: 2.5\n       uid "))

            let json = try node.vzctl("ubc", "-o", "json", "web")
            #expect(json.output.contains("\"resource\" : \"numproc\"") && json.output.contains("\"enforcement\" : \"enforced\""))
            #expect(try node.vzctl("ubc", "-q", "db").output == "")
            #expect(try node.vzctl("ubc", "none").exit == .code(68))
            let fork = "answer = attempt(60, lambda i: os.fork() or time.sleep(1000))"
            #expect(try container.ask(fork).hasSuffix(" EAGAIN"))
            let trouble = try node.vzctl("ubc", "-q", "-r")
            #expect(trouble.output.contains("numproc") && !trouble.output.contains("CT 102"), "\(trouble.output)")
            // Since then nothing was refused.
            let again = try node.vzctl("ubc", "-r", "-o", "json", "web").output
            #expect(!again.split(separator: "\n").contains { $0.contains("failcnt") && !$0.contains(": 0,") }, "\(again)")
        }
    }
}

/// A node with the templates `busybox` and `python`.
func withPythonNode(_ body: (TestNode) throws -> Void) throws {
    try withNode { node in
        _ = try pythonTemplate.get()
        try body(node)
    }
}

private let pythonTemplate = Result { try PythonTemplate.make(in: try TestNode.templates.get()) }
