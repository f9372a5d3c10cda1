internal import VZKernel
internal import VZModel

/// The private /dev of a container: nothing of the host's is in it.
struct ContainerDevices {
    let dev: MountTree
    let pts: MountTree
    let shm: MountTree

    /// Name, major and minor number (devices.txt of the kernel's documentation).
    private static let nodes: [(String, UInt32, UInt32)] = [
        ("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0),
    ]
    private static let links = [
        ("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ]

    /// Makes the file systems, mounted nowhere yet. They belong to the host's user namespace, which is what keeps the container's root
    /// from remounting them (devpts' `max=` is a limit), and what lets device nodes work in them at all.
    /// - Parameters:
    ///   - base: the host's id of the container's root.
    ///   - terminals: how many pseudo-terminals there may be.
    ///   - sharedMemory: pages of /dev/shm.
    init(
        base: UInt32, terminals: Int64 = BarrierLimit.unlimited, sharedMemory: Int64 = BarrierLimit.unlimited
    ) throws(KernelError) {
        let owner = [("uid", String(base)), ("gid", String(base))]
        dev = try MountTree(type: "tmpfs", options: owner + [("mode", "755"), ("size", "256k")], attributes: [.noSetuid])
        for (name, major, minor) in Self.nodes { try dev.makeDevice(name, major: major, minor: minor, owner: base) }
        for name in ["pts", "shm", "mqueue"] { try dev.makeDirectory(name, owner: base) }
        for (name, target) in Self.links { try dev.makeLink(name, to: target, owner: base) }
        pts = try MountTree(
            type: "devpts", options: Self.terminalOptions(base: base, most: terminals), attributes: [.noSetuid, .noExec])
        shm = try MountTree(
            type: "tmpfs", options: owner + [("mode", "1777"), ("size", Self.sharedMemorySize(sharedMemory))],
            attributes: [.noSetuid, .noDevices])
    }

    /// NR_UNIX98_PTY_MAX of the kernel.
    static let mostTerminals: Int64 = 1 << 20

    /// The options of a container's devpts; all of them, since a remount resets those that are not given.
    static func terminalOptions(base: UInt32, most: Int64) -> [(String, String)] {
        // Group 5 is tty in every distribution: what grantpt(3) expects.
        [("mode", "620"), ("ptmxmode", "666"), ("gid", String(base + 5)), ("max", String(min(most, mostTerminals)))]
    }

    /// The `size` of a tmpfs: what the kernel takes by itself where there is no bound.
    static func sharedMemorySize(_ pages: Int64) -> String {
        // Without overflow: more than there is address space is no bound.
        pages < 1 << 50 ? String(max(pages, 1) * 4096) : "50%"
    }
}
