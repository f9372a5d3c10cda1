internal import VZKernel
internal import VZModel

extension ContainerHandle {
    /// Gives a container that runs already a place in the table, with all that it holds by now: after an upgrade from a version that
    /// did not count, or when what was pinned is lost.
    ///
    /// Its processes stand still for some milliseconds meanwhile, so that nothing is opened or closed unseen.
    func adopt() throws(KernelError) -> BeancounterTable.Slot? {
        guard let table, let process else { return nil }
        let (namespace, owner) = (try process.namespace("user"), try process.firstID())
        let slot = try table.take(ctid, depth: group.depth)
        do throws(KernelError) {
            let seed = try BeancounterPrograms(paths).preparedSeed(of: slot, version: table.version)
            try group.whileFrozen(patience: .milliseconds(200)) { () throws(KernelError) in
                try table.charge(namespace, owner: owner, to: slot)
                try seed()
            }
        } catch {
            try? table.release(ctid)
            throw error
        }
        try noteGroupBounds(in: slot)
        return slot
    }

    /// Notes beside the counters what the container's control group allows.
    private func noteGroupBounds(in slot: BeancounterTable.Slot) throws(KernelError) {
        if host.supports(.pidsMax) { slot.set(.numproc, BarrierLimit(both: try group.pidsMax() ?? BarrierLimit.unlimited)) }
        if host.supports(.memoryMax) {
            let limits = try group.memory()
            slot.note(memory: limits.max, swap: limits.swap)
        }
        if host.supports(.memoryMin), host.supports(.memoryLow) {
            let held = try group.memoryGuarantee()
            slot.note(low: held.low, min: held.min)
        }
    }
}

extension BeancounterTable.Slot {
    private static func pages(_ bytes: Int64?) -> Int64 { bytes.map { $0 / 4096 } ?? BarrierLimit.unlimited }

    /// VSwap's two sizes, in bytes (`openvz.md` 3.1).
    func note(memory: Int64?, swap: Int64?) {
        set(.physpages, BarrierLimit(barrier: 0, limit: Self.pages(memory)))
        set(.swappages, BarrierLimit(barrier: 0, limit: Self.pages(swap)))
    }

    /// What is guaranteed, in bytes.
    func note(low: Int64?, min: Int64?) {
        set(.vmguarpages, BarrierLimit(barrier: Self.pages(low), limit: BarrierLimit.unlimited))
        set(.oomguarpages, BarrierLimit(barrier: Self.pages(min), limit: BarrierLimit.unlimited))
    }
}
