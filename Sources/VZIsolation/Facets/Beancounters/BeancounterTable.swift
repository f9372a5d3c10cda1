internal import CBPF
internal import Glibc
internal import Synchronization
internal import VZKernel
public import VZModel

/// The table that the programs in the kernel charge, mapped into this process: a slot for each container. What stands in a counter now is
/// read, and a bound changed, by a plain load and store.
///
/// It lives in the kernel as long as it is pinned: counters outlive every vzd.
public final class BeancounterTable: Sendable {
    /// The array of slots.
    let map: BPFMap
    private let memory: MappedMemory
    private let slotOfUserNamespace: BPFMap
    /// Which node's slots are ours.
    private let node: UInt64
    /// Where slots were found; looked up again when they are another's by now.
    private let known = Mutex<[ContainerID: UInt32]>([:])

    /// Opens the table pinned in `directory`.
    /// - Parameter controlGroup: of the node, whose containers are meant.
    init(pinnedIn directory: String, controlGroup: String) throws(KernelError) {
        slotOfUserNamespace = try BPFMap(pinned: directory + "/slot_of_userns")
        map = try BPFMap(pinned: directory + "/slots")
        memory = try map.mapped(bytes: Int(VZ_SLOTS) * MemoryLayout<vz_slot>.size)
        var digest = Digest()
        digest.add(controlGroup.utf8)
        node = UInt64(digest.text, radix: 16) ?? 1
    }

    private func slot(_ number: UInt32) -> UnsafeMutablePointer<vz_slot> {
        memory.start.assumingMemoryBound(to: vz_slot.self) + Int(number)
    }

    /// The version of the programs in force; 0: none.
    var version: UInt64 {
        get { slot(0).pointee.userns }
        set { slot(0).pointee.userns = newValue }
    }

    // MARK: Slots

    /// A container's place in the table.
    public struct Slot: Sendable {
        let number: UInt32
        private let memory: MappedMemory

        fileprivate init(_ number: UInt32, _ memory: MappedMemory) { (self.number, self.memory) = (number, memory) }

        private var slot: UnsafeMutablePointer<vz_slot> { memory.start.assumingMemoryBound(to: vz_slot.self) + Int(number) }

        private func counter(_ beancounter: Beancounter) -> UnsafeMutablePointer<vz_counter> {
            let first = UnsafeMutableRawPointer(slot) + (MemoryLayout<vz_slot>.offset(of: \.counters) ?? 0)
            return first.assumingMemoryBound(to: vz_counter.self) + beancounter.kernelID
        }

        /// Where in the table a counter is, in bytes.
        func offset(of beancounter: Beancounter) -> UInt64 {
            UInt64(UnsafeRawPointer(counter(beancounter)) - UnsafeRawPointer(memory.start))
        }

        /// The number of the user namespace that is charged to it; 0: none yet.
        var userNamespace: UInt32 { UInt32(truncatingIfNeeded: slot.pointee.userns) }
        var userNamespaceWord: MappedMemory.Word {
            MappedMemory.Word(
                memory,
                offset: Int(number) * MemoryLayout<vz_slot>.size + (MemoryLayout<vz_slot>.offset(of: \.userns) ?? 0))
        }

        /// What a beancounter holds now.
        subscript(beancounter: Beancounter) -> BeancounterState {
            let counter = counter(beancounter).pointee
            return BeancounterState(
                held: counter.held, maxheld: counter.maxheld, bounds: BarrierLimit(barrier: counter.barrier, limit: counter.limit),
                failcnt: counter.failcnt)
        }

        /// Changes its bounds. What is held above them stays; only more is refused.
        func set(_ beancounter: Beancounter, _ bounds: BarrierLimit) {
            let counter = counter(beancounter)
            // Never, even for an instant, less than both the old bound and the new.
            if bounds.limit >= counter.pointee.limit {
                counter.pointee.limit = bounds.limit
                counter.pointee.barrier = bounds.barrier
            } else {
                counter.pointee.barrier = bounds.barrier
                counter.pointee.limit = bounds.limit
            }
        }

        fileprivate func wipe(depth: Int) {
            let free = BarrierLimit.unlimited
            for id in 0..<Int(VZ_RESOURCES.rawValue) {
                let first = UnsafeMutableRawPointer(slot) + (MemoryLayout<vz_slot>.offset(of: \.counters) ?? 0)
                first.assumingMemoryBound(to: vz_counter.self)[id] = vz_counter(
                    held: 0, maxheld: 0, barrier: free, limit: free, failcnt: 0)
            }
            slot.pointee.depth = UInt32(depth)
            slot.pointee.userns = UInt64(UInt32.random(in: 1 ... .max)) << 32
        }
    }

