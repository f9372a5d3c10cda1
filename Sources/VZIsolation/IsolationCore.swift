internal import Glibc
internal import Synchronization
public import VZKernel
public import VZModel
public import VZPlan

/// The isolation core: looks at containers in the kernel and makes changes to them, each idempotent.
///
/// It decides nothing. Calls block; callers keep two calls for one container from running at once.
public struct IsolationCore: Sendable {
    public let paths: NodePaths
    /// Where the containers' control groups are.
    public let tree: ControlGroupTree
    /// What that tree can hold, what the roots lie on, and lxcfs, as `lookAtHost` last saw them.
    public var host: HostCapabilities { seen.value.withLock { $0 } }
    private let seen: SeenHost
    private let views = LxcfsViews()
    public let templates: TemplateStore
    private let keeper: BeancounterKeeper
    /// What programs in the kernel charge; `nil` where there are none.
    public var beancounters: BeancounterTable? { keeper.table }

    /// Why beancounters are not counted although they could be; `nil`: they are, or nobody can.
    public var beancounterTrouble: String? { keeper.trouble }

    private init(paths: NodePaths, tree: ControlGroupTree, host: HostCapabilities, keeper: BeancounterKeeper) {
        self.paths = paths
        self.tree = tree
        self.keeper = keeper
        seen = SeenHost(host)
        templates = TemplateStore(directory: paths.templates)
    }

    /// - Parameter host: what was seen of `tree`. Beancounters are not looked for.
    init(paths: NodePaths, tree: ControlGroupTree, host: HostCapabilities) {
        let keeper = BeancounterKeeper(paths: paths, tree: tree, makes: false, replaces: false)
        self.init(paths: paths, tree: tree, host: host, keeper: keeper)
    }

    /// The core of this host. With `preparing`, makes the parent control group, and has beancounters counted, which needs root.
    /// - Parameters:
    ///   - replacing: programs of another version are replaced.
    ///   - watching: of a container whose process 1 is known, settings are only read again that somebody may have changed.
    public init(paths: NodePaths, preparing: Bool, replacing: Bool = false, watching: Bool = false) throws(KernelError) {
        var tree = try ControlGroupTree.discover(parent: paths.controlGroup)
        if watching { tree.memory = try? ControlGroupMemory() }
        let host = try preparing ? HostCapabilities(preparing: tree) : HostCapabilities(tree)
        let keeper = BeancounterKeeper(paths: paths, tree: tree, makes: preparing, replaces: replacing)
        self.init(paths: paths, tree: tree, host: host, keeper: keeper)
        try lookAtHost()
    }

    /// Gives the places of containers in the table of beancounters back that are no more. Once, when nobody else is at work.
    public func forgetEndedBeancounters() throws(KernelError) {
        try keeper.forget { () throws(KernelError) in try present() }
    }

    // MARK: Looking

    /// Looks at what may have become otherwise: what the roots lie on, since something may have been mounted, or a disk's scheduler
    /// changed; its CPUs and memory nodes; lxcfs, which may have been started or have ended; and the programs that count beancounters.
    public func lookAtHost() throws(KernelError) {
        var host = host
        try host.lookAtProcessors(tree)
        tree.memory?.note(processors: host.cpus?.text)
        try host.lookAtStorage(paths, tree)
        host.lxcfs = LxcfsService(lookingAt: paths.lxcfs, before: host.lxcfs)
        host.beancounters = keeper.look()
        seen.value.withLock { $0 = host }
    }

    /// The number of the file system that is mounted where lxcfs shall be; `nil` when none is. It is not asked whether it answers.
    public var lxcfsDevice: String? { LxcfsService.mount(at: paths.lxcfs)?.device }

    /// What the kernel holds for one container, with the handle to change it.
    public struct Observation: Sendable {
        public var container: ObservedContainer
        public var handle: ContainerHandle
    }

    /// The containers that have anything in the kernel, running or not.
    public func present() throws(KernelError) -> [ContainerID] {
        try tree.groupNames().compactMap { ContainerID(text: $0) }.sorted()
    }

    /// The control group of a container, whether it is there or not.
    public func group(of ctid: ContainerID) throws(KernelError) -> ControlGroup { try tree.group(String(ctid.number)) }

    public func rootExists(of ctid: ContainerID) throws(KernelError) -> Bool { try ContainerRoot(ctid: ctid, paths: paths).exists }

