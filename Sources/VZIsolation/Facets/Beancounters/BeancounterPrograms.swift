internal import Glibc
internal import VZKernel
internal import VZModel

/// The programs that count and refuse, in the kernel: loaded once on a host, attached, and pinned in a bpffs of their own, so that they
/// work on without any vzd, and the next vzd finds them.
///
///     DIRECTORY/LAYOUT/                    one for each layout of the table
///         slots, slot_of_userns, …         the maps
///         programs-TIER-VERSION/           links, by the names of the programs
///             group-NAME                   programs of control groups, attached to nothing
///             node-CONTROLGROUP-NAME       links of these to one node's control group
struct BeancounterPrograms {
    let directory: String
    private var maps: String { "\(directory)/\(Self.layout)" }
    private static let layout = 1
    private static func mapNames(of tier: BeancounterSupport.Tier) -> [String] {
        [
            "slots", "slot_of_userns", "counted_sockets", "counted_locks", "counted_memories", "counted_ptys", "filtered_nets",
            "filter_changes",
        ]
            + (tier == .groups ? ["marked_sockets"] : [])
    }
    private static let reportName = "user_beancounters"
    /// What only a seeding makes.
    private static let seedMaps = ["seen_files"]

    /// Which programs ours are.
    private let ours: UInt64

    init(_ paths: NodePaths, version: UInt64 = BPFObject.beancountersVersion) { (directory, ours) = (paths.bpf, version) }

    // MARK: What there is

    /// What is attached now; `nil` when nothing is.
    func inForce() throws(KernelError) -> BeancounterSupport? {
        guard let set = try setInForce() else { return nil }
        let links = try Self.names(in: "\(maps)/\(set.name)")
        let names = links.map { $0.hasPrefix("group-") ? String($0.dropFirst(6)) : $0 }
        return BeancounterSupport(tier: set.tier, programs: Set(names))
    }

    /// The pinned iterator whose text is /proc/user_beancounters; `nil`: there is none.
    func report() throws(KernelError) -> String? { try evidence().map { "\($0)/\(Self.reportName)" } }

    /// A directory that is there as long as the programs in force are; `nil`: there are none.
    func evidence() throws(KernelError) -> String? { try setInForce().map { "\(maps)/\($0.name)" } }

    /// - Throws: `KernelError` for everything but that there is none.
    private func setInForce() throws(KernelError) -> PinnedSet? {
        do throws(KernelError) {
            let version = try table("").version
            return try Self.names(in: maps).compactMap(PinnedSet.init).first { $0.version == version }
        } catch  where error.errno == ENOENT {
            return nil
        }
    }

    /// The table; `controlGroup` is the node's.
    func table(_ controlGroup: String) throws(KernelError) -> BeancounterTable {
        try BeancounterTable(pinnedIn: maps, controlGroup: controlGroup)
    }

    private static func names(in path: String) throws(KernelError) -> [String] {
        try Descriptor.open(path, O_RDONLY | O_DIRECTORY).names()
    }

    /// A directory of links.
    private struct PinnedSet {
        var tier: BeancounterSupport.Tier
        var version: UInt64
        var name: String { "programs-\(tier.rawValue)-\(String(version, radix: 16))" }

        init(_ tier: BeancounterSupport.Tier, _ version: UInt64) { (self.tier, self.version) = (tier, version) }

        init?(_ name: String) {
            let parts = name.split(separator: "-")
            guard parts.count == 3, parts[0] == "programs", let tier = BeancounterSupport.Tier(rawValue: String(parts[1])),
                let version = UInt64(parts[2], radix: 16)
            else { return nil }
            self.init(tier, version)
        }
    }

    // MARK: Bringing it about

