internal import VZKernel
internal import VZModel

/// What a host can do and cannot. Pure.
public enum Doctor {
    public static func findings(_ host: HostFacts) -> [Finding] {
        [kernel(host), controlGroups(host)] + settings(host.capabilities) + [sharing(host.capabilities), limits(host.capabilities)]
            + [idMap(host), quota(host), swap(host), programs(host.capabilities)] + beancounters(host.capabilities)
            + [criu(host), lxcfs(host)]
    }

    static func isAtLeast(_ wanted: (Int, Int), _ release: String) -> Bool {
        let numbers = release.split { !$0.isNumber }.prefix(2).compactMap { Int($0) }
        return numbers.count == 2 && (numbers[0], numbers[1]) >= wanted
    }

    private static func kernel(_ host: HostFacts) -> Finding {
        isAtLeast((5, 12), host.kernel)
            ? .fine("kernel", "Linux \(host.kernel)")
            : .missing("kernel", "Linux \(host.kernel)", "no container can be started", mend: "boot Linux 5.12 or later")
    }

    private static func controlGroups(_ host: HostFacts) -> Finding {
        guard let versions = host.controlGroups else {
            return .missing(
                "control groups", "no controller is mounted", "no limit can be held",
                mend: "mount -t cgroup2 cgroup2 /sys/fs/cgroup")
        }
        return .fine("control groups", versions)
    }

    private static func settings(_ host: HostCapabilities) -> [Finding] {
        let all: [(ControlGroupTree.Setting, String, String)] = [
            (.cpuWeight, "cpuunits", "containers share the CPUs as the kernel sees fit"),
            (.cpuQuota, "cpulimit", "a container may use all CPUs"),
            (.memoryMax, "ram", "a container may use all memory"),
            (.swapMax, "swap", "a container may use all swap"),
            (.cpus, "cpumask, cpus", "processes of a container run on all CPUs"),
            (.memoryNodes, "nodemask", "a container takes memory from all nodes"),
            (.pidsMax, "beancounters.numproc", "a container may fill the table of processes"),
        ]
        return all.map { setting, field, consequence in
            if let reason = host.unsupported(setting) {
                return .missing(field, reason: reason, "\(field) is not held: \(consequence)")
            }
            return .fine(field, host.name(of: setting))
        }
    }

    /// Weights alone do nothing: a scheduler or io.cost has to heed them.
    private static func sharing(_ host: HostCapabilities) -> Finding {
        let consequence = "ioprio has no effect: containers share the disk as it comes"
        if let reason = host.unsupported(.ioWeight) { return .missing("ioprio", reason: reason, consequence) }
        func names(_ devices: [BlockDevice]) -> String { devices.map(\.name).joined(separator: ", ") }
        switch host.storage?.sharing {
        case nil: return .missing("ioprio", reason: "the device under the roots is not known", consequence)
        case .nothing(let reason): return .missing("ioprio", reason: reason, consequence)
        case .ioCost(let disks):
            return .fine("ioprio", "io.weight, by io.cost on \(names(disks)), switched on with the first container that asks")
        case .bfq(let devices): return .fine("ioprio", "\(host.name(of: .ioWeight)), by the scheduler bfq of \(names(devices))")
        }
    }

    private static func limits(_ host: HostCapabilities) -> Finding {
        let subject = "iolimit, iopslimit"
        let consequence = "iolimit and iopslimit are not held: a container may use all of the disk"
        if let reason = host.unsupported(.ioBytes) ?? host.unsupported(.ioOperations) {
            return .missing(subject, reason: reason, consequence)
        }
        guard let storage = host.storage, storage.unlimited == nil else {
            return .missing(subject, reason: host.storage?.unlimited ?? "the device under the roots is not known", consequence)
        }
        let names = storage.stack.tops.map(\.name).joined(separator: ", ")
        let name = host.name(of: .ioBytes)
        let buffered = name.hasPrefix("blkio") ? "; cgroup v1 bounds reads and direct writes, not what is written back later" : ""
        return .fine(subject, "\(name) on \(names), each for reads and writes\(buffered)")
    }

    /// The file systems that take id-mapped mounts, and since which kernel (mount_setattr(2)).
    private static let idMapped: [String: (Int, Int)] = [
        "ext4": (5, 12), "xfs": (5, 12), "btrfs": (5, 15), "f2fs": (5, 18), "erofs": (5, 19), "tmpfs": (6, 3), "bcachefs": (6, 7),
    ]

