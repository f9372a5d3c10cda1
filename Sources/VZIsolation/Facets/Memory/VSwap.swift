public import VZKernel
internal import VZModel

/// The swap space that containers are promised: zram devices that carry our mark, by which they are found again.
///
/// The kernel fills the areas with the highest priority first, so that nothing is written to a disk as long as ours have room; they
/// have, as long as they hold the sum of what is promised and the host itself swaps nothing out.
public struct VSwap: Sendable {
    static let label = "vz-vswap"
    /// The highest that there is (swapon(2)).
    static let priority = 32767
    /// The first bytes of the UUID: whose they are, when several nodes share a host.
    private let owner: [UInt8]

    /// A file that says what is being made, while it has no mark yet.
    private let claim: String?

    /// - Parameters:
    ///   - controlGroup: of the node that it is for.
    ///   - claim: a file in a directory that is gone with the next boot, as the devices are, by which what a killed one was making is found;
    ///     `nil` where nothing is made.
    public init(controlGroup: String, claim: String? = nil) {
        self.claim = claim
        var digest = Digest()
        digest.add(part: controlGroup)
        owner = Array(("vz" + digest.text).utf8.prefix(12))
    }

    private func mark(of device: ZRAMDevice) -> SwapMark {
        SwapMark(label: Self.label, uuid: owner + (0..<4).map { UInt8(truncatingIfNeeded: device.number >> (24 - 8 * $0)) })
    }

    /// One of ours, in use or, when its maker was killed, not.
    struct Part: Equatable {
        var device: ZRAMDevice
        var size: Int64
        var used: Int64
        var isInUse: Bool
    }

    func parts(_ areas: [SwapArea]) -> [Part] {
        ZRAMDevice.all().filter { $0.mark == mark(of: $0) }.map { device in
            let area = areas.first { $0.zram == device }
            return Part(device: device, size: area?.size ?? device.size ?? 0, used: area?.used ?? 0, isInUse: area != nil)
        }
    }

    func facts() -> VSwapMechanism.Facts {
        let areas = (try? SwapArea.inUse()) ?? []
        let enabled = try? KernelFile.read("/sys/module/zswap/parameters/enabled")
        return VSwapMechanism.Facts(
            areas: areas, ours: Set(parts(areas).filter(\.isInUse).map(\.device.path)), zswap: enabled == "Y" || enabled == "1",
            canMakeZRAM: ZRAMDevice.isLoaded || ZRAMDevice.isLoadable)
    }

    // MARK: Sizes

    /// How many bytes are to be added to the swap in RAM.
    ///
    /// At most the host's RAM in all. There are few areas in a kernel (29): what is added doubles what there is. While the host is short of
    /// memory what is promised anew goes to the disk, where there is swap on one: more of it in RAM would make it shorter still.
    /// - Parameters:
    ///   - promised: the sum of the containers' swap.
    ///   - have: what swap in RAM there is, whoever made it.
    static func lacking(promised: Int64, have: Int64, ram: Int64, isShort: Bool, hasDisk: Bool) -> Int64 {
        let wanted = min(promised, ram)
        guard wanted > have, !(isShort && hasDisk) else { return 0 }
        let step = max(wanted - have, have, 256 << 20)
        return min(step, ram - have)
    }

    /// Which of ours are not needed: nothing is in them, and what stays holds all that is promised.
    static func idle(_ parts: [Part], promised: Int64, have: Int64) -> [Part] {
        var left = have
        return parts.filter { part in
            guard part.isInUse else { return true }
            // Some pages of the host's own are no reason to keep what nobody is promised: they go back into RAM.
            guard part.used <= (promised == 0 ? 16 << 20 : 0), left - part.size >= promised else { return false }
            left -= part.size
            return true
        }
    }

    // MARK: Making

