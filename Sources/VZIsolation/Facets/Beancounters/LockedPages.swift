internal import Glibc
public import VZKernel
internal import VZModel

/// `lockedpages`: the calls by which a program locks memory wait for vz-keeper, one small process on a node that is started with the first
/// container and ends with the last. It outlives vzctl and vzd.
struct LockedPages {
    let paths: NodePaths
    let tree: ControlGroupTree
    private static let socket = "keeper", lock = "keeper.lock"

    /// Where the program is: beside our own. `nil`: it is not there.
    static var program: String? {
        var path = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &path, path.count)
        guard count > 0 else { return nil }
        let own = String(decoding: path[0..<count].map(UInt8.init(bitPattern:)), as: UTF8.self)
        let program = own.lastIndex(of: "/").map { own[...$0] + "vz-keeper" }.map(String.init)
        return program.flatMap { access($0, X_OK) == 0 ? $0 : nil }
    }

    /// The keeper, when there is one.
    func connected() throws(KernelError) -> Descriptor? {
        do throws(KernelError) {
            let directory = try Descriptor.open(paths.run, Descriptor.pathOnly | O_DIRECTORY)
            let keeper = try KeeperSocket.connect(in: directory, name: Self.socket)
            try KeeperSocket.awaitAnswer(keeper, for: "connect")
            return keeper
        } catch  where [ENOENT, ECONNREFUSED, ECONNRESET].contains(error.errno) {
            return nil
        }
    }

    /// The keeper, which is started when there is none.
    func started() throws(KernelError) -> Descriptor {
        if let keeper = try connected() { return keeper }
        guard let program = Self.program else {
            throw KernelError("start vz-keeper", errno: ENOENT, detail: "it is expected beside this program").waitingForInput
        }
        let turn = try Descriptor.open("\(paths.run)/\(Self.lock)", O_RDWR | O_CREAT, mode: 0o600)
        while flock(turn.raw, LOCK_EX) != 0 {
            if errno != EINTR { throw KernelError("lock \"\(paths.run)/\(Self.lock)\"", errno: errno) }
        }
        defer {
            // Said explicitly: a child between clone and exec may hold a copy of the descriptor.
            flock(turn.raw, LOCK_UN)
        }
        if let keeper = try connected() { return keeper }
        let directory = try Descriptor.open(paths.run, Descriptor.pathOnly | O_DIRECTORY)
        unlink("\(paths.run)/\(Self.socket)")
        let listening = try KeeperSocket.listen(in: directory, name: Self.socket)
        // It ends when nobody has a connection: the first is there before it.
        let keeper = try KeeperSocket.connect(in: directory, name: Self.socket)
        try launch(program, listening)
        try KeeperSocket.awaitAnswer(keeper, for: "start")
        return keeper
    }

    /// In no control group, session and directory of ours, and with nothing open but its socket.
    private func launch(_ program: String, _ listening: Descriptor) throws(KernelError) {
        var groups: [Descriptor] = []
        for hierarchy in tree.hierarchies {
            // Where it may not go, it stays.
            if let root = try? Descriptor.open("cgroup.procs", O_WRONLY, at: hierarchy.directory) { groups.append(root) }
        }
        let arguments = [program, "\(paths.run)/\(Self.socket)", "\(paths.run)/\(Self.lock)"]
        _ = try Launcher.launch(
            outer: [.clone([], asChildOfCaller: false), .release, .awaitExec],
            inner: [.awaitRelease] + groups.map { Step.write($0, "0\n") } + [
                .newSession, .changeDirectoryPath("/"), .openStandardStreams("/dev/null"), .duplicate(listening, onto: 3),
                .defaultSignals, .closeOnExec(from: 4), .execute(candidates: [program], arguments: arguments, environment: []),
            ])
    }

    /// What the keeper is told of a container.
    func entry(
        _ keeper: Descriptor, _ handle: ContainerHandle, _ slot: BeancounterTable.Slot, owner: UInt32
    ) throws(KernelError) -> KeeperEntry {
        guard let table = handle.table else { throw KernelError("open the table of beancounters", errno: ENOENT) }
        return KeeperEntry(
            keeper: keeper, ctid: UInt32(handle.ctid.number), table: table.map.descriptor, counter: slot.offset(of: .lockedpages),
            counts: !handle.host.beancounters.countsLockedPages, owner: owner, group: try handle.group.openDirectory())
    }
}

extension ContainerHandle {
    /// What a process that is about to be started in the container needs to have its locked pages held; `nil` where nobody holds them.
    /// - Parameter owner: of its user namespace.
    func keptPages(owner: UInt32) throws(KernelError) -> KeptPages? {
        guard host.beancounters.byPrograms(.lockedpages).isEnforced, let slot else { return nil }
        let pages = LockedPages(paths: paths, tree: group.tree)
        let barrier = slot[.lockedpages].bounds.barrier
        return KeptPages(
            entry: try pages.entry(try pages.started(), self, slot, owner: owner),
            limit: KeeperSocket.limit(pages: barrier >= 1 << 50 ? nil : barrier))
    }

    /// The same of a program that enters the container; `nil` also where nobody holds what others in it lock.
    public func keptPagesOfEntry() throws(KernelError) -> KeptPages? {
        guard let process, try isKept else { return nil }
        return try keptPages(owner: process.firstID())
    }

    /// Whether the keeper knows the container. One that began before there was a keeper, or whose keeper and its spare were both killed, has
    /// to be started anew.
    var isKept: Bool {
        get throws(KernelError) {
            guard let keeper = try LockedPages(paths: paths, tree: group.tree).connected() else { return false }
            do throws(KernelError) {
                try KeeperSocket.ask(keeper, about: UInt32(ctid.number))
                return true
            } catch  where error.errno == ENOENT {
                return false
            }
        }
    }

    /// Has a bound that was changed come into effect.
    func rebalanceLockedPages(_ slot: BeancounterTable.Slot) throws(KernelError) {
        let pages = LockedPages(paths: paths, tree: group.tree)
        do throws(KernelError) {
            guard let keeper = try pages.connected() else { throw KernelError("find vz-keeper", errno: ENOENT) }
            try KeeperSocket.look(try pages.entry(keeper, self, slot, owner: try process?.firstID() ?? 0))
        } catch  where error.errno == ENOENT {
            throw KernelError(
                "set lockedpages of CT \(ctid)",
                detail: "nobody holds its locked pages: it was started without vz-keeper, or that was killed; restart the container"
            )
        }
    }
}

/// The steps by which a container's processes have their locked pages held.
public struct KeptPages: Sendable {
    let entry: KeeperEntry
    let limit: UInt64

    /// With our identity, before the process is made, which inherits it.
    var outer: [Step] { [.limitLocked(limit)] }
    /// As long as the process has all capabilities inside.
    var inner: [Step] { [.keepLocked(entry)] }

    /// Waits until the keeper has it. - Throws: `KernelError`; then nobody answers the process, and it has to be ended.
    func confirm() throws(KernelError) { try KeeperSocket.awaitAnswer(entry.keeper, for: "have locked pages held") }
}
