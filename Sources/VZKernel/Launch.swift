internal import CLinux
internal import Glibc

/// Namespaces by their clone(2) flags.
public struct Namespaces: OptionSet, Sendable {
    public let rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    public static let user = Self(rawValue: UInt64(VZ_CLONE_NEWUSER))
    public static let mount = Self(rawValue: UInt64(VZ_CLONE_NEWNS))
    public static let pid = Self(rawValue: UInt64(VZ_CLONE_NEWPID))
    public static let network = Self(rawValue: UInt64(VZ_CLONE_NEWNET))
    public static let uts = Self(rawValue: UInt64(VZ_CLONE_NEWUTS))
    public static let ipc = Self(rawValue: UInt64(VZ_CLONE_NEWIPC))
    public static let cgroup = Self(rawValue: UInt64(VZ_CLONE_NEWCGROUP))
    public static let all: Self = [.user, .mount, .pid, .network, .uts, .ipc, .cgroup]
}

/// One prepared step of a start. Steps run between clone and exec, where nothing of Swift can; their order is the caller's affair.
///
/// `Sources/CLinux/include/vz_launch.h` says what each does.
public enum Step: Sendable {
    // By the outer process, with our identity.
    case clone(Namespaces, asChildOfCaller: Bool, into: Descriptor? = nil)
    case writeProc(name: String, text: String)
    case idMap(MountTree)
    case mapUserNamespace(BPFMap, to: UInt64, noting: MappedMemory.Word)
    case ipcControl(String, String, root: UInt32)
    case release
    case awaitExec
    // By the new process.
    case awaitRelease
    case joinGroup(Descriptor)
    case setIDs(UInt32)
    case newSession
    case hostname(String)
    case loopbackUp
    case privateMounts
    case attachHere(MountTree)
    /// Without `below`, below the working directory.
    case attach(MountTree, at: String, below: MountTree? = nil)
    /// With `entering` the working directory moves into it.
    case mountNew(
        type: String, options: [(String, String)], attributes: MountTree.Attributes, at: String, below: MountTree,
        entering: Bool = false)
    case pivotRoot
    case openStandardStreams(String)
    case setCapabilities(Capabilities)
    case limitOpenFiles(soft: UInt64, hard: UInt64)
    case keepLocked(KeeperEntry)
    case defaultSignals
    case closeOnExec(from: Int32)
    case controllingTerminal(Descriptor)
    case execute(candidates: [String], arguments: [String], environment: [String])
    // By either.
    case changeDirectory(Descriptor)
    case changeDirectoryPath(String)
    /// A directory through no symbolic link, in the mount with this id (mountinfo).
    case enterMount(String, id: UInt64)
    case detach(String)
    case setEffectiveIDs(UInt32)
    case unshare(Namespaces)
    case enter(PidFD, Namespaces)
    /// Of locked memory, bytes (RLIMIT_MEMLOCK). The hard limit only where it could be raised again.
    case limitLocked(UInt64)
    case write(Descriptor, String)
    case duplicate(Descriptor, onto: Int32)

    /// What a failure of the step is called.
    var action: String {
        switch self {
        case .clone: "make the process and its namespaces (clone3)"
        case .joinGroup: "join the control group"
        case .writeProc(let name, let text): "write \"\(text.trimmedLine)\" to /proc/PID/\(name)"
        case .limitOpenFiles(let soft, let hard): "set the limits of open files to \(soft) and \(hard) (RLIMIT_NOFILE)"
        case .limitLocked(let bytes): "set the limit of locked memory to \(bytes) (RLIMIT_MEMLOCK)"
        case .keepLocked: "have the calls that lock memory watched (seccomp)"
        case .idMap: "map the ids of the root mount (mount_setattr MOUNT_ATTR_IDMAP)"
        case .ipcControl(let path, let text, _): "write \"\(text)\" to \(path)"
        case .mapUserNamespace: "enter the user namespace in a BPF map"
        case .release, .awaitRelease: "hand over to the new process"
        case .awaitExec: "wait for the program to start"
        case .setIDs(let id): "become user \(id) inside"
        case .newSession: "make a session (setsid)"
        case .hostname(let name): "set host name \"\(name)\""
        case .loopbackUp: "set the loopback interface up"
        case .privateMounts: "make all mounts private"
        case .attachHere: "attach the root mount (move_mount)"
        case .attach(_, let path, _): "attach the mount of /\(path)"
        case .mountNew(let type, _, _, let path, _, _): "mount \(type) on /\(path)"
        case .pivotRoot: "change the root (pivot_root)"
        case .openStandardStreams(let path): "open \(path) for standard input and output"
        case .setCapabilities: "set capabilities"
        case .defaultSignals: "unblock signals"
        case .closeOnExec: "mark descriptors close-on-exec (close_range)"
        case .controllingTerminal: "take the terminal (TIOCSCTTY)"
        case .execute(let candidates, let arguments, _): "execute \"\(arguments.first ?? candidates.first ?? "")\""
        case .changeDirectory: "enter the directory"
        case .changeDirectoryPath(let path): "enter directory \"\(path)\""
        case .enterMount(let path, let id): "enter directory \"\(path)\" of mount \(id)"
        case .detach(let path): "detach the mount of \(path) (umount2)"
        case .setEffectiveIDs(let id): "become user \(id)"
        case .unshare: "make namespaces (unshare)"
        case .enter(let process, _): "enter the namespaces of process \(process.pid) (setns)"
        case .write(_, let text): "write \"\(text.trimmedLine)\""
        case .duplicate(_, let to): "set up descriptor \(to)"
        }
    }
}