    /// Looks at one container.
    /// - Parameter known: a process that was its process 1 at an earlier look; saves the search for it while it runs.
    public func observe(_ ctid: ContainerID, known: PidFD? = nil) throws(KernelError) -> Observation {
        let group = try tree.group(String(ctid.number))
        var process = known.flatMap { $0.isRunning ? $0 : nil }
        // Its group is there as long as it is.
        if process == nil { group.forget() } else { tree.memory?.catchUp() }
        let present = process != nil ? true : try group.exists
        if process == nil && present { process = try Self.processOne(of: group) }
        let handle = handle(ctid, group, process)
        var seen = ObservedContainer(isRunning: process != nil, isPresent: present)
        seen.rootExists = try ContainerRoot(ctid: ctid, paths: paths).exists
        if process == nil { views.forget(ctid) }
        if let process {
            do throws(KernelError) {
                for facet in Facets.all { seen.settings += try facet.observe(handle) }
                seen.startedWith = try Labels.startParameters(of: group)
            } catch {
                // When it ended under our eyes, what is left of it is looked at anew. A process that is about to end leaves its
                // namespaces (ESRCH of setns) a moment before its pidfd tells.
                guard process.waitForExit(milliseconds: error.errno == ESRCH ? 1000 : 0) else { throw error }
                return try observe(ctid)
            }
        }
        return Observation(container: seen, handle: handle)
    }

    private func handle(_ ctid: ContainerID, _ group: ControlGroup, _ process: PidFD?) -> ContainerHandle {
        ContainerHandle(ctid: ctid, group: group, process: process, host: host, paths: paths, views: views, table: beancounters)
    }

    /// What we ourselves last wrote, by the kernel's name: what tells drift from a new wish.
    /// - Throws: `KernelError` when that cannot be read; none is known when the group has gone.
    public func lastSet(_ handle: ContainerHandle) throws(KernelError) -> [String: Setting.Value] {
        do throws(KernelError) {
            return try Labels.lastSet(on: handle.group)
        } catch  where error.errno == ENOENT {
            return [:]
        }
    }

    /// The name under which the running container was started.
    public func name(of ctid: ContainerID) -> String? {
        (try? tree.group(String(ctid.number))).flatMap { try? Labels.name(of: $0) }
    }

    /// The containers that have a root, or a place for one, on the disk; none when that cannot be seen.
    public func homes() -> [ContainerID] {
        let directory = try? Descriptor.open(paths.containers, O_RDONLY | O_DIRECTORY)
        return ((try? directory?.names()) ?? []).compactMap { ContainerID(text: $0) }.sorted()
    }

    /// What the directory of a container's root tells of it.
    public func rootLabels(of ctid: ContainerID) -> (name: String?, template: String?) {
        ContainerRoot(ctid: ctid, paths: paths).labels
    }

    /// First host id of a running container, from its process 1's id map.
    public func idBase(of process: PidFD) -> UInt32? {
        guard let map = try? KernelFile.read("/proc/\(process.pid)/uid_map"), process.isRunning else { return nil }
        let fields = map.split { $0 == " " || $0 == "\t" || $0 == "\n" }
        return fields.count == 3 && fields[0] == "0" ? UInt32(fields[1]) : nil
    }

    /// Process 1 of the container is the one in the group whose number in the next inner pid namespace is 1.
    /// - Throws: when a process that is there cannot be looked at: it might be that one, and the container would be started twice.
    private static func processOne(of group: ControlGroup) throws(KernelError) -> PidFD? {
        for pid in try group.processes() {
            do throws(KernelError) {
                let process = try PidFD(pid: pid)
                let status = try KernelFile.read("/proc/\(pid)/status")
                guard process.isRunning, let line = status.split(separator: "\n").first(where: { $0.hasPrefix("NSpid:") }) else {
                    continue
                }
                let numbers = line.dropFirst(6).split { $0 == "\t" || $0 == " " }
                if numbers.count == 2 && numbers[1] == "1" { return process }
            } catch  where error.errno == ESRCH || error.errno == ENOENT {
                // It has ended meanwhile.
            }
        }
        return nil
    }

    // MARK: Changing

    /// Makes changes in their order.
    /// - Parameters:
    ///   - desired: whose changes they are.
    ///   - idBase: the container's first id on the host.
    ///   - stopTimeout: how long a stop waits before it kills.
    ///   - begun: called before each change is made.
    ///   - made: called after each change that was made.
    /// - Returns: the container's process 1 afterwards.
    /// - Throws: `KernelError` of the first change that failed; a start that failed is undone.
    @discardableResult
    public func execute(
        _ changes: [Change], on handle: ContainerHandle, for desired: DesiredContainer, idBase: UInt32,
        stopTimeout: Duration = .seconds(120), begun: (Change) -> Void = { _ in }, made: (Change) -> Void = { _ in }
    ) throws(KernelError) -> PidFD? {
        var handle = handle
        // Of one that does not run nothing is known yet: its limits are set before its first process is there.
        var isPrepared = handle.process != nil
        for change in changes where change.held == nil {
            begun(change)
            switch change.action {
            case .stop:
                try stop(handle, timeout: stopTimeout)
                isPrepared = false
                handle = self.handle(of: handle, process: nil)
            case .discardRoot:
                // One that appeared meanwhile is not there to be taken away.
                try Trash(paths: paths).take(handle.ctid, named: desired.name)
            case .makeRoot(let template):
                try ContainerRoot(ctid: handle.ctid, paths: paths).make(from: template, in: templates)
            case .set(let setting):
                if !isPrepared { try prepare(handle) }
                isPrepared = true
                // Those of one facet that follow are made together: their order among themselves is the facet's.
                let together = Self.settings(of: Self.facet(of: setting), in: changes)
                if together.first == setting { try make(together, on: handle) }
            case .start:
                if !isPrepared { try prepare(handle) }
                isPrepared = true
                let process = try start(handle, desired, idBase: idBase)
                handle = self.handle(of: handle, process: process)
            case .wait: break
            }
            made(change)
        }
        return handle.process
    }

