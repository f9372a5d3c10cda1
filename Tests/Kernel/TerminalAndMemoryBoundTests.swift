import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// numpty and shmpages: beancounters that a file system and an IPC namespace of the container's hold.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct TerminalAndMemoryBoundTests {
    private static let open = "attempt(20, lambda i: os.open('/dev/ptmx', os.O_RDWR | os.O_NOCTTY))"

    @Test func pseudoTerminalsAreRefusedAtNumpty() throws {
        try withPythonNode { node in
            let container = try PythonContainer(node, "web", 101, "beancounters: {numpty: 5}")
            let neighbour = try PythonContainer(node, "db", 102, "")
            #expect(try container.ask("answer = \(Self.open)") == "5 ENOSPC")
            #expect(try neighbour.ask("answer = \(Self.open)") == "20 all")
            let isCounted = try node.node().core.host.beancounters.programs.contains("after_devpts_new_index")
            if isCounted {
                let state = try container.state(.numpty)
                #expect(state == BeancounterState(held: 5, maxheld: 5, bounds: BarrierLimit(both: 5), failcnt: 1))
                #expect(try container.ask("answer = len(os.listdir('/dev/pts')) - 1") == "5")
            }
            try container.declare("web", "beancounters: {numpty: 9}")
            #expect(try node.apply().containers.flatMap(\.changes).map(\.field) == ["beancounters.numpty"])
            #expect(try node.plan().isEmpty)
            #expect(try container.ask("answer = \(Self.open)") == "4 ENOSPC")
            // Less than there are ends none.
            try container.declare("web", "beancounters: {numpty: 3}")
            try node.apply()
            #expect(try node.plan().isEmpty)
            #expect(try container.ask("answer = [os.write(f, b'') for got in held for f in got] and \(Self.open)") == "0 ENOSPC")
            // Its root cannot raise it, nor have another file system without it.
            let remount = """
                libc = ctypes.CDLL(None, use_errno=True)
                def mount(source, target, type, flags, options):
                    done = libc.mount(source, target, type, flags, options)
                    return 'mounted' if done == 0 else errno.errorcode[ctypes.get_errno()]
                os.makedirs('/tmp/pts', exist_ok=True)
                answer = mount(b'devpts', b'/dev/pts', b'devpts', 32, b'max=100')
                """
            #expect(try container.ask(remount) != "mounted")
            let own = "answer = mount(b'devpts', b'/tmp/pts', b'devpts', 0, b'newinstance,ptmxmode=666,max=100')"
            if try node.node().core.host.beancounters.programs.contains("sb_kern_mount") {
                #expect(try container.ask(own) == "EPERM")
                #expect(try neighbour.ask(remount + "\n" + own) != "EACCES")
            }
            try container.declare("web", "")
            try node.apply()
            #expect(try container.ask("drop(); answer = \(Self.open)") == "20 all")
            _ = try container.ask("drop()")
            if isCounted { #expect(try container.state(.numpty).held == 0) }
        }
    }

    @Test func sharedMemoryIsRefusedAtShmpages() throws {
        try withPythonNode { node in
            let container = try PythonContainer(node, "web", 101, "beancounters: {shmpages: 1000}")
            guard try container.enforcement(.shmpages).isEnforced else {
                let told = try node.plan().containers.flatMap(\.unsupported).map(\.field)
                #expect(told == ["beancounters.shmpages"])
                return
            }
            let make = """
                libc = ctypes.CDLL(None, use_errno=True)
                def one(i):
                    id = libc.shmget(0, 256 << 10, 0o1600)
                    if id < 0: raise OSError(ctypes.get_errno(), 'shmget')
                answer = attempt(40, one)
                """
            #expect(try container.ask(make) == "15 ENOSPC")
            #expect(try container.ask("answer = len(open('/proc/sysvipc/shm').readlines()) - 1") == "15")
            #expect(try container.ask("s = os.statvfs('/dev/shm'); answer = s.f_blocks * s.f_frsize // 4096") == "1000")
            // The namespace is its root's; the limit is not.
            let raise = """
                try: os.write(os.open('/proc/sys/kernel/shmall', os.O_WRONLY), b'999999999'); answer = 'raised'
                except OSError as e: answer = errno.errorcode[e.errno]
                """
            #expect(try container.ask(raise) != "raised")
            #expect(try container.ask("answer = open('/proc/sys/kernel/shmall').read().strip()") == "1000")
            // The host's own is as it was, and its root's to change.
            let host = try KernelFile.read("/proc/sys/kernel/shmall")
            #expect(host != "1000")
            try KernelFile.write(host, to: "/proc/sys/kernel/shmall")

            try container.declare("web", "beancounters: {shmpages: 2000}")
            #expect(try node.apply().containers.flatMap(\.changes).map(\.field) == ["beancounters.shmpages"])
            #expect(try container.ask(make) == "16 ENOSPC")
            #expect(try container.ask("s = os.statvfs('/dev/shm'); answer = s.f_blocks * s.f_frsize // 4096") == "2000")
            try container.declare("web", "beancounters: {shmpages: 10}")
            try node.apply()
            #expect(try container.ask("answer = len(open('/proc/sysvipc/shm').readlines()) - 1") == "31")
            #expect(try node.plan().isEmpty)
        }
    }
}
