internal import Synchronization
internal import VZIsolation
internal import VZKernel

/// Keeps what containers have swapped out where the host's memory wants it: in compressed RAM as long as there is some, on a disk
/// while the host is short (`openvz.md` section 3.2).
///
/// Level-triggered, as all of the loop: what is true now is looked at, and what is done may be done again.
final class SwapKeeper: Sendable {
    private struct State {
        var shortage = HostShortage()
        /// Containers are promised swap.
        var isPromised = false
        var moving: Set<ZRAMDevice> = []
        /// What could not be moved is tried again then.
        var nextTry = ContinuousClock.now
    }

    /// What a look at the host's memory leads to.
    struct Turn {
        /// To be moved, each by a thread of its own: one that stays takes what leaves another.
        var moves: [ZRAMDevice]
        /// The host has memory again.
        var isRelieved: Bool
        /// There is reason to look again after `period`.
        var isWatching: Bool
    }

    /// Memory is used up in seconds. A look costs two small files of the kernel.
    static let period = Duration.seconds(1)
    private static let pause = Duration.seconds(30)

    private let node: Node
    private let vswap: VSwap
    private let accounts: any Accounts
    private let state = Mutex(State())

    init(node: Node, accounts: any Accounts) {
        (self.node, self.accounts) = (node, accounts)
        vswap = VSwap(controlGroup: node.paths.controlGroup)
    }

    /// Looks at the host's memory.
    func weigh() -> Turn {
        var turn = Turn(moves: [], isRelieved: false, isWatching: false)
        guard let memory = try? HostMemory.now() else { return turn }
        let (isShort, isNews, mayMove) = state.withLock { state in
            let isNews = state.shortage.take(memory)
            turn.isWatching = state.isPromised || state.shortage.isShort
            return (state.shortage.isShort, isNews, state.nextTry <= .now)
        }
        if isNews { tell(isShort, memory) }
        turn.isRelieved = isNews && !isShort
        if isShort, mayMove, let devices = try? vswap.movable().devices {
            turn.moves = state.withLock { state in devices.filter { state.moving.insert($0).inserted } }
        }
        return turn
    }

    private func tell(_ isShort: Bool, _ memory: HostMemory) {
        let free = "\(memory.available >> 20) of \(memory.total >> 20) MiB are available"
        accounts.note(
            nil, isShort ? .warning : .info, isShort ? "MemoryShort" : "MemoryRelieved",
            isShort ? "the host is short of memory: \(free)" : "the host has memory again: \(free)")
    }

    /// Moves what is swapped out to a device of ours to a disk. Returns when that is done.
    func move(_ device: ZRAMDevice) {
        defer { _ = state.withLock { $0.moving.remove(device) } }
        let began = ContinuousClock.now
        do {
            try vswap.move(device)
            accounts.note(
                nil, .info, "SwapSpace",
                "took \(device.path) away while the host is short of memory: what was in it went to the disk in "
                    + (.now - began as Duration).text)
        } catch {
            state.withLock { $0.nextTry = .now + Self.pause }
            accounts.note(nil, .warning, "SwapSpace", "move what is swapped out to a disk: \(error)")
        }
    }

    /// Makes and takes away what the containers of a look need (`Node.provideSwap`).
    func provide(for look: inout Node.Look) {
        let isPromised = Node.promisedSwap(look.targets) > 0
        let (isShort, isMoving) = state.withLock { state in
            state.isPromised = isPromised
            return (state.shortage.isShort, !state.moving.isEmpty)
        }
        if isShort, let obstacle = try? vswap.movable().obstacle {
            look.warnings.append("the host is short of memory: \(obstacle)")
        }
        // What is being moved is in nobody else's hands.
        if isMoving { return }
        do {
            for message in try node.provideSwap(for: &look, isShort: isShort) { accounts.note(nil, .info, "SwapSpace", message) }
        } catch {
            look.warnings.append("provide swap space: \(error)")
        }
    }
}
