import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// What a container is made of, as the host and as a program inside see it.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct ContainerStartTests {
    private static let namespaces = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"]

    /// The fields of a line of /proc/PID/status.
    private func status(_ process: PidFD, _ name: String) throws -> [String] {
        let text = try KernelFile.read("/proc/\(process.pid)/status")
        let line = try #require(text.split(separator: "\n").first { $0.hasPrefix(name + ":") })
        return line.dropFirst(name.count + 1).split { $0 == "\t" || $0 == " " }.map(String.init)
    }

    @Test func sevenNamespacesOfItsOwn() throws {
        try withNode { node in
            let first = try node.start("web", ctid: 101)
            let second = try node.start("db", ctid: 102)
            for name in Self.namespaces {
                let links = try ["self", "\(first.pid)", "\(second.pid)"].map { try TestFile.link("/proc/\($0)/ns/\(name)") }
                #expect(Set(links).count == 3, "\(name): \(links)")
            }
        }
    }

    @Test func idsAreMappedToARangeOfItsOwn() throws {
        try withNode { node in
            let first = try node.start("web", ctid: 101)
            let second = try node.start("db", ctid: 102)
            var bases: Set<String> = []
            for process in [first, second] {
                for map in ["uid_map", "gid_map"] {
                    let text = try KernelFile.read("/proc/\(process.pid)/\(map)")
                    let fields = text.split { $0 == " " || $0 == "\n" }.map(String.init)
                    #expect(fields.count == 3 && fields[0] == "0" && fields[2] == "65536", "\(map): \(text)")
                    bases.insert(fields[1])
                }
                let ids = try status(process, "Uid") + status(process, "Gid")
                #expect(Set(ids).count == 1 && bases.contains(ids[0]))
                #expect(try status(process, "Groups") == [])
            }
            #expect(bases.count == 2)
            let numbers = bases.compactMap { Int($0) }.sorted()
            #expect(numbers.count == 2 && numbers[1] - numbers[0] >= 65536)
        }
    }

    /// What the kernel counts for the owner of a user namespace is then that one container's.
    @Test func itsUserNamespaceBelongsToItsOwnRoot() throws {
        try withNode { node in
            let process = try node.start()
            let base = try #require(node.node().core.idBase(of: process))
            // NS_GET_OWNER_UID of ioctl_ns(2)
            let script =
                "import fcntl, struct; b = bytearray(4); fcntl.ioctl(open('/proc/\(process.pid)/ns/user'), 0xb704, b); "
                + "print(struct.unpack('I', b)[0])"
            let answer = try node.run(["/usr/bin/python3", "-S", "-E", "-c", script])
            #expect(answer.output == "\(base)\n", "\(answer.errors)")
        }
    }

    @Test func processOneIsAnOrphanOfTheHost() throws {
        try withNode { node in
            let process = try node.start()
            // Who gets an orphan of ours: the host's process 1, or a subreaper in between.
            let pid = try Command.run(["/bin/sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!"])
            let orphan = try PidFD(pid: try #require(Int32(pid.dropLast())))
            let parent = try status(orphan, "PPid")
            try orphan.send(signal: SIGKILL)
            #expect(try status(process, "PPid") == parent)
            #expect(parent != ["\(getpid())"])
            #expect(try status(process, "NSpid") == ["\(process.pid)", "1"])
            #expect(try TestFile.link("/proc/\(process.pid)/exe").hasSuffix("/bin/busybox"))
        }
    }

    @Test func hostName() throws {
        try withNode { node in
            try node.start("web", ctid: 101)
            #expect(try node.output("hostname", 101) == "web")
            try node.start("db", ctid: 102, "hostname: db.example.org")
            #expect(try node.output("hostname", 102) == "db.example.org")
        }
    }

    @Test func loopbackIsTheOneInterfaceAndUp() throws {
        try withNode { node in
            try node.start()
            #expect(try node.output("ls /sys/class/net") == "lo")
            #expect(try node.output("ifconfig lo").contains("UP LOOPBACK RUNNING"))
            #expect(try node.output("ping -c 1 -W 20 127.0.0.1").contains("1 packets received"))
        }
    }

    @Test func mountsAreItsOwnAndFlagged() throws {
        try withNode { node in
            let before = try KernelFile.read("/proc/self/mountinfo")
            let process = try node.start()
            #expect(try KernelFile.read("/proc/self/mountinfo") == before)
            // point, type, and what must be among the options
            var expected: [(String, String, Set<String>)] = [
                ("/run", "tmpfs", ["rw", "nosuid", "nodev"]), ("/", "ext4", ["rw", "nodev", "idmapped"]),
                ("/dev", "tmpfs", ["rw", "nosuid"]),
                ("/dev/pts", "devpts", ["rw", "nosuid", "noexec"]), ("/dev/shm", "tmpfs", ["rw", "nosuid", "nodev"]),
                ("/dev/mqueue", "mqueue", ["rw", "nosuid", "nodev", "noexec"]),
                ("/proc", "proc", ["rw", "nosuid", "nodev", "noexec"]), ("/sys", "sysfs", ["ro", "nosuid", "nodev", "noexec"]),
            ]
            if try node.node().core.beancounterReport != nil {
                expected.append(("/run/user_beancounters", "bpf", ["ro", "nosuid", "nodev", "noexec"]))
            }
            let mounts = try KernelFile.read("/proc/\(process.pid)/mounts").split(separator: "\n").map { $0.split(separator: " ") }
            #expect(Set(mounts.map { String($0[1]) }) == Set(expected.map(\.0)))
            #expect(mounts.count == expected.count)
            for (point, type, options) in expected {
                let mount = try #require(mounts.first { $0[1] == point })
                if point != "/" { #expect(mount[2] == type, "\(point)") }
                let missing = options.subtracting(mount[3].split(separator: ",").map(String.init))
                #expect(missing.isEmpty, "\(point) lacks \(missing)")
            }
            // Nothing passes from one mount namespace to the other.
            let shared = try KernelFile.read("/proc/\(process.pid)/mountinfo").split(separator: "\n").filter {
                $0.contains(" shared:") || $0.contains(" master:")
            }
            #expect(shared == [])
            #expect(try node.output("mount -t tmpfs none /tmp && grep -c ' /tmp ' /proc/mounts; umount /tmp") == "1")
            #expect(try KernelFile.read("/proc/self/mountinfo") == before)
        }
    }

    /// As systemd sets hosts up: every mount shared with whoever makes a mount namespace from it.
    @Test func onAHostThatSharesItsMountsNothingIsShared() throws {
        try withNode { node in
            try node.declare("web", "ctid: 101\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]")
            let sharing = ["unshare", "--mount", "--propagation", "shared", "--", "/bin/sh", "-c"]
            let script =
                "\(TestPlace.programs)/vzctl apply >&2 && "
                + "\(TestPlace.programs)/vzctl exec web mount -t tmpfs none /tmp && cat /proc/self/mountinfo"
            let before = try KernelFile.read("/proc/self/mountinfo").split(separator: "\n").count
            let applied = try node.run(sharing + [script])
            #expect(applied.exit == .code(0), "\(applied.errors)")
            let outside = applied.output.split(separator: "\n")
            #expect(outside.count == before && outside.contains { $0.contains(" shared:") })
            let process = try #require(try node.running())
            let inside = try KernelFile.read("/proc/\(process.pid)/mountinfo").split(separator: "\n")
            #expect(inside.count == (try node.node().core.beancounterReport == nil ? 9 : 10))
            #expect(inside.filter { $0.contains(" shared:") || $0.contains(" master:") } == [])
        }
    }

    @Test func devices() throws {
        try withNode { node in
            try node.start()
            // GNU stat's %t and %T are major and minor in hexadecimal, %a the mode.
            let nodes = try node.output("cd /dev; stat -c '%n %F %t:%T %a %u:%g' null zero full random urandom tty")
            #expect(
                nodes == """
                    null character special file 1:3 666 0:0
                    zero character special file 1:5 666 0:0
                    full character special file 1:7 666 0:0
                    random character special file 1:8 666 0:0
                    urandom character special file 1:9 666 0:0
                    tty character special file 5:0 666 0:0
                    """)
            #expect(
                try node.output("find /dev -type b -o -type c | sort | tr '\\n' ' '")
                    == "/dev/full /dev/null /dev/pts/ptmx /dev/random /dev/tty /dev/urandom /dev/zero ")
            #expect(try node.output("head -c 16 /dev/urandom | wc -c") == "16")
            #expect(try node.output("readlink /dev/ptmx; readlink /dev/fd") == "pts/ptmx\n/proc/self/fd")
        }
    }

    /// devpts' `max=` is a limit: of the mount that the host made it cannot be changed, of one of the container's own it can.
    @Test func itsTerminalsCannotBeRemounted() throws {
        try withNode { node in
            let process = try node.start()
            let (exit, text) = try node.sh("mount -t devpts -o remount,max=7 devpts /dev/pts")
            #expect(exit != .code(0), "\(text)")
            #expect(text.contains("Operation not permitted") || text.contains("permission denied"), "\(text)")
            #expect(try !KernelFile.read("/proc/\(process.pid)/mounts").contains("max=7"))
            let own = "mkdir /pts; mount -t devpts -o newinstance devpts /pts; mount -t devpts -o remount,max=7 devpts /pts"
            #expect(try node.output(own + "; grep ' /pts ' /proc/mounts").contains("max=7"))
        }
    }

    @Test func capabilities() throws {
        try withNode { node in
            let process = try node.start()
            // capability.h: 27 of them; none of SYS_MODULE 16, SYS_RAWIO 17, SYS_PACCT 20, SYS_TIME 25, AUDIT_CONTROL 30, MAC 32, 33,
            // SYSLOG 34 and what came later.
            let expected = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 18, 19, 21, 22, 23, 24, 26, 27, 28, 29, 31]
                .reduce(UInt64(0)) { $0 | 1 << UInt64($1) }
            let inside = try node.output("cat /proc/self/status").split(separator: "\n").map { $0.split(separator: "\t") }
            for (name, value) in [("CapInh", 0), ("CapAmb", 0), ("CapPrm", expected), ("CapEff", expected), ("CapBnd", expected)] {
                #expect(try UInt64(status(process, name)[0], radix: 16) == value, "\(name) of process 1")
                let line = try #require(inside.first { $0[0] == "\(name):" })
                #expect(UInt64(line[1], radix: 16) == value, "\(name) of an entered process")
            }
        }
    }

    @Test func nothingOfOursIsOpenInside() throws {
        try withNode { node in
            // One of ours that is not close-on-exec.
            let raw = open("/etc/passwd", O_RDONLY)
            let leaky = Descriptor(adopting: dup2(raw, 777))
            close(raw)
            let process = try withExtendedLifetime(leaky) { try node.start() }
            let names = try Descriptor.open("/proc/\(process.pid)/fd", O_RDONLY | O_DIRECTORY).names()
            #expect(names.sorted() == ["0", "1", "2"])
            for name in names { #expect(try TestFile.link("/proc/\(process.pid)/fd/\(name)") == "/dev/null") }
            #expect(try TestFile.link("/proc/\(process.pid)/cwd") == "/")
            #expect(try withExtendedLifetime(leaky) { try node.output("ls /proc/self/fd | tr '\\n' ' '") } == "0 1 2 3 ")
        }
    }

    @Test func itsRootIsTheHostsRootOnDisk() throws {
        try withNode { node in
            try node.start()
            let text = "touch /mine; touch /theirs; chown 1000:33 /theirs; stat -c %u:%g /mine /theirs /bin/busybox"
            #expect(try node.output(text) == "0:0\n1000:33\n0:0")
            let mine = try TestFile.status(node.root() + "/mine")
            let theirs = try TestFile.status(node.root() + "/theirs")
            #expect((mine.st_uid, mine.st_gid) == (0, 0))
            #expect((theirs.st_uid, theirs.st_gid) == (1000, 33))
            #expect(try node.sh("chown 70000 /mine").0 != .code(0))
        }
    }

    @Test func theHostIsOutOfReach() throws {
        try withNode { node in
            try node.start("web", ctid: 101)
            try node.start("db", ctid: 102)
            let names = try node.output("cat /proc/[0-9]*/comm").split(separator: "\n")
            #expect(
                names.first == "sleep" && names.count <= 3 && Set(names).isSubset(of: ["sleep", "sh", "cat", "exe"]), "\(names)")
            #expect(try node.sh("mknod /null c 1 3").1.contains("Operation not permitted"))
            #expect(try node.sh("mknod /dev/sda b 8 0").1.contains("Operation not permitted"))
            #expect(try node.sh("echo 1 >/proc/sysrq-trigger").0 != .code(0))
            #expect(try node.sh("echo x >/proc/sys/kernel/core_pattern").0 != .code(0))
            #expect(try node.output("cat /proc/self/cgroup").split(separator: "\n").allSatisfy { $0.hasSuffix(":/") })
            #expect(try node.output("cd /; cd ..; ls -d dev/../../bin").isEmpty == false)
            #expect(try node.sh("ls /\(node.directory)").0 != .code(0))
        }
    }

    /// It may mount the control groups that it sees, since they are its own; the files in them are the host's all the same.
    @Test func itCannotRaiseItsOwnLimits() throws {
        try withNode { node in
            try node.start("web", ctid: 101, "beancounters: {numproc: 50}")
            let mounted = try node.output("mkdir /c; mount -t cgroup -o pids none /c || mount -t cgroup2 none /c; cat /c/pids.max")
            #expect(mounted.hasSuffix("50"))
            for attempt in [
                "echo max >/c/pids.max", "mkdir /c/nested", "echo /x >/c/release_agent", "echo 1 >/c/notify_on_release",
            ] {
                #expect(try node.sh(attempt).0 != .code(0), "\(attempt)")
            }
            #expect(try node.group().pidsMax() == 50)
            #expect(try node.plan().isEmpty)
        }
    }
}
