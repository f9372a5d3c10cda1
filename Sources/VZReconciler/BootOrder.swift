internal import Synchronization
public import VZModel
internal import VZPlan

/// In which order containers are started with their node, and stopped with it.
public enum BootOrder {
    /// Groups, one after the other; within one all at once. Higher `bootorder` first, unset last; ties by CTID.
    ///
    /// A node that is shut down takes them in the reverse order.
    public static func groups(_ containers: [(ctid: ContainerID, bootorder: Int?)]) -> [[ContainerID]] {
        let byOrder = Dictionary(grouping: containers) { $0.bootorder }
        // No order is lower than every number.
        let orders = byOrder.keys.sorted { a, b in
            switch (a, b) {
            case (let a?, let b?): a > b
            case (_?, nil): true
            default: false
            }
        }
        return orders.map { order in byOrder[order, default: []].map(\.ctid).sorted() }
    }
}

/// Which group of a start in order may go on: the next one when each of the group before was tried.
struct BootStages {
    private var waiting: [[ContainerID]]
    private var open: Set<ContainerID> = []

    init(_ groups: [[ContainerID]] = []) { waiting = groups.reversed() }

    /// Whether a container's turn is still to come.
    func isWaiting(_ ctid: ContainerID) -> Bool { waiting.contains { $0.contains(ctid) } }

    var isOver: Bool { waiting.isEmpty && open.isEmpty }

    /// Opens the next group when the one before is through. - Returns: whose turn it is now.
    mutating func advance() -> [ContainerID] {
        guard open.isEmpty, let next = waiting.popLast() else { return [] }
        open = Set(next)
        return next
    }

    /// Opens the next group whatever became of the one before: none may keep the others waiting for ever.
    mutating func force() -> [ContainerID] {
        open = []
        return advance()
    }

    /// Notes that a container was tried, with or without success.
    mutating func tried(_ ctid: ContainerID) { open.remove(ctid) }
}

extension Node {
    /// Stops every container that runs, in the reverse order of the boot, those of one group at the same time.
    /// - Parameters:
    ///   - books: what is done is put down in them.
    ///   - tell: is told each that was stopped, and each failure.
    /// - Returns: how many could not be stopped.
    public func stopAll(in books: Books, tell: @escaping @Sendable (String) -> Void) throws -> Int {
        let look = try look(remembering: false)
        let running = look.targets.filter { look.present.contains($0.record.ctid) }
        let targets = Dictionary(running.map { ($0.record.ctid, $0) }, uniquingKeysWith: { first, _ in first })
        let failed = Mutex(0)
        for group in BootOrder.groups(running.map { ($0.record.ctid, $0.spec.bootorder) }).reversed() {
            // They wait most of the time.
            concurrently(group, threads: min(group.count, 64)) { [self] ctid in
                guard let target = targets[ctid] else { return }
                do {
                    _ = try converge(target, Manner(stopping: .shutdown), in: books)
                    tell("CT \(ctid) \(target.record.name) stopped")
                } catch {
                    tell("CT \(ctid) \(target.record.name): \(error)")
                    failed.withLock { $0 += 1 }
                }
            }
        }
        return failed.withLock { $0 }
    }
}