extension String {
    fileprivate var trimmedLine: Substring { last == "\n" ? dropLast() : self[...] }
}

/// Starts processes by the step interpreter.
public enum Launcher {
    /// Runs steps in a process of their own, which ends with them: what they enter stays there.
    /// - Throws: `KernelError` naming the failed step; those before it stay done.
    public static func perform(_ steps: [Step]) throws(KernelError) {
        let program = StepProgram(steps)
        var launched = vz_launched()
        let answer = withExtendedLifetime((steps, program)) { vz_launch(program.steps, steps.count, nil, 0, &launched) }
        if answer == 0 { return }
        let isStep = launched.failed != 3 && steps.indices.contains(Int(launched.step))
        throw KernelError(isStep ? steps[Int(launched.step)].action : "start a process", errno: launched.error)
    }

    /// Runs `outer` and `inner` (see vz_launch.h) and answers the new process once it executes its program.
    ///
    /// Blocks the calling thread for some milliseconds. When this throws, no process is left.
    /// - Throws: `KernelError` naming the failed step.
    public static func launch(outer: [Step], inner: [Step]) throws(KernelError) -> PidFD {
        let outerProgram = StepProgram(outer)
        let innerProgram = StepProgram(inner)
        var launched = vz_launched()
        let answer = withExtendedLifetime((outer, inner, outerProgram, innerProgram)) {
            vz_launch(outerProgram.steps, outer.count, innerProgram.steps, inner.count, &launched)
        }
        if answer == 0 { return PidFD(pid: launched.pid, adopting: launched.pidfd) }
        let steps = launched.failed == 1 ? outer : inner
        let action =
            launched.failed != 3 && steps.indices.contains(Int(launched.step))
            ? steps[Int(launched.step)].action : "start a process"
        throw KernelError(action, errno: launched.error)
    }
}

/// Steps in the form that the interpreter reads, with the strings they point to.
private final class StepProgram {
    let steps: UnsafeMutablePointer<vz_step>
    private let count: Int
    private var strings: [CStrings] = []

    init(_ list: [Step]) {
        count = list.count
        steps = .allocate(capacity: max(count, 1))
        steps.initialize(repeating: vz_step(), count: count)
        for (i, step) in list.enumerated() { fill(&steps[i], step) }
    }

    deinit { steps.deallocate() }

    private func keep(_ list: [String]) -> CStrings {
        let kept = CStrings(list)
        strings.append(kept)
        return kept
    }

    private func set(_ s: inout vz_step, _ op: vz_op, fd: Int32 = -1, fd2: Int32 = -1, number: UInt64 = 0) {
        s.op = Int32(bitPattern: op.rawValue)
        s.fd = fd
        s.fd2 = fd2
        s.number = number
    }