    private static func idMap(_ host: HostFacts) -> Finding {
        let subject = "id-mapped mounts"
        let consequence = "no container can be started from \(host.stateDirectory)"
        guard let mount = host.stateMount else {
            return .missing(subject, "\(host.stateDirectory) is on no mount", consequence, mend: "mount /proc")
        }
        guard let since = idMapped[mount.type], isAtLeast(since, host.kernel) else {
            return .missing(
                subject, "\(mount.type) on \(mount.mountPoint) knows none in Linux \(host.kernel)", consequence,
                mend: "mount ext4, xfs or btrfs on \(host.stateDirectory)")
        }
        return .fine(subject, "\(mount.type) on \(mount.mountPoint)")
    }

    private static func quota(_ host: HostFacts) -> Finding {
        let options = host.stateMount?.options ?? []
        if let option = ["prjquota", "pquota"].first(where: options.contains) {
            return .fine("project quota", "\(option) on \(host.stateMount?.mountPoint ?? "")")
        }
        let place = host.stateMount.map { "\($0.type) on \($0.mountPoint)" } ?? host.stateDirectory
        return .missing(
            "project quota", "\(place) is mounted without prjquota",
            "diskspace and diskinodes cannot be held for roots in directories",
            mend: "tune2fs -O project,quota -Q prjquota (ext4, unmounted), and mount with -o prjquota")
    }

    private static func swap(_ host: HostFacts) -> Finding {
        guard let mend = host.swap.mend else {
            return .fine("swap above ram", "\(host.swap.description): \(host.swap.consequence)")
        }
        return .missing("swap above ram", host.swap.description, host.swap.consequence, mend: mend)
    }

    private static func programs(_ host: HostCapabilities) -> Finding {
        let support = host.beancounters
        let (subject, found) = ("BPF programs", "tier \(support.tier.description)")
        switch support.tier {
        case .lsm, .modifyReturn: return .fine(subject, found)
        case .groups:
            return .missing(
                subject, found, "what only programs at security hooks can refuse is not refused",
                mend: "boot a kernel with CONFIG_BPF_LSM that is not locked down")
        case .none:
            return .missing(
                subject, support.problem.map { "\(found): \($0)" } ?? found,
                "beancounters that the kernel has no controller for are neither counted nor held",
                mend: "start vzd as root, on a kernel with CONFIG_BPF_SYSCALL and CONFIG_DEBUG_INFO_BTF; apt-get install libbpf1")
        }
    }

    /// Those that nothing above speaks of.
    private static func beancounters(_ host: HostCapabilities) -> [Finding] {
        Beancounter.allCases.filter { ![.numproc, .physpages, .swappages].contains($0) }.map { beancounter in
            let subject = "beancounters.\(beancounter.rawValue)"
            let done = host.enforcement(of: beancounter)
            let found = done.mechanism.isEmpty ? done.word : "\(done.word): \(done.mechanism)"
            if done.isEnforced { return .fine(subject, found) }
            let reason = host.reasonNotEnforced(beancounter).split(separator: ";", maxSplits: 1)
            return .missing(
                subject, found, reason.first.map(String.init) ?? found,
                mend: reason.count > 1 ? String(reason[1].drop { $0 == " " }) : "do without it")
        }
    }

    private static func criu(_ host: HostFacts) -> Finding {
        host.criu.map { .fine("criu", $0) }
            ?? .missing("criu", "not installed", "containers cannot be suspended", mend: "apt-get install criu")
    }

    private static func lxcfs(_ host: HostFacts) -> Finding {
        guard let lxcfs = host.capabilities.lxcfs, lxcfs.device != nil else {
            return .missing(
                "lxcfs", reason: host.capabilities.lxcfs?.unsupported ?? "nobody looked; look with this version of vz",
                "free, top and uptime in a container tell the host's numbers")
        }
        let place = "on \(lxcfs.directory)"
        // Debian's unit has neither of them.
        let options = [
            ("--enable-cfs", "-", "/proc/cpuinfo in a container does not show cpus and cpulimit"),
            ("--enable-loadavg", "-l", "the load average in a container is the host's"),
        ]
        guard let arguments = host.lxcfsArguments else { return .fine("lxcfs", place) }
        let lacking = options.filter { !arguments.contains($0.0) && !arguments.contains($0.1) }
        if lacking.isEmpty { return .fine("lxcfs", "\(place), \(options.map(\.0).joined(separator: " "))") }
        return .missing(
            "lxcfs", "\(place), without \(lacking.map(\.0).joined(separator: " "))", lacking.map(\.2).joined(separator: "; "),
            mend:
                "install examples/systemd/lxcfs.service.d/vz.conf in /etc/systemd/system/lxcfs.service.d; systemctl daemon-reload; "
                + "systemctl restart lxcfs")
    }
}
