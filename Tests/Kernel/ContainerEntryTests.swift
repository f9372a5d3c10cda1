import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan

/// Programs that are started inside a running container: `exec` and `enter`.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct ContainerEntryTests {
    @Test func itEndsAsTheProgramEnds() throws {
        try withNode { node in
            try node.start()
            #expect(try node.sh("exit 0").0 == .code(0))
            #expect(try node.sh("exit 7").0 == .code(7))
            #expect(try node.sh("kill -TERM $$").0 == .signal(SIGTERM))
        }
    }

    @Test func itIsInEveryNamespaceAndGroupOfTheContainer() throws {
        try withNode { node in
            let one = try node.start("web", ctid: 101)
            for name in ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"] {
                #expect(try node.output("readlink /proc/self/ns/\(name)") == TestFile.link("/proc/\(one.pid)/ns/\(name)"))
            }
            let seen = try node.observe()
            let entry = ContainerEntry(command: ["sleep", "1000000"])
            let child = try entry.run(in: one, group: seen.handle.group)
            let groups = try KernelFile.read("/proc/\(child.pid)/cgroup")
            #expect(groups == (try KernelFile.read("/proc/\(one.pid)/cgroup")))
            #expect(groups.contains("/\(node.paths.controlGroup)/101"))
            try child.send(signal: SIGKILL)
            #expect(try child.waitAsParent() == .signal(SIGKILL))
        }
    }

    @Test func itsEnvironmentIsNotOurs() throws {
        try withNode { node in
            try node.start("web", ctid: 101, "env: {FROM: manifest}")
            setenv("VZ_TEST_OURS", "secret", 1)
            defer { unsetenv("VZ_TEST_OURS") }
            let (_, text) = try node.sh("env | sort", environment: ["MORE": "a b"])
            let names = text.split(separator: "\n").map { String($0.split(separator: "=")[0]) }
            #expect(Set(names).isSubset(of: ["HOME", "MORE", "OLDPWD", "PATH", "PWD", "SHLVL", "TERM", "container"]), "\(text)")
            #expect(text.contains("MORE=a b\n") && text.contains("container=vz\n"))
            #expect(try node.output("tr '\\0' '\\n' </proc/1/environ").contains("FROM=manifest"))
        }
    }

    @Test func aCommandThatIsNotThere() throws {
        try withNode { node in
            try node.start()
            let seen = try node.observe()
            let process = try #require(seen.handle.process)
            for (command, error) in [("nosuch", ENOENT), ("/no/such", ENOENT), ("/etc/passwd", EACCES), ("/bin", EACCES)] {
                #expect {
                    _ = try ContainerEntry(command: [command]).run(in: process, group: seen.handle.group)
                } throws: {
                    ($0 as? KernelError)?.errno == error && "\($0)".contains("\"\(command)\"")
                }
            }
            #expect(try seen.handle.group.processes() == [process.pid])
        }
    }

    @Test func atTheLimitOfProcessesItFailsAndLeavesNothing() throws {
        try withNode { node in
            try node.start("web", ctid: 101, "beancounters: {numproc: 1}")
            let seen = try node.observe()
            let process = try #require(seen.handle.process)
            #expect {
                _ = try ContainerEntry(command: ["true"]).run(in: process, group: seen.handle.group)
            } throws: {
                ($0 as? KernelError)?.errno == EAGAIN && "\($0)".contains("clone3")
            }
            try TestPlace.wait("only process 1 is there") { try seen.handle.group.processes() == [process.pid] }
            #expect(try node.plan().isEmpty)
        }
    }

    @Test func aTerminalOfTheContainers() throws {
        try withNode { node in
            try node.start()
            let seen = try node.observe()
            let process = try #require(seen.handle.process)
            let terminal = try PseudoTerminal(inRootOf: process)
            let command = ["/bin/sh", "-c", "tty; ps -o pid,tty | tail -n 1 >/dev/null; echo $((6 * 7)) >/dev/tty; exit 5"]
            let child = try ContainerEntry(command: command).run(in: process, group: seen.handle.group, terminal: terminal)
            #expect(child.waitForExit(milliseconds: TestPlace.patienceMilliseconds))
            var bytes: [UInt8] = []
            var chunk = [UInt8](repeating: 0, count: 4096)
            // Ends with EIO: nobody, nor we, has the other end open any more.
            while case let count = read(terminal.master.raw, &chunk, chunk.count), count > 0 { bytes += chunk[0..<count] }
            #expect(String(decoding: bytes, as: UTF8.self) == "/dev/pts/0\r\n42\r\n")
            #expect(try child.waitAsParent() == .code(5))
        }
    }

    @Test func vzctlExec() throws {
        try withNode { node in
            try node.start()
            #expect(try node.vzctl("exec", "web", "--", "cat", input: "piped\n").output == "piped\n")
            #expect(try node.vzctl("exec", "101", "sh", "-c", "exit 7").exit == .code(7))
            #expect(try node.vzctl("exec", "web", "--", "sh", "-c", "kill -9 $$").exit == .code(137))
            let unknown = try node.vzctl("exec", "web", "nosuch")
            #expect(unknown.exit == .code(127))
            #expect(unknown.errors == "vzctl: execute \"nosuch\": No such file or directory\n")
            #expect(try node.vzctl("exec", "nobody", "true").exit == .code(68))
            try node.declare("web", "ctid: 101\nstate: stopped")
            try node.apply()
            #expect(try node.vzctl("exec", "web", "true").exit == .code(31))
        }
    }

    @Test func vzctlEnter() throws {
        try withNode { node in
            try node.start()
            let typed = "tty; stty size\nexit 4\n"
            let script = "stty rows 33 columns 99; exec \(TestPlace.programs)/vzctl enter web"
            let entered = try node.run(["script", "-qec", script, "/dev/null"], input: typed)
            #expect(entered.exit == .code(4), "\(entered)")
            #expect(entered.output.contains("/dev/pts/0\r\n33 99\r\n"), "\(entered)")
            // Without a terminal of our own, as from cron.
            let piped = try node.vzctl("enter", "web", input: "tty; exit 3\n")
            #expect(piped.exit == .code(3) && piped.output.contains("/dev/pts/0"), "\(piped)")
        }
    }
}
