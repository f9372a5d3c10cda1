internal import CLinux
internal import Glibc
internal import Synchronization

/// What the settings of control groups were read as, believed until the kernel tells of a write to any file of the group (inotify(7)).
///
/// To open a file of a group costs several times as much as everything else that is done to look at it, and a node that looks at
/// hundreds of containers finds the same numbers each time. Every write to such a file, whoever makes it, is told by the kernel before
/// it returns to the writer. What changes a setting without one (a disk that is taken away, a scheduler of disks that is switched)
/// is seen when what was read has become old. A group that was removed and made again is another one: `forget` it.
public final class ControlGroupMemory: Sendable {
    /// The files that hold nothing but what somebody wrote to a file of the group, or whose changes the kernel tells by itself.
    private static let settings: Set<String> = [
        "cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us", "blkio.bfq.weight", "blkio.weight",
        "blkio.throttle.read_bps_device", "blkio.throttle.write_bps_device", "blkio.throttle.read_iops_device",
        "blkio.throttle.write_iops_device", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes",
        "cpu.weight", "cpu.max", "io.weight", "io.bfq.weight", "io.max", "memory.max", "memory.swap.max", "memory.low",
        "memory.min", "pids.max", "pids.events", "memory.events",
    ]
    /// Changes without a word when CPUs come and go, on v1.
    private static let ofProcessors: Set<String> = ["cpuset.cpus"]
    /// How long after such a change the kernel may still be at work.
    private static let unrest = Duration.seconds(5)

    /// A group in one hierarchy.
    fileprivate struct Place: Hashable {
        /// The descriptor of the hierarchy's topmost group, which stays open.
        var hierarchy: Int32
        var path: String
    }

    fileprivate struct Group {
        var watch: Int32
        var since: ContinuousClock.Instant
        var files: [String: [UInt8]] = [:]
    }

    fileprivate struct State {
        var groups: [Place: Group] = [:]
        var places: [Int32: Place] = [:]
        /// Another after everything that makes something untrue.
        var changes = 0
        /// The host's CPUs, and until when lists of CPUs are not believed.
        var processors: String?
        var unrestUntil: ContinuousClock.Instant?
    }

    private let queue: Descriptor
    private let state = Mutex(State())
    private let age: Duration

    /// - Parameter age: how long what was read is believed.
    /// - Throws: `KernelError` of inotify_init1(2).
    public init(believedFor age: Duration = .seconds(300)) throws(KernelError) {
        let raw = inotify_init1(Int32(IN_NONBLOCK) | Int32(IN_CLOEXEC))
        if raw < 0 { throw KernelError("watch control groups", errno: errno, detail: "see fs.inotify.max_user_instances") }
        (queue, self.age) = (Descriptor(adopting: raw), age)
    }

    /// Forgets what was written to until now. To be called before what is there is looked at.
    public func catchUp() {
        state.withLock { state in
            withUnsafeTemporaryAllocation(byteCount: 1 << 14, alignment: 8) { buffer in
                while true {
                    let count = read(queue.raw, buffer.baseAddress, buffer.count)
                    if count < 0 && errno == EINTR { continue }
                    if count <= 0 { return }
                    var at = 0
                    while at < count {
                        let event = buffer.loadUnaligned(fromByteOffset: at, as: inotify_event.self)
                        at += MemoryLayout<inotify_event>.size + Int(event.len)
                        state.changes += 1
                        if event.mask & UInt32(IN_Q_OVERFLOW) != 0 {
                            for place in state.groups.keys { state.groups[place]?.files = [:] }
                        } else if let place = state.places[event.wd] {
                            state.groups[place]?.files = [:]
                            if event.mask & UInt32(IN_IGNORED) != 0 { state.remove(place) }
                        }
                    }
                }
            }
        }
    }

    /// Lists of CPUs are read anew when the host has others.
    public func note(processors: String?) {
        state.withLock { state in
            guard state.processors != processors else { return }
            if state.processors != nil { state.unrestUntil = .now + Self.unrest }
            state.processors = processors
            state.changes += 1
            for place in state.groups.keys { state.groups[place]?.files = [:] }
        }
    }

    /// Forgets a group that may have been removed, in every hierarchy.
    func forget(_ group: ControlGroup) {
        state.withLock { state in
            state.changes += 1
            for hierarchy in group.tree.hierarchies {
                let place = Place(hierarchy: hierarchy.directory.raw, path: group.path)
                if let watch = state.remove(place) { inotify_rm_watch(queue.raw, watch) }
            }
        }
    }

    /// Forgets what was read of a group that is being written to.
    func forget(_ path: String, in hierarchy: ControlGroupTree.Hierarchy) {
        state.withLock { state in
            state.changes += 1
            state.groups[Place(hierarchy: hierarchy.directory.raw, path: path)]?.files = [:]
        }
    }

    /// What a file of a group holds, or a label (xattr(7)), by `read` unless it is known; what is read is remembered unless something was
    /// written meanwhile.
    func bytes(
        of file: String, _ path: String, in hierarchy: ControlGroupTree.Hierarchy, _ read: () throws(KernelError) -> [UInt8]
    ) throws(KernelError) -> [UInt8] {
        guard isBelieved(file) else { return try read() }
        let place = Place(hierarchy: hierarchy.directory.raw, path: path)
        let (known, before) = state.withLock { state -> ([UInt8]?, Int?) in
            if let group = state.groups[place], ContinuousClock.now - group.since >= age { state.groups[place]?.files = [:] }
            if let known = state.groups[place]?.files[file] { return (known, nil) }
            return (nil, watched(place, &state) ? state.changes : nil)
        }
        if let known { return known }
        let bytes = try read()
        guard let before else { return bytes }
        state.withLock { state in
            guard state.changes == before else { return }
            if state.groups[place]?.files.isEmpty == true { state.groups[place]?.since = .now }
            state.groups[place]?.files[file] = bytes
        }
        return bytes
    }

    private func isBelieved(_ file: String) -> Bool {
        if Self.settings.contains(file) || file.hasPrefix("trusted.") { return true }
        return Self.ofProcessors.contains(file) && state.withLock { state in state.unrestUntil.map { .now > $0 } ?? true }
    }

    /// Sees to it that writes are told. - Returns: false when the kernel has no watch left, or no such group.
    private func watched(_ place: Place, _ state: inout State) -> Bool {
        if state.groups[place] != nil { return true }
        // By the descriptor: something may be mounted over the path.
        let watch = inotify_add_watch(
            queue.raw, "/proc/self/fd/\(place.hierarchy)/\(place.path)", UInt32(IN_MODIFY) | UInt32(IN_ATTRIB) | UInt32(IN_ONLYDIR))
        if watch < 0 { return false }
        if let old = state.places[watch] { state.groups[old] = nil }
        state.groups[place] = Group(watch: watch, since: .now)
        state.places[watch] = place
        return true
    }
}

extension ControlGroupMemory.State {
    /// - Returns: its watch.
    @discardableResult fileprivate mutating func remove(_ place: ControlGroupMemory.Place) -> Int32? {
        guard let group = groups.removeValue(forKey: place) else { return nil }
        places[group.watch] = nil
        return group.watch
    }
}
