internal import Glibc
internal import VZIsolation
internal import VZKernel
internal import VZModel
internal import VZPlan

/// The same container as OCI runtimes know it: a root, and a config.json with the same namespaces, mounts, capabilities and limits.
struct Crun {
    let directory: String
    private let state: String
    private let log: String

    enum Bundle: String, CaseIterable {
        /// Process 1 stays.
        case stays
        /// Process 1 exits at once.
        case ends
        /// Process 1 stays, and there are no control groups.
        case bare
    }

    /// Makes the bundles.
    /// - Parameters:
    ///   - source: the root to copy. It is given to the container's ids by chown, since crun maps no root's ids.
    init(directory: String, copying source: String, idBase: UInt32, spec: ContainerSpec, group: String) throws {
        self.directory = directory
        state = directory + "/state"
        log = directory + "/log"
        try Descriptor.makeDirectories(directory)
        try Command.run(["cp", "-a", "--", source, root])
        try Command.run(["chown", "-hR", "\(idBase):\(idBase)", "--", root])
        // Root inside is nobody outside, and must get to its root.
        try Command.run(["chmod", "755", directory, root])
        for bundle in Bundle.allCases {
            let path = "\(directory)/\(bundle.rawValue)"
            try Descriptor.makeDirectories(path)
            let text = config(bundle, idBase: idBase, spec: spec, group: group)
            let file = try Descriptor.open("\(path)/config.json", O_WRONLY | O_CREAT | O_EXCL, mode: 0o644)
            try file.writeAll(text.utf8)
        }
    }

    private var root: String { directory + "/rootfs" }

    /// Runs crun to its end; the seconds that it took.
    @discardableResult
    func run(_ verb: [String], _ bundle: Bundle? = nil, id: String = "") throws -> Double {
        let manager = bundle == .bare ? "disabled" : "cgroupfs"
        let place = bundle.map { ["--bundle", "\(directory)/\($0.rawValue)"] } ?? []
        return try Child.run(
            ["crun", "--root", state, "--cgroup-manager", manager] + verb + place + (id.isEmpty ? [] : [id]), log: log)
    }

    static let capabilities = [
        "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_CHROOT", "SYS_PTRACE",
        "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "SETFCAP",
    ]

    private func config(_ bundle: Bundle, idBase: UInt32, spec: ContainerSpec, group: String) -> String {
        let capabilities = "[" + Self.capabilities.map { "\"CAP_\($0)\"" }.joined(separator: ",") + "]"
        let arguments = bundle == .ends ? "\"/bin/true\"" : spec.`init`.map { "\"\($0)\"" }.joined(separator: ",")
        let map = "[{\"containerID\": 0, \"hostID\": \(idBase), \"size\": \(ContainerStart.idCount)}]"
        let namespaces = ["user", "mount", "pid", "network", "uts", "ipc", "cgroup"].map { "{\"type\": \"\($0)\"}" }
        return """
            {
              "ociVersion": "1.0.2",
              "process": {
                "terminal": false, "user": {"uid": 0, "gid": 0}, "cwd": "/", "noNewPrivileges": false,
                "args": [\(arguments)],
                "env": ["HOME=/root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=linux"],
                "capabilities": {"bounding": \(capabilities), "effective": \(capabilities), "permitted": \(capabilities)}
              },
              "root": {"path": "\(root)", "readonly": false},
              "hostname": "\(spec.name)",
              "mounts": [
                \(Self.mount("/proc", "proc", "nosuid,nodev,noexec")),
                \(Self.mount("/sys", "sysfs", "nosuid,nodev,noexec,ro")),
                \(Self.mount("/dev", "tmpfs", "nosuid,mode=755,size=256k")),
                \(Self.mount("/dev/pts", "devpts", "nosuid,noexec,newinstance,mode=0620,ptmxmode=0666,gid=5")),
                \(Self.mount("/dev/shm", "tmpfs", "nosuid,nodev,mode=1777")),
                \(Self.mount("/dev/mqueue", "mqueue", "nosuid,nodev,noexec"))
              ],
              "linux": {
                \(bundle == .bare ? "" : Self.resources(spec, group: group))
                "namespaces": [\(namespaces.joined(separator: ", "))],
                "uidMappings": \(map), "gidMappings": \(map)
              }
            }

            """
    }

    private static func mount(_ path: String, _ type: String, _ options: String) -> String {
        let list = options.split(separator: ",").map { "\"\($0)\"" }.joined(separator: ", ")
        return "{\"destination\": \"\(path)\", \"type\": \"\(type)\", \"source\": \"\(type)\", \"options\": [\(list)]}"
    }

    /// The limits that `spec` becomes on cgroup v1; crun itself translates them for v2. There is none for the disk: crun 1.8 knows
    /// no name that a kernel since 5.0 has for it.
    private static func resources(_ spec: ContainerSpec, group: String) -> String {
        let ram = spec.ram ?? 0
        return """
            "cgroupsPath": "/\(group)/crun",
                "resources": {
                  "cpu": {"shares": \(spec.cpuunits * 1024 / 1000), "quota": \(spec.cpulimit * 1000), "period": 100000},
                  "memory": {"limit": \(ram), "swap": \(ram + (spec.swap ?? 0))},
                  "pids": {"limit": \(spec.beancounters[.numproc]?.barrier ?? 0)}
                },
            """
    }
}