    /// Sees to it that programs are attached: those that are, or, where there are none, ours.
    /// - Parameters:
    ///   - memoryIsV1: memory is accounted by cgroup v1.
    ///   - replacing: those of another version are replaced by ours.
    func ensure(memoryIsV1: Bool, replacing: Bool) throws(KernelError) -> BeancounterSupport {
        let above = directory.lastIndex(of: "/").map { String(directory[..<$0]) } ?? "."
        try Descriptor.makeDirectories(above)
        let turn = try Descriptor.open(above, O_RDONLY | O_DIRECTORY)
        // One at a time, and until this returns.
        guard flock(turn.raw, LOCK_EX) == 0 else { throw KernelError("lock \"\(above)\"", errno: errno) }
        defer { withExtendedLifetime(turn) {} }
        if let there = try inForce(), try setInForce()?.version == ours || !replacing { return there }
        do throws(KernelError) {
            try BPFFileSystem.mount(at: directory)
        } catch  where error.errno == ENODEV {
            return BeancounterSupport(tier: .none, programs: [], problem: "\(error)")
        }
        try Descriptor.makeDirectories(maps)
        let (object, chosen, tier): (BPFObject, [BPFObject.Program], BeancounterSupport.Tier)
        do throws(KernelError) {
            (object, chosen, tier) = try loaded(memoryIsV1: memoryIsV1, sharing: true)
        } catch {
            // The kernel takes none.
            return BeancounterSupport(tier: .none, programs: [], problem: "\(error)")
        }
        for name in Self.mapNames(of: tier) where !BPFFileSystem.exists("\(maps)/\(name)") {
            try object.pin(map: name, at: "\(maps)/\(name)")
        }
        let set = PinnedSet(tier, ours)
        // A set of the same name that is not in force was left by one who was killed.
        try remove(set)
        let place = "\(maps)/\(set.name)"
        try Descriptor.makeDirectories(place)
        for program in chosen {
            if program.section.hasPrefix("cgroup/") {
                try object.pin(program, at: "\(place)/group-\(program.name)")
            } else {
                try object.attach(program, pinnedAt: "\(place)/\(program.name)")
            }
            // Each container sees it, and of it nothing but its own.
            if program.name == Self.reportName { chmod("\(place)/\(program.name)", 0o444) }
        }
        // From this store on it is ours that count, and no others: none is missed, none counted twice.
        let table = try table("")
        table.version = set.version
        for name in try Self.names(in: maps) {
            if let old = PinnedSet(name), old.name != set.name { try remove(old) }
        }
        return BeancounterSupport(tier: tier, programs: Set(chosen.map(\.name)))
    }

    /// What the kernel would take, found out by having it check the programs; nothing stays.
    func probe(memoryIsV1: Bool) -> BeancounterSupport {
        do throws(KernelError) {
            let (_, chosen, tier) = try loaded(memoryIsV1: memoryIsV1, sharing: false)
            return BeancounterSupport(tier: tier, programs: Set(chosen.map(\.name)))
        } catch {
            return BeancounterSupport(tier: .none, programs: [], problem: "\(error)")
        }
    }

    private func remove(_ set: PinnedSet) throws(KernelError) {
        let place = "\(maps)/\(set.name)"
        guard BPFFileSystem.exists(place) else { return }
        for name in try Self.names(in: place) { unlink("\(place)/\(name)") }
        rmdir(place)
    }

    /// Loads as much as the kernel takes: the tiers in their order. - Throws: what the last one met.
    private func loaded(
        memoryIsV1: Bool, sharing: Bool
    ) throws(KernelError) -> (BPFObject, [BPFObject.Program], BeancounterSupport.Tier) {
        BPFObject.loadPacketFilters()
        var failure: KernelError?
        for tier in Self.tiers {
            do throws(KernelError) {
                let object = try BPFObject.beancounters()
                let chosen = try choose(tier, of: object)
                var configuration = BPFObject.Configuration(version: ours, memoryIsV1: memoryIsV1)
                configuration.usesLSM = tier == .lsm
                configuration.seesEnds = chosen.contains { $0.name == "after_setsockopt" }
                try object.configure(configuration)
                for name in Self.seedMaps { try object.omit(map: name) }
                if tier != .groups { try object.omit(map: "marked_sockets") }
                if sharing { try share(object, tier) }
                try object.load()
                return (object, chosen, tier)
            } catch {
                failure = error
            }
        }
        throw failure ?? KernelError("load BPF programs", errno: ENOSYS)
    }

