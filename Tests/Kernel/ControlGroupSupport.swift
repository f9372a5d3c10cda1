import Glibc
import Testing

@testable import VZKernel

/// Our own corner of the host's control groups, for one test.
func withControlGroups(_ body: (ControlGroupTree) throws -> Void) throws {
    let tree = try ControlGroupTree.discover(parent: ControlGroupTestNames.next())
    try tree.prepareParent()
    defer { cleanUpControlGroups(tree) }
    try body(tree)
}

/// Ends and removes everything below the tree's parent, and the parent; the test fails when something stays.
func cleanUpControlGroups(_ tree: ControlGroupTree) {
    do {
        for name in try tree.groupNames() {
            let group = try tree.group(name)
            try group.killAll()
            _ = try group.waitUntilEmpty(deadline: .now + .seconds(30))
            try group.remove()
        }
        try tree.removeParent()
    } catch {
        Issue.record(error, "cleaning up")
    }
    for hierarchy in tree.hierarchies {
        #expect(faccessat(hierarchy.directory.raw, tree.parent, F_OK, 0) < 0, "\(tree.parent) is left in \(hierarchy.name)")
    }
}

enum ControlGroupTestNames {
    /// `vz-test-PID-NUMBER`, new with each call.
    static func next() -> String {
        var bytes: UInt64 = 0
        withUnsafeMutableBytes(of: &bytes) { _ = getentropy($0.baseAddress, $0.count) }
        return "vz-test-\(getpid())-\(bytes % 1_000_000)"
    }
}

extension ControlGroupTree {
    func version(of controller: Controller) -> Version? { hierarchy(of: controller)?.version }
}

/// Whether the program can work on the host's groups at all.
var mayUseControlGroups: Bool { geteuid() == 0 }

/// A program in a group: joined before its first instruction, with a socket as its input and output.
final class GroupProgram {
    let process: pid_t
    private let socket: Descriptor
    private var ended: Int32?

    /// Starts `argv` by way of a shell that waits until it is in the group.
    init(_ argv: [String], in group: ControlGroup) throws {
        var ends: [Int32] = [-1, -1]
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, type, 0, &ends) == 0 else { throw KernelError("make a socket pair", errno: errno) }
        let ours = Descriptor(adopting: ends[0])
        let theirs = Descriptor(adopting: ends[1])
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, theirs.raw, 0)
        posix_spawn_file_actions_adddup2(&actions, theirs.raw, 1)
        var arguments = (["/bin/sh", "-c", "read go; exec \"$@\"", "sh"] + argv).map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var pid: pid_t = 0
        let failure = posix_spawn(&pid, "/bin/sh", &actions, nil, &arguments, environ)
        if failure != 0 { throw KernelError("start \(argv)", errno: failure) }
        process = pid
        socket = ours
        do {
            try group.join(pid)
        } catch {
            kill(pid, SIGKILL)
            wait()
            throw error
        }
        try ours.writeAll([10])
    }

    static func python(_ script: String, in group: ControlGroup) throws -> GroupProgram {
        try GroupProgram(["/usr/bin/python3", "-S", "-E", "-c", script], in: group)
    }

    /// The next line of the program's output, without its end; what is there when the program closes it.
    func line() throws -> String {
        var bytes: [UInt8] = []
        var byte: UInt8 = 0
        while true {
            let n = read(socket.raw, &byte, 1)
            if n < 0 && errno == EINTR { continue }
            if n <= 0 || byte == 10 { return String(decoding: bytes, as: UTF8.self) }
            bytes.append(byte)
        }
    }

    /// Writes to the program's input.
    func say(_ text: String) throws { try socket.writeAll(text.utf8) }

    /// Waits for the end: the exit code, or minus the signal; `nil` when it does not end within a minute.
    @discardableResult func wait() -> Int32? {
        let deadline = ContinuousClock.now + .seconds(60)
        var status: Int32 = 0
        while ended == nil, ContinuousClock.now < deadline {
            if waitpid(process, &status, WNOHANG) == process {
                ended = status & 0x7f == 0 ? (status >> 8) & 0xff : -(status & 0x7f)
            } else {
                poll(nil, 0, 2)
            }
        }
        return ended
    }

    /// Whether it runs.
    var lives: Bool {
        if ended != nil { return false }
        var info = siginfo_t()
        info.si_signo = 0
        return waitid(P_PID, id_t(process), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_signo == 0
    }

    deinit {
        if ended == nil { kill(process, SIGKILL) }
        wait()
    }
}

extension ControlGroup {
    /// Moves a process into the group in every hierarchy, with all its threads.
    func join(_ process: Int32) throws {
        for hierarchy in tree.hierarchies {
            let procs = try Descriptor.open("\(path)/cgroup.procs", O_WRONLY, at: hierarchy.directory)
            try procs.writeAll("\(process)".utf8, named: "cgroup.procs of /\(path)")
        }
    }
}
