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
    /// What that tree can hold, and what the roots lie on, as `lookAtStorage` last saw it.
    public var host: HostCapabilities { seen.value.withLock { $0 } }
    private let seen: SeenHost
    public let templates: TemplateStore

    /// - Parameter host: what was seen of `tree`.
    public init(paths: NodePaths, tree: ControlGroupTree, host: HostCapabilities) {
        self.paths = paths
        self.tree = tree
        seen = SeenHost(host)
        templates = TemplateStore(directory: paths.templates)
    }

    /// The core of this host. With `preparing`, makes the parent control group, which needs root.
    public init(paths: NodePaths, preparing: Bool) throws(KernelError) {
        let tree = try ControlGroupTree.discover(parent: paths.controlGroup)
        self.init(paths: paths, tree: tree, host: try preparing ? HostCapabilities(preparing: tree) : HostCapabilities(tree))
        try lookAtStorage()
    }

    // MARK: Looking

    /// Looks what the roots lie on: something may have been mounted, or a disk's scheduler changed.
    public func lookAtStorage() throws(KernelError) {
        var host = host
        try host.lookAtStorage(paths, tree)
        seen.value.withLock { $0 = host }
    }

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
        let present = process != nil ? true : try group.exists
        if process == nil && present { process = try Self.processOne(of: group) }
        let handle = ContainerHandle(ctid: ctid, group: group, process: process, host: host, paths: paths)
        var seen = ObservedContainer(isRunning: process != nil, isPresent: present)
        seen.rootExists = try ContainerRoot(ctid: ctid, paths: paths).exists
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
        guard let group = try? tree.group(String(ctid.number)), let bytes = try? group.label(Labels.name) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
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
        for change in changes where change.held == nil {
            begun(change)
            switch change.action {
            case .stop:
                try stop(handle, timeout: stopTimeout)
                handle = ContainerHandle(ctid: handle.ctid, group: handle.group, process: nil, host: host, paths: paths)
            case .discardRoot:
                // One that appeared meanwhile is not there to be taken away.
                try Trash(paths: paths).take(handle.ctid, named: desired.name)
            case .makeRoot(let template):
                try ContainerRoot(ctid: handle.ctid, paths: paths).make(from: template, in: templates)
            case .set(let setting):
                // Those of one facet that follow are made together: their order among themselves is the facet's.
                let together = Self.settings(of: Self.facet(of: setting), in: changes)
                if together.first == setting { try make(together, on: handle) }
            case .start:
                let process = try start(handle, desired, idBase: idBase)
                handle = ContainerHandle(ctid: handle.ctid, group: handle.group, process: process, host: host, paths: paths)
            case .wait: break
            }
            made(change)
        }
        return handle.process
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
        if handle.process == nil { try handle.group.create() }
        do throws(KernelError) {
            try facet.apply(settings, to: handle)
        } catch {
            if handle.process == nil { try? clear(handle.group) }
            throw error
        }
        Labels.note(settings, on: handle.group)
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
            try handle.group.create()
            try handle.group.setLabel(Labels.name, Array(desired.name.utf8))
            try Labels.write(desired.start, to: handle.group)
            var start = ContainerStart(idBase: idBase, hostname: hostname, parameters: desired.start)
            start.oomScore = desired.wish.settings.first { $0.kernelName == OOMScore.name }?.kernelValue.number ?? 0
            let process = try start.run(root: root, group: handle.group)
            Labels.note(desired.wish.settings.filter { $0.phase == .process }, on: handle.group)
            return process
        } catch {
            try? clear(handle.group)
            throw error
        }
    }

    /// Asks process 1 to stop in its own way, waits, kills what is left, and takes the control group away.
    private func stop(_ handle: ContainerHandle, timeout: Duration) throws(KernelError) {
        if let process = handle.process { _ = try Halt.ask(process, timeout: timeout) }
        try clear(handle.group)
    }

    private func clear(_ group: ControlGroup) throws(KernelError) {
        guard try group.exists else { return }
        try group.killAll()
        guard try group.waitUntilEmpty(deadline: .now + .seconds(30)) else {
            throw KernelError("stop the processes of control group \(group.name)", detail: "some are there 30 s after SIGKILL")
        }
        try group.remove()
    }
}

/// What was seen of the host last, for all copies of a core.
private final class SeenHost: Sendable {
    let value: Mutex<HostCapabilities>
    init(_ host: HostCapabilities) { value = Mutex(host) }
}
