internal import Glibc
internal import Synchronization
internal import VZKernel
internal import VZModel

/// Sees to it that the programs are there and the table is open, and notices when they are not any more: what is pinned goes with its
/// bpffs, which somebody may unmount.
final class BeancounterKeeper: Sendable {
    private struct State {
        var support = BeancounterSupport(tier: .none, programs: [])
        var table: BeancounterTable?
        /// A file that is there as long as the programs are.
        var evidence: String?
        var trouble: String?
        /// What the kernel refused it is not asked for at every look.
        var nextTry = ContinuousClock.now
    }

    private let paths: NodePaths
    private let tree: ControlGroupTree
    private let makes: Bool
    private let replaces: Bool
    private let state = Mutex(State())
    private static let pause = Duration.seconds(300)

    /// - Parameters:
    ///   - makes: loads them where they lack, which needs root; without it they are only looked for.
    ///   - replaces: those of another version are replaced.
    init(paths: NodePaths, tree: ControlGroupTree, makes: Bool, replaces: Bool) {
        (self.paths, self.tree, self.makes, self.replaces) = (paths, tree, makes, replaces)
    }

    /// `nil` where there are no programs.
    var table: BeancounterTable? { state.withLock { $0.table } }

    /// Why it is not known whether they are there, or why they are not although the kernel would take them; `nil`: nothing of the kind.
    var trouble: String? { state.withLock { $0.trouble } }

    /// What there is now. A host without programs is one that holds less, not one that fails.
    func look() -> BeancounterSupport {
        state.withLock { state in
            if let evidence = state.evidence, BPFFileSystem.exists(evidence) { return state.support }
            let isLost = state.evidence != nil
            guard isLost || state.trouble != nil || state.nextTry <= .now else { return state.support }
            state = State()
            state.nextTry = .now + Self.pause
            do throws(KernelError) {
                let support = try makes ? make(replacing: replaces) : found()
                let evidence = try BeancounterPrograms(paths).evidence()
                if evidence != nil { state.table = try BeancounterPrograms(paths).table(paths.controlGroup) }
                (state.support, state.evidence) = (support, evidence)
            } catch {
                state.support = BeancounterSupport(tier: .none, programs: [], problem: "\(error)")
                if makes { state.trouble = "beancounters are not counted: \(error)" }
            }
            return state.support
        }
    }

    private var memoryIsV1: Bool { tree.hierarchy(of: .memory)?.version == .v1 }

    private func found() throws(KernelError) -> BeancounterSupport {
        let programs = BeancounterPrograms(paths)
        var support = try programs.inForce() ?? programs.probe(memoryIsV1: memoryIsV1)
        if tree.unified == nil { support.forgetGroupPrograms() }
        support.hasKeeper = LockedPages.program != nil
        return support
    }

    private func make(replacing: Bool) throws(KernelError) -> BeancounterSupport {
        let programs = BeancounterPrograms(paths)
        var support = try programs.ensure(memoryIsV1: memoryIsV1, replacing: replacing)
        try Descriptor.makeDirectories(paths.run)
        if let report = try programs.report() { try Self.link(report, at: paths.run + "/user_beancounters") }
        if let group = try tree.openUnifiedParent() {
            try programs.attach(to: group, controlGroup: paths.controlGroup)
        } else {
            support.forgetGroupPrograms()
        }
        support.hasKeeper = LockedPages.program != nil
        return support
    }

    /// Where monitoring programs find it.
    private static func link(_ target: String, at path: String) throws(KernelError) {
        var now = [CChar](repeating: 0, count: 4096)
        let count = readlink(path, &now, now.count)
        if count > 0, String(decoding: now[0..<count].map(UInt8.init(bitPattern:)), as: UTF8.self) == target { return }
        unlink(path)
        if symlink(target, path) != 0 && errno != EEXIST { throw KernelError("make link \"\(path)\"", errno: errno) }
    }

    /// Gives the places of containers back that are no more. Once, when nobody else is at work.
    /// - Parameter present: reads which containers have anything in the kernel.
    func forget(but present: () throws(KernelError) -> [ContainerID]) throws(KernelError) {
        guard let table else { return }
        // First who has a place, then who is there: one that starts meanwhile is among both or in neither.
        let containers = table.containers
        let present = Set(try present())
        for ctid in containers where !present.contains(ctid) { try table.release(ctid) }
    }
}