    private func handle(of handle: ContainerHandle, process: PidFD?) -> ContainerHandle {
        views.forget(handle.ctid)
        return self.handle(handle.ctid, handle.group, process)
    }

    private static func facet(of setting: Setting) -> (any Facet)? { Facets.all.first { $0.fields.contains(setting.field) } }

    private static func settings(of facet: (any Facet)?, in changes: [Change]) -> [Setting] {
        changes.compactMap { change in
            guard change.held == nil, case .set(let setting) = change.action, facet?.fields.contains(setting.field) == true else {
                return nil
            }
            return setting
        }
    }

    private func make(_ settings: [Setting], on handle: ContainerHandle) throws(KernelError) {
        guard let first = settings.first, let facet = Self.facet(of: first) else { return }
        do throws(KernelError) {
            try facet.apply(settings, to: handle)
        } catch {
            if handle.process == nil { try? clear(handle) }
            throw error
        }
        Labels.note(settings, on: handle.group)
    }

    /// Makes the places in the kernel where limits are, for a container that does not run: nothing held, nothing bound.
    private func prepare(_ handle: ContainerHandle) throws(KernelError) {
        do throws(KernelError) {
            try handle.group.create()
            _ = try beancounters?.take(handle.ctid, depth: handle.group.depth)
        } catch {
            try? clear(handle)
            throw error
        }
    }

    private func start(_ handle: ContainerHandle, _ desired: DesiredContainer, idBase: UInt32) throws(KernelError) -> PidFD {
        let root = ContainerRoot(ctid: handle.ctid, paths: paths)
        let hostname = desired.wish.settings.first { $0.field == "hostname" }?.value ?? desired.name
        do throws(KernelError) {
            guard try root.exists else {
                throw KernelError(
                    "start CT \(handle.ctid)", detail: "there is no root at \(root.path); give spec.template, or put a root there"
                ).waitingForInput
            }
            try Labels.write(desired.start, name: desired.name, to: handle.group)
            root.note(name: desired.name)
            var start = ContainerStart(idBase: idBase, hostname: hostname, parameters: desired.start)
            start.oomScore = desired.wish.settings.first { $0.kernelName == OOMScore.name }?.kernelValue.number ?? 0
            // Without it, should it not answer: the next look tells.
            start.lxcfs = LxcfsFacet.isWanted(by: desired.wish) ? try? host.lxcfs?.mounts() : nil
            func bound(_ name: String) -> Int64 {
                desired.wish.settings.first { $0.kernelName == name }?.kernelValue.number ?? BarrierLimit.unlimited
            }
            start.report = beancounterReport
            start.terminals = bound(TerminalFacet.kernelName)
            start.sharedMemory = bound(SharedMemoryFacet.kernelName)
            start.charging = handle.slot.flatMap { beancounters?.step(charging: $0, owner: idBase) }
            start.lockedPages = try handle.keptPages(owner: idBase)
            let process = try start.run(root: root, group: handle.group)
            Labels.note(desired.wish.settings.filter { $0.phase == .process }, on: handle.group)
            return process
        } catch {
            try? clear(handle)
            throw error
        }
    }

    /// Asks process 1 to stop in its own way, waits, kills what is left, and takes the control group away.
    private func stop(_ handle: ContainerHandle, timeout: Duration) throws(KernelError) {
        if let process = handle.process { _ = try Halt.ask(process, timeout: timeout) }
        try clear(handle)
    }

    private func clear(_ handle: ContainerHandle) throws(KernelError) {
        let group = handle.group
        // Last, since who is not in the kernel any more has no place in the table either.
        guard try group.exists else {
            try beancounters?.release(handle.ctid)
            return
        }
        try group.killAll()
        guard try group.waitUntilEmpty(deadline: .now + .seconds(30)) else {
            throw KernelError("stop the processes of control group \(group.name)", detail: "some are there 30 s after SIGKILL")
        }
        try group.remove()
        try beancounters?.release(handle.ctid)
    }
}

/// What was seen of the host last, for all copies of a core.
private final class SeenHost: Sendable {
    let value: Mutex<HostCapabilities>
    init(_ host: HostCapabilities) { value = Mutex(host) }
}
