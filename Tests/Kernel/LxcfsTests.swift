import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

extension TestNode {
    /// Starts Debian's lxcfs on this node's own directory; it is ended with the node.
    @discardableResult
    func lxcfs(_ options: [String] = ["--enable-loadavg", "--enable-cfs", "--enable-pidfd"]) throws -> TestProcess {
        try Descriptor.makeDirectories(paths.lxcfs)
        let program = try spawn(["lxcfs", "--foreground", "--pidfile=\(directory)/lxcfs.pid"] + options + [paths.lxcfs])
        try TestPlace.wait("lxcfs serves \(paths.lxcfs)", until: { try isLxcfsMounted }, note: { program.log })
        return program
    }

    var isLxcfsMounted: Bool {
        get throws {
            try Descriptor.open(paths.lxcfs, Descriptor.pathOnly).mounted().isRoot && TestFile.exists(paths.lxcfs + "/proc/uptime")
        }
    }

    /// What one that was killed leaves.
    func unmountLxcfs() { while umount2(paths.lxcfs, Int32(MNT_DETACH)) == 0 {} }

    /// Copies a program of the host, with its libraries, into a container's root.
    func bring(_ program: String, to ctid: Int = 101) throws {
        let libraries = try Command.run(["ldd", program]).split(separator: "\n").flatMap { $0.split { " \t".contains($0) } }
        for path in [program] + libraries.filter({ $0.hasPrefix("/") }).map(String.init) {
            let target = root(ctid) + path
            try Command.run(["mkdir", "-p", "--", String(target[..<(target.lastIndex(of: "/") ?? target.endIndex)])])
            try Command.run(["cp", "-L", "--", path, target])
        }
    }

    /// A field of /proc/meminfo inside, in KiB.
    func memory(_ field: String, _ ctid: Int = 101) throws -> Int {
        try Self.number(field, in: output("cat /proc/meminfo", ctid))
    }

    static func number(_ field: String, in text: String) throws -> Int {
        let line = try #require(text.split(separator: "\n").first { $0.hasPrefix(field + ":") }, "\(text)")
        return try #require(Int(line.split(separator: " ")[1]))
    }

    static var hostMemory: Int { get throws { try number("MemTotal", in: KernelFile.read("/proc/meminfo")) } }
}

