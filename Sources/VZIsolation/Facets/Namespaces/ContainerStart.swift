internal import Glibc
public import VZKernel
internal import VZModel
public import VZPlan

/// The start of a container's process 1 in namespaces of its own.
public struct ContainerStart: Sendable {
    /// First of the container's 65536 user and group ids on the host. It also owns the user namespace, so that what the kernel counts
    /// for its owner (ucounts, user_namespaces(7)) is this container's alone.
    public var idBase: UInt32
    public var hostname: String
    public var parameters: StartParameters
    /// How the kernel picks from the container's processes when the host is out of memory (proc_pid_oom_score_adj(5)).
    public var oomScore: Int64 = 0
    /// What covers each of `LxcfsFile.all`; `nil`: nothing, the container sees the kernel's own files.
    var lxcfs: [MountTree]?
    /// How many pseudo-terminals there may be, and pages of shared memory.
    var terminals = BarrierLimit.unlimited
    var sharedMemory = BarrierLimit.unlimited
    /// A file of the host's that the container sees as /run/user_beancounters.
    var report: String?
    /// Has what the container opens from its first instant on charged to it.
    var charging: Step?
    /// Has what it locks into memory held.
    var lockedPages: KeptPages?

    public init(idBase: UInt32, hostname: String, parameters: StartParameters) {
        self.idBase = idBase
        self.hostname = hostname
        self.parameters = parameters
    }

    public static let idCount: UInt32 = 65536

    /// Of open files: what systemd gives the services of a host, and never more than we have ourselves. The daemon may have many more, and
    /// programs that still use select(2), or close every descriptor that there could be, suffer from as many.
    private static var fileLimits: Step {
        get throws(KernelError) {
            let hard = min(try OwnProcess.openFilesHardLimit, 524_288)
            return .limitOpenFiles(soft: min(hard, 1024), hard: hard)
        }
    }

    /// Starts process 1 in `group` on `root`. It belongs to process 1 of the host from the first moment on.
    /// - Throws: `KernelError` naming the step that failed; then nothing is left.
    public func run(root: ContainerRoot, group: ControlGroup) throws(KernelError) -> PidFD {
        let directory = try root.open()
        let tree = try MountTree(cloning: directory)
        // Device nodes that a template or a container brought along mean nothing.
        try tree.set(.noDevices)
        let devices = try ContainerDevices(base: idBase, terminals: terminals, sharedMemory: sharedMemory)
        let capabilities = try Capabilities(DefaultCapabilities.names)
        let runtime = try RuntimeDirectory(for: directory, base: idBase, report: report)
        let process = try Launcher.launch(
            outer: outer(directory: directory, tree: tree, group: try group.openUnifiedDirectory()),
            inner: try inner(
                tree: tree, devices: devices, runtime: runtime, capabilities: capabilities,
                groups: try group.openTasksForJoining(unified: false)))
        do throws(KernelError) {
            try lockedPages?.confirm()
        } catch {
            try? process.send(signal: SIGKILL)
            throw error
        }
        // Only now: before its exec the new process shares our memory, and what is set for one is set for all who share it.
        do throws(KernelError) {
            if let ours = try OOMScore.own { try OOMScore.change(from: ours, to: oomScore, in: group) }
        } catch  where error.errno == EACCES || error.errno == EPERM {
            // Without CAP_SYS_RESOURCE it cannot be lowered: the facet tells that.
        }
        return process
    }

    /// Made with our identity: only we may write id maps, and map the ids of a mount of the host's.
    private func outer(directory: Descriptor, tree: MountTree, group: Descriptor?) -> [Step] {
        let map = "0 \(idBase) \(Self.idCount)\n"
        // The working directory goes along into the new mount namespace: that is how the new process finds its root there
        // without walking a path for which it has no permission.
        return [.changeDirectory(directory)] + (lockedPages?.outer ?? []) + [.setEffectiveIDs(idBase)]
            + [.clone([.user, .mount, .pid, .network, .uts, .ipc], asChildOfCaller: false, into: group), .setEffectiveIDs(0)]
            + [.writeProc(name: "uid_map", text: map), .writeProc(name: "gid_map", text: map)]
            + [.idMap(tree)] + [charging].compactMap { $0 } + sharedMemoryBound + [.release, .awaitExec]
    }

    private var sharedMemoryBound: [Step] {
        sharedMemory == BarrierLimit.unlimited
            ? [] : [.ipcControl("/proc/sys/kernel/shmall", SharedMemoryFacet.text(sharedMemory), root: idBase)]
    }

    /// - Parameter groups: opened by us, which is what the kernel goes by.
    private func inner(
        tree: MountTree, devices: ContainerDevices, runtime: RuntimeDirectory?, capabilities: Capabilities, groups: [Descriptor]
    ) throws(KernelError) -> [Step] {
        let plain: MountTree.Attributes = [.noSetuid, .noDevices, .noExec]
        return [.awaitRelease] + groups.map(Step.joinGroup) + [
            .newSession, .setIDs(0),
            .unshare(.cgroup),  // only now: the namespace's root is the group that the process is in
            .hostname(hostname), .loopbackUp, .privateMounts,
            .attachHere(tree),
            .attach(devices.dev, at: "dev", below: tree),
            .attach(devices.pts, at: "dev/pts", below: tree),
            .attach(devices.shm, at: "dev/shm", below: tree),
        ] + (runtime?.steps(below: tree) ?? []) + [
            // While the host's /proc and /sys are still there: the kernel lets a user namespace mount its own only beside full ones.
            .mountNew(type: "proc", options: [], attributes: plain, at: "proc", below: tree, entering: true)
        ] + covers(of: "proc") + [
            .mountNew(type: "sysfs", options: [], attributes: plain.union(.readOnly), at: "sys", below: tree, entering: true)
        ] + covers(of: "sysfs") + [
            .changeDirectory(tree.root),
            .mountNew(type: "mqueue", options: [], attributes: plain, at: "dev/mqueue", below: tree),
            .pivotRoot, .openStandardStreams("/dev/null"),
        ] + (lockedPages?.inner ?? []) + [
            .setCapabilities(capabilities), try Self.fileLimits, .defaultSignals, .closeOnExec(from: 3),
            Program(parameters.`init`, environment: parameters.env).step,
        ]
    }

    /// Files of lxcfs over those of a file system in whose root we stand: it was made just now, and no path of the container's root
    /// leads there.
    private func covers(of type: String) -> [Step] {
        zip(LxcfsFile.all, lxcfs ?? []).compactMap { file, mount in file.type == type ? .attach(mount, at: file.path) : nil }
    }
}

/// A program of the container's: what to execute, found as a shell would find it.
struct Program {
    let arguments: [String]
    let environment: [String: String]
    static let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    init(_ arguments: [String], environment: [String: String]) {
        self.arguments = arguments
        // `container` is how programs inside know where they are (systemd's CONTAINER_INTERFACE).
        let defaults = ["PATH": Self.path, "HOME": "/root", "TERM": "linux", "container": "vz"]
        self.environment = defaults.merging(environment) { $1 }
    }

    var step: Step {
        let name = arguments.first ?? ""
        let directories = (environment["PATH"] ?? Self.path).split(separator: ":")
        return .execute(
            candidates: name.contains("/") ? [name] : directories.map { "\($0)/\(name)" },
            arguments: arguments, environment: environment.map { "\($0.key)=\($0.value)" }.sorted())
    }
}
