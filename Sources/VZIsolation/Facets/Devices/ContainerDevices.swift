internal import VZKernel

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
    /// - Parameter base: the host's id of the container's root.
    init(base: UInt32) throws(KernelError) {
        let owner = [("uid", String(base)), ("gid", String(base))]
        dev = try MountTree(type: "tmpfs", options: owner + [("mode", "755"), ("size", "256k")], attributes: [.noSetuid])
        for (name, major, minor) in Self.nodes { try dev.makeDevice(name, major: major, minor: minor, owner: base) }
        for name in ["pts", "shm", "mqueue"] { try dev.makeDirectory(name, owner: base) }
        for (name, target) in Self.links { try dev.makeLink(name, to: target, owner: base) }
        // Group 5 is tty in every distribution: what grantpt(3) expects.
        pts = try MountTree(
            type: "devpts", options: [("mode", "620"), ("ptmxmode", "666"), ("gid", String(base + 5))],
            attributes: [.noSetuid, .noExec])
        shm = try MountTree(type: "tmpfs", options: owner + [("mode", "1777")], attributes: [.noSetuid, .noDevices])
    }
}