/// What a container sees of itself through lxcfs.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct LxcfsTests {
    private static let idle = "ctid: 101\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]\n"
    private static let small = "ram: 64M\nswap: 64M\ncpus: 1\n"

    @Test func aContainerSeesItsOwnNumbers() throws {
        try withNode { node in
            try node.lxcfs()
            // The programs that count beancounters have a file system of their own from the first node on.
            _ = try node.node()
            let mounts = try KernelFile.read("/proc/self/mountinfo")
            let before = try TestNode.hostMemory
            try node.start("web", ctid: 101, Self.small)
            try node.start("db", ctid: 102, "ram: 128M")
            #expect(try KernelFile.read("/proc/self/mountinfo") == mounts)
            #expect(try node.plan().isEmpty)

            #expect(try node.memory("MemTotal") == 64 << 10)
            #expect(try node.memory("MemTotal", 102) == 128 << 10)
            #expect(try TestNode.hostMemory == before)
            // The kernel's sum on v1, none on v2 by lxcfs 5.0.3, and never more than the host has.
            #expect(try [0, 64 << 10, 128 << 10].contains(node.memory("SwapTotal")))

            for program in ["/usr/bin/free", "/usr/bin/top", "/usr/bin/uptime", "/usr/bin/getconf", "/usr/bin/nproc"] {
                try node.bring(program)
            }
            let free = try node.output("/usr/bin/free -k")
            #expect(free.split(separator: "\n")[1].split(separator: " ")[1] == "65536", "\(free)")
            let terminal = node.root() + "/lib/terminfo/d"
            try Command.run(["mkdir", "-p", terminal])
            try Command.run(["cp", "/lib/terminfo/d/dumb", terminal])
            let top = try node.output("TERM=dumb /usr/bin/top -b -n 1")
            #expect(top.contains("MiB Mem :     64.0 total"), "\(top)")
            #expect(try node.output("cat /sys/devices/system/cpu/online; /usr/bin/getconf _NPROCESSORS_ONLN") == "0\n1")
            #expect(try node.output("grep -c '^processor' /proc/cpuinfo") == "1")
            #expect(try Int(node.output("grep -c '^processor' /proc/cpuinfo", 102)) == sysconf(Int32(_SC_NPROCESSORS_ONLN)))

            func seconds(_ text: String) throws -> Double { try #require(Double(text.split(separator: " ")[0])) }
            let uptime = try seconds(node.output("cat /proc/uptime"))
            #expect(try uptime < seconds(KernelFile.read("/proc/uptime")) - 1)
            #expect(try node.output("/usr/bin/uptime").contains("load average: "))
            // Of its processes: the host has more than two.
            let tasks = try node.output("cat /proc/loadavg").split(separator: " ")[3].split(separator: "/")
            #expect(try #require(Int(tasks[1])) <= 2, "\(tasks)")
            #expect(try node.output("cat /proc/swaps").hasPrefix("Filename"))
            #expect(try node.output("cat /proc/diskstats; head -n 1 /proc/stat").contains("cpu "))
            // nproc(1) asks sched_getaffinity(2), which is cpumask.
            try node.declare("web", Self.idle + Self.small + "cpumask: \"0\"\n")
            try node.apply()
            #expect(try node.output("/usr/bin/nproc") == "1")
        }
    }

    @Test func itsFilesAreReadOnlyAndNothingElseIsThere() throws {
        try withNode { node in
            try node.lxcfs()
            let process = try node.start("web", ctid: 101)
            let mounts = try ProcessMount.list(of: process, types: [LxcfsService.type])
            #expect(Set(mounts.map(\.point)) == Set(LxcfsFile.all.map { "/\($0.source)" }) && mounts.count == LxcfsFile.all.count)
            let lines = try KernelFile.read("/proc/\(process.pid)/mountinfo").split(separator: "\n").filter {
                $0.contains("fuse.lxcfs")
            }
            for line in lines { #expect(line.contains(" ro,nosuid,nodev,noexec,"), "\(line)") }
            for file in LxcfsFile.all {
                let (exit, text) = try node.sh("echo 1 > /\(file.source)")
                #expect(exit != .code(0) && text.contains("Read-only file system"), "\(text)")
                let again = try node.sh("mount -o remount,bind,rw /\(file.source) && echo 1 > /\(file.source)")
                #expect(again.0 != .code(0), "\(again)")
            }
        }
    }

    /// A verb that only looks asks lxcfs, and changes nothing.
    @Test func toLookAtItWritesNothing() throws {
        try withNode { node in
            try node.lxcfs()
            try node.start("web", ctid: 101)
            for verb in [["plan"], ["drift"], ["doctor"]] {
                let (result, calls) = try SystemCall.traced(["\(TestPlace.programs)/vzctl"] + verb, node)
                #expect(calls.filter(\.writes).map { "\($0.name)(\($0.arguments)" } == [], "\(verb)")
                #expect(calls.contains { $0.name == "openat" && $0.arguments.contains("proc/uptime") }, "\(verb)")
                if verb == ["doctor"] {
                    let found = "on \(node.paths.lxcfs), --enable-cfs --enable-loadavg"
                    #expect(result.output.contains(found), "\(result)")
                }
            }
        }
    }

    @Test func itIsTurnedOffAndOnLive() throws {
        try withNode { node in
            try node.lxcfs()
            let process = try node.start("web", ctid: 101, Self.small)
            let host = try TestNode.hostMemory
            for (features, memory) in [("[lxcfs:off]", host), ("[lxcfs]", 64 << 10), ("[lxcfs:off]", host), ("[]", 64 << 10)] {
                try node.declare("web", Self.idle + Self.small + "features: \(features)")
                let changes = try node.apply().containers.flatMap(\.changes)
                #expect(
                    changes.map(\.field) == ["features"] && changes.allSatisfy { $0.disruption == .live && $0.reason == .wanted })
                #expect(try node.memory("MemTotal") == memory, "\(features)")
                #expect(try node.plan().isEmpty && node.plan().containers.flatMap(\.unsupported).isEmpty)
            }
            #expect(process.isRunning)
            // One that is started without it has none.
            try node.start("db", ctid: 102, "ram: 64M\nfeatures: [lxcfs:off]")
            #expect(try node.memory("MemTotal", 102) == host)
        }
    }

    @Test func whereItIsMissingOnlyWhoAsksIsTold() throws {
        try withNode { node in
            try node.start("web", ctid: 101, "features: [lxcfs, tun]")
            try node.start("db", ctid: 102)
            let told = try node.plan().containers.flatMap(\.unsupported)
            #expect(told.map(\.value).sorted() == ["lxcfs", "tun"])
            let reason = try #require(told.first { $0.value == "lxcfs" }?.reason)
            #expect(reason == "no lxcfs is mounted on \(node.paths.lxcfs); lxcfs \(node.paths.lxcfs)")
            #expect(try node.plan().isEmpty)
            // It comes while they run.
            try node.lxcfs()
            try node.declare("web", Self.idle + "ram: 64M\n")
            try node.apply()
            #expect(try node.memory("MemTotal") == 64 << 10)
        }
    }

    @Test func whenItDiesTheContainerSeesTheKernelsAndThenTheNextOne() throws {
        try withNode { node in
            let first = try node.lxcfs()
            let process = try node.start("web", ctid: 101, Self.small + "features: [lxcfs]")
            first.kill()
            let (exit, text) = try node.sh("cat /proc/meminfo")
            #expect(exit != .code(0) && text.contains("Transport endpoint is not connected"), "\(text)")
            try node.apply()
            #expect(try node.memory("MemTotal") == TestNode.hostMemory)
            #expect(try ProcessMount.list(of: process, types: [LxcfsService.type]) == [])
            let reason = try node.plan().containers.flatMap(\.unsupported).map(\.reason)
            #expect(reason.count == 1 && reason[0].contains("not connected") && reason[0].contains("umount -l"), "\(reason)")
            node.unmountLxcfs()
            // Two restarts between two looks.
            let second = try node.lxcfs()
            try node.apply()
            #expect(try node.memory("MemTotal") == 64 << 10)
            second.kill()
            node.unmountLxcfs()
            try node.lxcfs()
            #expect(try node.plan().containers.flatMap(\.changes).map(\.reason) == [.wanted])
            try node.apply()
            #expect(try node.memory("MemTotal") == 64 << 10 && node.plan().isEmpty && process.isRunning)
        }
    }

    @Test func theDaemonFollowsItAtOnce() throws {
        try withNode { node in
            try node.declare("web", Self.idle + Self.small)
            let daemon = try node.vzd()
            try TestPlace.wait("it runs", until: { try node.running() != nil }, note: { daemon.log })
            let process = try #require(try node.running())
            // Looks are an hour apart.
            for _ in 0..<2 {
                let lxcfs = try node.lxcfs()
                try TestPlace.wait("its own numbers", until: { try node.memory("MemTotal") == 64 << 10 }, note: { daemon.log })
                lxcfs.send(SIGTERM)
                lxcfs.wait()
                node.unmountLxcfs()
                try TestPlace.wait(
                    "the kernel's files", until: { try ProcessMount.list(of: process, types: [LxcfsService.type]).isEmpty },
                    note: { daemon.log })
            }
            #expect(process.isRunning && daemon.isRunning)
            #expect(daemon.log.contains("features lxcfs:off → lxcfs"), "\(daemon.log)")
        }
    }

    /// A server that takes requests and never answers: who waits for it does so even after SIGKILL.
    @Test func whoWaitsForEverIsLeftBehind() throws {
        try withNode { node in
            // The protocol of fuse(4): FUSE_INIT (26) alone is answered, as version 7.31.
            let script = """
                import ctypes, os, struct, sys
                fd = os.open('/dev/fuse', os.O_RDWR)
                libc = ctypes.CDLL(None, use_errno=True)
                options = f'fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other'
                if libc.mount(b'silent', sys.argv[1].encode(), b'fuse.lxcfs', 0, options.encode()):
                    sys.exit(os.strerror(ctypes.get_errno()))
                while True:
                    request = os.read(fd, 1 << 20)
                    size, code, unique = struct.unpack_from('IIQ', request)
                    print(code, flush=True)
                    if code == 26:
                        body = struct.pack('IIIIHHIIHHI', 7, 31, 0, 0, 0, 0, 4096, 1, 0, 0, 0) + bytes(28)
                        os.write(fd, struct.pack('IiQ', 16 + len(body), 0, unique) + body)
                """
            try Descriptor.makeDirectories(node.paths.lxcfs)
            let server = try node.spawn(["/usr/bin/python3", "-S", "-E", "-c", script, node.paths.lxcfs])
            TestPlace.wait("it is mounted", until: { server.text.hasPrefix("26") }, note: { server.log })

            func open(_ milliseconds: Int32) -> Int32? {
                do throws(KernelError) {
                    _ = try ServedFiles.open(["proc/uptime"], below: node.paths.lxcfs, milliseconds: milliseconds)
                    return nil
                } catch { return error.errno }
            }
            #expect(open(300) == ETIMEDOUT)
            let began = ContinuousClock.now
            #expect(open(100_000) == ETIMEDOUT)
            #expect(ContinuousClock.now - began < .seconds(10), "it waited behind the one that is stuck")
            // A container is started all the same.
            try node.start("web", ctid: 101, "ram: 64M")
            server.kill()
            TestPlace.wait("the one that was stuck has ended") { open(100) == ENOTCONN }
            let links = try Descriptor.open("/proc/self/fd", O_RDONLY | O_DIRECTORY).names().compactMap {
                try? TestFile.link("/proc/self/fd/\($0)")
            }
            #expect(links.filter { $0.hasPrefix(node.paths.lxcfs) } == [], "it left something open")
        }
    }

    @Test func oneThatHangsHoldsNobodyUp() throws {
        try withNode { node in
            let program = try node.lxcfs()
            try node.start("web", ctid: 101, "ram: 64M\nfeatures: [lxcfs]")
            program.send(SIGSTOP)
            defer { program.send(SIGCONT) }
            try node.start("db", ctid: 102, "ram: 64M")
            #expect(try node.memory("MemTotal", 102) == TestNode.hostMemory)
            #expect(try node.memory("MemTotal", 101) == TestNode.hostMemory)
            let reason = try node.plan().containers.flatMap(\.unsupported).map(\.reason)
            #expect(reason.count == 1 && reason[0].contains("does not answer: Connection timed out"), "\(reason)")
            program.send(SIGCONT)
            try TestPlace.wait("it answers again") {
                try node.apply()
                return try node.memory("MemTotal", 102) == 64 << 10
            }
            #expect(try node.memory("MemTotal", 101) == 64 << 10 && node.plan().isEmpty)
        }
    }

    @Test func whatTheContainersRootTakesAwayIsDrift() throws {
        try withNode { node in
            try node.lxcfs()
            let process = try node.start("web", ctid: 101, "ram: 64M")
            _ = try node.output("umount /proc/meminfo")
            // Believed for a while.
            #expect(try node.plan().isEmpty)
            let other = try Node(paths: node.paths)
            let target = try #require(try other.look(remembering: false).targets.first)
            let changes = try other.converge(target).0.changes
            #expect(changes.map(\.reason) == [.drift] && changes.map(\.before) == ["lxcfs in part"], "\(changes)")
            #expect(try node.memory("MemTotal") == 64 << 10)
            // A file of it twice: all is put right.
            _ = try node.output("mount --bind /proc/meminfo /proc/meminfo; mount --bind /proc/uptime /proc/uptime")
            #expect(try ProcessMount.list(of: process, types: [LxcfsService.type]).count == 10)
            let third = try Node(paths: node.paths)
            _ = try third.converge(try #require(try third.look(remembering: false).targets.first))
            #expect(try ProcessMount.list(of: process, types: [LxcfsService.type]).count == 8)
        }
    }

    /// A hostile root: whatever it puts in the place of /proc, only its own mounts are touched.
    @Test(arguments: [
        "mount -t tmpfs none /proc; echo mine > /proc/meminfo", "mount --bind /etc /proc",
        "umount -l /proc; rmdir /proc; ln -s /dev /proc",
        "mount -t tmpfs none /sys", "mkdir /old; mount --move /proc /old",
        "mount -t proc proc /proc",
    ])
    func nothingIsMountedOnWhatTheRootMade(_ script: String) throws {
        try withNode { node in
            let process = try node.start("web", ctid: 101, "ram: 64M")
            _ = try node.output("exec 2>&1; set -e; " + script)
            let inside = try KernelFile.read("/proc/\(process.pid)/mountinfo")
            let host = try KernelFile.read("/proc/self/mountinfo")
            try node.lxcfs()
            let with = try KernelFile.read("/proc/self/mountinfo")
            #expect(throws: KernelError.self) { try node.apply() }
            #expect(try KernelFile.read("/proc/self/mountinfo") == with && with.hasPrefix(host))
            // /proc alone may have got its files, where it is the kernel's.
            let now = try KernelFile.read("/proc/\(process.pid)/mountinfo")
            #expect(now == inside || script.contains("/sys"), "\(now)")
            #expect(process.isRunning)
        }
    }
}