    /// Makes what lacks, and takes away what is not needed. Idempotent. Callers keep two calls for one node from running at once.
    /// - Parameters:
    ///   - promised: the sum of the containers' swap, bytes.
    ///   - isShort: whether the host is short of memory.
    /// - Returns: what was done, in words, and what does not hold.
    public func provide(_ promised: Int64, ram: Int64, isShort: Bool) throws(KernelError) -> (done: [String], warnings: [String]) {
        let areas = try SwapArea.inUse()
        try removeUnfinished(areas)
        if promised == 0, !areas.contains(where: { $0.zram != nil }), ZRAMDevice.all().isEmpty { return ([], []) }
        let parts = parts(areas)
        let have = areas.reduce(0) { $1.zram == nil ? $0 : $0 + $1.size }
        let hasDisk = areas.contains { $0.zram == nil }
        var done: [String] = []
        for part in Self.idle(parts, promised: promised, have: have) {
            try part.device.remove(swapping: part.isInUse)
            done.append("took \(part.device.path) away: its swap space is not needed")
        }
        let more = Self.lacking(promised: promised, have: have, ram: ram, isShort: isShort, hasDisk: hasDisk)
        if more > 0, ZRAMDevice.isLoaded || ZRAMDevice.isLoadable {
            let device = try make(more)
            done.append("made \(device.path): \(MemoryFacet.text((more >> 20) << 20)) of swap space in compressed RAM")
        }
        var warnings: [String] = []
        if promised > ram {
            warnings.append(
                "the containers' swap is \(MemoryFacet.text(promised)) in all and the host's RAM \(MemoryFacet.text(ram)): what is "
                    + (hasDisk
                        ? "above goes to the disk" : "above is not there, and a container is killed instead; add swap on a disk"))
        }
        if case .outranked(let before) = VSwapMechanism(facts()) {
            let all = before.joined(separator: ", ")
            warnings.append("swap on \(all) is filled before ours: give it a priority below \(Self.priority)")
        }
        return (done, warnings)
    }

    private func make(_ bytes: Int64) throws(KernelError) -> ZRAMDevice {
        if !ZRAMDevice.isLoaded { try ZRAMDevice.load() }
        // The first page is the area's head.
        let size = bytes + 4096
        if let claim {
            let text = ([size] + ZRAMDevice.all().map { Int64($0.number) }).map { String($0) }.joined(separator: " ")
            try KernelFile.replace(claim, with: Array(text.utf8), mode: 0o600)
        }
        let device = try ZRAMDevice.add()
        do throws(KernelError) {
            try device.setSize(size)
            try device.makeSwap(mark(of: device))
            try device.startSwapping(priority: Self.priority)
        } catch {
            try? device.remove(swapping: false)
            throw error
        }
        if let claim { try KernelFile.remove(claim) }
        return device
    }

    // MARK: Moving to a disk

    /// What is to be taken away while the host is short of memory, so that what is in it moves to swap on a disk (`move`).
    ///
    /// Compressed pages are RAM as well, and those that cannot be compressed all the RAM that they were: the kernel would sooner end a
    /// process than write to a disk whose swap comes after ours. It is all of ours or none, since each takes what leaves another.
    /// - Returns: the devices, or why they stay; neither where there are none.
    public func movable() throws(KernelError) -> (devices: [ZRAMDevice], obstacle: String?) {
        let areas = try SwapArea.inUse()
        return Self.movable(parts(areas), areas)
    }

    static func movable(_ parts: [Part], _ areas: [SwapArea]) -> (devices: [ZRAMDevice], obstacle: String?) {
        let parts = parts.filter(\.isInUse)
        let used = parts.reduce(0) { $0 + $1.used }
        let disks = areas.filter { $0.zram == nil }
        let room = disks.reduce(0) { $0 + $1.size - $1.used }
        guard !parts.isEmpty, disks.isEmpty || room < used else { return (parts.map(\.device), nil) }
        let held = "the \(used >> 20) MiB that containers have swapped out stay in RAM, compressed"
        return (
            [],
            disks.isEmpty
                ? "\(held): there is no swap on a disk; add some"
                : "\(held): swap on disks has room for \(room >> 20) MiB; add some"
        )
    }

    /// Takes one of ours away. The kernel moves what is in it, page by page, to the area that is next, and writes nothing new to it
    /// meanwhile. Takes as long as the disk needs.
    public func move(_ device: ZRAMDevice) throws(KernelError) { try device.remove(swapping: true) }

    /// Takes away what a killed one of us had added and not marked yet: a device that was not there before it, is no swap area, and has
    /// either no size yet or the one that it was to have.
    private func removeUnfinished(_ areas: [SwapArea]) throws(KernelError) {
        guard let claim, try Descriptor.exists(claim) else { return }
        let numbers = try KernelFile.read(claim).split(separator: " ").compactMap { Int64($0) }
        let areUnmarked = ZRAMDevice.all().filter { device in
            !numbers.dropFirst().contains(Int64(device.number)) && !areas.contains { $0.zram == device } && device.mark == nil
        }
        for device in areUnmarked where device.size == 0 || device.size == numbers.first {
            try device.remove(swapping: false)
        }
        try KernelFile.remove(claim)
    }

    /// Takes all of ours away. What is in them goes back into RAM.
    public func removeAll() throws(KernelError) {
        for part in parts(try SwapArea.inUse()) { try part.device.remove(swapping: part.isInUse) }
    }
}