    /// The slot of a container of this node; `nil` when it has none.
    public func slot(of ctid: ContainerID) -> Slot? {
        func isIts(_ number: UInt32) -> Bool {
            let slot = slot(number)
            return slot.pointee.ctid == UInt32(ctid.number) && slot.pointee.node == node
        }
        if let number = known.withLock({ $0[ctid] }), isIts(number) { return Slot(number, memory) }
        guard let number = used.first(where: isIts) else { return nil }
        known.withLock { $0[ctid] = number }
        return Slot(number, memory)
    }

    /// The slots that were ever taken.
    private var used: ClosedRange<UInt32> {
        let most = slot(0).pointee.counters.0.held
        return 1...UInt32(clamping: max(1, min(most, Int64(VZ_SLOTS) - 1)))
    }

    /// A slot for a container that is about to start: nothing held, nothing bound.
    /// - Parameter depth: of its control group below the top of the hierarchies.
    /// - Throws: `KernelError` when all are taken.
    func take(_ ctid: ContainerID, depth: Int) throws(KernelError) -> Slot {
        if let old = slot(of: ctid) { try forget(old) }
        for number in 1..<UInt32(VZ_SLOTS) where slot(number).pointee.ctid == 0 {
            guard vz_slot_take(slot(number), UInt32(ctid.number)) != 0 else { continue }
            vz_slots_used(slot(0), Int64(number))
            let taken = Slot(number, memory)
            taken.wipe(depth: depth)
            slot(number).pointee.node = node
            known.withLock { $0[ctid] = number }
            return taken
        }
        throw KernelError("take a slot of the table of beancounters", errno: ENOSPC, detail: "there are \(VZ_SLOTS - 1)")
    }

    /// The step of a start that has the new container charged to its slot.
    /// - Parameter owner: of its user namespace.
    func step(charging slot: Slot, owner: UInt32) -> Step {
        .mapUserNamespace(slotOfUserNamespace, to: Self.place(slot, owner), noting: slot.userNamespaceWord)
    }

    /// struct vz_place, of a machine with the low byte first.
    private static func place(_ slot: Slot, _ owner: UInt32) -> UInt64 { UInt64(slot.number) | UInt64(owner) << 32 }

    /// Has a user namespace charged to a slot. - Parameter namespace: its number.
    func charge(_ namespace: UInt64, owner: UInt32, to slot: Slot) throws(KernelError) {
        let raw = self.slot(slot.number)
        raw.pointee.userns = raw.pointee.userns & ~UInt64(UInt32.max) | UInt64(UInt32(truncatingIfNeeded: namespace))
        try slotOfUserNamespace.set(UInt32(truncatingIfNeeded: namespace), to: Self.place(slot, owner))
    }

    /// Gives the slot of a container that has ended back. One that has none is no error.
    func release(_ ctid: ContainerID) throws(KernelError) {
        if let slot = slot(of: ctid) { try forget(slot) }
    }

    private func forget(_ slot: Slot) throws(KernelError) {
        let namespace = slot.userNamespace
        let place = namespace == 0 ? nil : slotOfUserNamespace.value(of: namespace)
        if place.map({ UInt32(truncatingIfNeeded: $0) }) == slot.number { try slotOfUserNamespace.remove(namespace) }
        let raw = self.slot(slot.number)
        raw.pointee.userns = 0
        raw.pointee.node = 0
        // Last: from here on it is anybody's.
        raw.pointee.ctid = 0
    }

    /// The containers of this node that have slots.
    var containers: [ContainerID] {
        used.compactMap { number in
            let slot = slot(number)
            return slot.pointee.ctid != 0 && slot.pointee.node == node ? ContainerID(Int(slot.pointee.ctid)) : nil
        }
    }
}

/// What a beancounter stands at (`openvz.md` 1.3).
public struct BeancounterState: Equatable, Sendable {
    public var held: Int64
    public var maxheld: Int64
    public var bounds: BarrierLimit
    /// How often something was refused, since the container started.
    public var failcnt: Int64

    public init(held: Int64 = 0, maxheld: Int64 = 0, bounds: BarrierLimit = .init(both: BarrierLimit.unlimited), failcnt: Int64 = 0)
    {
        (self.held, self.maxheld, self.bounds, self.failcnt) = (held, maxheld, bounds, failcnt)
    }
}

extension Beancounter {
    /// Its number in OpenVZ's kernel (`openvz.md` 1.2), and its place in the table.
    var kernelID: Int {
        switch self {
        case .kmemsize: 0
        case .lockedpages: 1
        case .privvmpages: 2
        case .shmpages: 3
        case .numproc: 5
        case .physpages: 6
        case .vmguarpages: 7
        case .oomguarpages: 8
        case .numtcpsock: 9
        case .numflock: 10
        case .numpty: 11
        case .numsiginfo: 12
        case .tcpsndbuf: 13
        case .tcprcvbuf: 14
        case .othersockbuf: 15
        case .dgramrcvbuf: 16
        case .numothersock: 17
        case .dcachesize: 18
        case .numfile: 19
        case .numiptent: 23
        case .swappages: 24
        }
    }
}