    private func fill(_ s: inout vz_step, _ step: Step) {
        switch step {
        case .clone(let namespaces, let sibling, let group):
            set(&s, VZ_CLONE, fd: group?.raw ?? -1, number: namespaces.rawValue | (sibling ? UInt64(VZ_CLONE_PARENT) : 0))
        case .joinGroup(let group): set(&s, VZ_JOIN_GROUP, fd: group.raw)
        case .limitOpenFiles(let soft, let hard):
            set(&s, VZ_LIMIT_FILES, number: soft)
            s.hard = hard
        case .limitLocked(let bytes): set(&s, VZ_LIMIT_LOCKED, number: bytes)
        case .keepLocked(let entry):
            set(&s, VZ_KEEP_LOCKED, fd: entry.keeper.raw, fd2: entry.table.raw, number: UInt64(entry.ctid))
            (s.fd3, s.hard, s.owner) = (entry.group.raw, entry.counter, entry.owner)
            if entry.counts { s.text = keep(["counts"])[0] }
        case .idMap(let tree): set(&s, VZ_IDMAP, fd: tree.root.raw)
        case .mapUserNamespace(let map, let value, let word):
            set(&s, VZ_MAP_USERNS, fd: map.descriptor.raw, number: value)
            s.word = word.pointer
        case .release: set(&s, VZ_RELEASE)
        case .awaitExec: set(&s, VZ_AWAIT_EXEC)
        case .awaitRelease: set(&s, VZ_AWAIT_RELEASE)
        case .setIDs(let id): set(&s, VZ_SET_IDS, number: UInt64(id))
        case .newSession: set(&s, VZ_NEW_SESSION)
        case .loopbackUp: set(&s, VZ_LOOPBACK_UP)
        case .privateMounts: set(&s, VZ_PRIVATE_MOUNTS)
        case .attachHere(let tree): set(&s, VZ_ATTACH_HERE, fd: tree.root.raw)
        case .pivotRoot: set(&s, VZ_PIVOT_ROOT)
        case .defaultSignals: set(&s, VZ_DEFAULT_SIGNALS)
        case .closeOnExec(let first): set(&s, VZ_CLOSE_ON_EXEC, number: UInt64(first))
        case .controllingTerminal(let terminal): set(&s, VZ_CONTROLLING_TTY, fd: terminal.raw)
        case .changeDirectory(let directory): set(&s, VZ_CHDIR, fd: directory.raw)
        case .setEffectiveIDs(let id): set(&s, VZ_SET_EFFECTIVE_IDS, number: UInt64(id))
        case .unshare(let namespaces): set(&s, VZ_UNSHARE, number: namespaces.rawValue)
        case .enter(let process, let namespaces): set(&s, VZ_SETNS, fd: process.descriptor.raw, number: namespaces.rawValue)
        case .duplicate(let from, let to): set(&s, VZ_DUP2, fd: from.raw, fd2: to)
        case .setCapabilities(let capabilities):
            set(&s, VZ_SET_CAPS)
            s.caps = UnsafeRawPointer(capabilities.raw)
        default: fillText(&s, step)
        }
    }

    /// The steps that carry strings.
    private func fillText(_ s: inout vz_step, _ step: Step) {
        switch step {
        case .writeProc(let name, let text):
            set(&s, VZ_WRITE_PROC)
            (s.path, s.text) = (keep([name])[0], keep([text])[0])
        case .ipcControl(let path, let text, let root):
            set(&s, VZ_IPC_CONTROL, number: UInt64(root))
            (s.path, s.text) = (keep([path])[0], keep([text])[0])
        case .hostname(let name):
            set(&s, VZ_HOSTNAME)
            s.text = keep([name])[0]
        case .write(let file, let text):
            set(&s, VZ_WRITE, fd: file.raw)
            s.text = keep([text])[0]
        case .attach(let tree, let path, let below):
            set(&s, VZ_ATTACH, fd: tree.root.raw, fd2: below?.root.raw ?? -1)
            s.path = keep([path])[0]
        case .enterMount(let path, let id):
            set(&s, VZ_ENTER_MOUNT, number: id)
            s.path = keep([path])[0]
        case .detach(let path):
            set(&s, VZ_DETACH)
            s.path = keep([path])[0]
        case .mountNew(let type, let options, let attributes, let path, let below, let entering):
            set(&s, VZ_MOUNT_NEW, fd2: below.root.raw, number: attributes.rawValue)
            s.hard = entering ? 1 : 0
            (s.text, s.path) = (keep([type])[0], keep([path])[0])
            s.list = keep(options.flatMap { [$0.0, $0.1] }).pointer
        case .openStandardStreams(let path):
            set(&s, VZ_OPEN_STDIO)
            s.path = keep([path])[0]
        case .changeDirectoryPath(let path):
            set(&s, VZ_CHDIR)
            s.path = keep([path])[0]
        case .execute(let candidates, let arguments, let environment):
            set(&s, VZ_EXEC)
            s.list = keep(candidates).pointer
            s.argv = keep(arguments).pointer
            s.env = keep(environment).pointer
        default: break  // every other step is in `fill`
        }
    }
}