    private func share(_ object: BPFObject, _ tier: BeancounterSupport.Tier) throws(KernelError) {
        for name in Self.mapNames(of: tier) where BPFFileSystem.exists("\(maps)/\(name)") {
            try object.reuse(try BPFMap(pinned: "\(maps)/\(name)"), as: name)
        }
    }

    /// Best first. The BPF LSM only where it is among the kernel's modules: elsewhere its programs load, and are never called.
    private static var tiers: [BeancounterSupport.Tier] {
        let modules = (try? KernelFile.read("/sys/kernel/security/lsm"))?.split(separator: ",") ?? []
        return (modules.contains("bpf") ? [.lsm] : []) + [.modifyReturn, .groups]
    }

    private func choose(_ tier: BeancounterSupport.Tier, of object: BPFObject) throws(KernelError) -> [BPFObject.Program] {
        var chosen: [BPFObject.Program] = []
        for program in object.programs {
            let isTrampoline = ["fmod_ret/", "fentry/", "fexit/"].contains { program.section.hasPrefix($0) }
            // What the programs at security hooks do better; and what is of no use where none can see an address space end.
            let isStandIn = program.name.hasPrefix("group_sock_")
            let isHalf = ["after_fork", "after_exec"].contains(program.name)
            let fits =
                program.hasTarget && !program.name.hasPrefix("seed_") && (tier == .groups ? !isTrampoline && !isHalf : !isStandIn)
            object.choose(program, fits)
            guard fits else { continue }
            chosen.append(program)
            // `before_`: at the function itself, in either tier.
            if tier == .lsm, program.section.contains("/security_"), !program.name.hasPrefix("before_") {
                try object.useLSM(program)
            }
        }
        return chosen
    }

    /// Loads the iterators that count what a running container has; what is returned runs them.
    func preparedSeed(
        of slot: BeancounterTable.Slot, version: UInt64
    ) throws(KernelError) -> () throws(KernelError) -> Void {
        let object = try BPFObject.beancounters()
        let seeds = object.programs.filter { $0.name.hasPrefix("seed_") }
        for program in object.programs { object.choose(program, program.name.hasPrefix("seed_")) }
        var configuration = BPFObject.Configuration(version: version, memoryIsV1: false)
        configuration.seededSlot = slot.number
        try object.configure(configuration)
        try object.omit(map: "marked_sockets")
        try share(object, .none)
        try object.load()
        return { () throws(KernelError) in for program in seeds { try object.run(program) } }
    }

    // MARK: Programs of one node

    /// Attaches the programs of control groups to a node's own group, in which all its containers are.
    func attach(to group: Descriptor, controlGroup: String) throws(KernelError) {
        guard let set = try setInForce() else { return }
        let place = "\(maps)/\(set.name)"
        let node = String(controlGroup.map { $0.isLetter || $0.isNumber ? $0 : "_" })
        for (name, section) in Self.groupPrograms where BPFFileSystem.exists("\(place)/group-\(name)") {
            try BPFGroupProgram(pinned: "\(place)/group-\(name)", section: section)
                .attach(to: group, pinnedAt: "\(place)/node-\(node)-\(name)")
        }
    }

    private static let groupPrograms = [
        ("group_sock_create", "cgroup/sock_create"), ("group_sock_release", "cgroup/sock_release"),
        ("group_sysctl", "cgroup/sysctl"), ("group_setsockopt", "cgroup/setsockopt"),
    ]
}
