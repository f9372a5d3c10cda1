internal import VZModel

// The fields, in the order in which a manifest is written: what the container is and what runs in it.
extension FieldTable {
    static let envelope: [Field] = [
        .constant(
            "apiVersion", "vz/v1", .init(required: true, summary: "The form of the document.")),
        .word(
            "kind", \.kind,
            .init(
                required: true,
                summary:
                    "What the document declares: a container, a profile that containers name, or what every container of the node starts from."
            )),
        .group(
            "metadata",
            .init(required: true, optionalIn: [.defaults], summary: "What the container or the profile is called.")),
        .text(
            "metadata.name", \.spec.name, .name,
            .init(
                openVZ: "NAME", required: true, kinds: [.container, .profile],
                summary: "The container's name, unique on the node; of a profile, the name that containers call it by.")),
        .map(
            "metadata.labels", \.labels, names: .labelName, values: .labelValue,
            .init(summary: "Free names and values, for selecting containers. They change nothing of the container itself.")),
        .group(
            "spec", .init(required: true, summary: "What the container shall be.")),
    ]

    static let identity: [Field] = [
        .ctid(
            "spec.ctid", \.spec.ctid,
            .init(
                openVZ: "VEID", disruption: .recreate, kinds: [.container],
                summary: "The container's number, unique on the node. Left out, a free one is taken once and kept.")),
        .text(
            "spec.profile", \.profile, .name,
            .init(
                openVZ: "ORIGIN_SAMPLE", disruption: .live, kinds: [.container, .defaults],
                summary: "The kind: Profile document whose spec this one starts from. What the document says itself goes before it."
            )),
        .word(
            "spec.state", \.spec.state,
            .init(summary: "What the container shall do.")),
        .text(
            "spec.description", \.spec.description, .description,
            .init(openVZ: "DESCRIPTION", disruption: .live, summary: "Free text.")),
        .text(
            "spec.template", \.spec.template, .template,
            .init(
                openVZ: "OSTEMPLATE", disruption: .recreate,
                summary:
                    "The OS template that the container's root is made from, once, when there is none. Left out, the root must exist."
            )),
    ]

    static let processes: [Field] = [
        .list(
            "spec.init", \.spec.`init`, first: .program, rest: .argument,
            .init(disruption: .restart, summary: "The argument vector of the container's process 1; the program comes first.")),
        .map(
            "spec.env", \.spec.env, names: .environmentName, values: .environmentValue,
            .init(
                disruption: .restart,
                summary: "The environment of process 1, beside PATH, HOME, TERM and container.")),
        .text(
            "spec.hostname", \.spec.hostname, .hostname,
            .init(
                openVZ: "HOSTNAME", disruption: .live,
                summary: "The host name inside. Left out, it begins as the container's name and is the container's own to change.")),
        .resolver(
            "spec.nameserver", \.spec.nameserver, .address,
            .init(
                openVZ: "NAMESERVER", disruption: .live,
                summary: "The name servers inside; inherit takes the host's. Left out, they are the container's own affair.")),
        .resolver(
            "spec.searchdomain", \.spec.searchdomain, .domain,
            .init(
                openVZ: "SEARCHDOMAIN", disruption: .live,
                summary: "The search domains inside; inherit takes the host's. Left out, they are the container's own affair.")),
        .bool(
            "spec.onboot", \.spec.onboot,
            .init(
                openVZ: "ONBOOT", disruption: .live,
                summary: "Whether the container is started with the node. Left out, it is when it ran at the last shutdown.")),
        .integer(
            "spec.bootorder", \.spec.bootorder, 0...2_147_483_647,
            .init(
                openVZ: "BOOTORDER", disruption: .live,
                summary: "The place in the order of the node's start: higher starts first. Left out, last; equal ones by ctid.")),
        .duration(
            "spec.stop_timeout", \.spec.stopTimeout,
            .init(
                openVZ: "STOP_TIMEOUT", disruption: .live,
                summary: "How long a stop waits for the container to end by itself before it is killed.")),
    ]

    static let cpu: [Field] = [
        .integer(
            "spec.cpuunits", \.spec.cpuunits, ContainerSpec.cpuUnitsRange,
            .init(
                unit: "share", openVZ: "CPUUNITS", disruption: .live,
                summary: "The container's share of CPU time, relative to the other containers', when CPU time is short.")),
        .integer(
            "spec.cpulimit", \.spec.cpulimit, 0...1_000_000,
            .init(
                unit: "percent of one CPU", openVZ: "CPULIMIT", disruption: .live,
                summary: "The most CPU time the container gets: 150 is one and a half CPUs. 0 is no limit.")),
        .integer(
            "spec.cpus", \.spec.cpus, 0...4096,
            .init(
                unit: "CPUs", openVZ: "CPUS", disruption: .live,
                summary: "How many CPUs the container may use at a time. 0 is all.")),
        .numbers(
            "spec.cpumask", \.spec.cpumask,
            .init(
                openVZ: "CPUMASK", disruption: .live, summary: "The CPUs that the container may run on.")),
        .numbers(
            "spec.nodemask", \.spec.nodemask,
            .init(
                openVZ: "NODEMASK", disruption: .live,
                summary: "The NUMA nodes that the container takes its memory from; only beside cpumask.")),
    ]

    static let io: [Field] = [
        .integer(
            "spec.ioprio", \.spec.ioprio, ContainerSpec.ioPriorityRange,
            .init(
                openVZ: "IOPRIO", disruption: .live,
                summary: """
                    The container's I/O priority; a higher one gets more of a busy disk. One that is not 4 switches on what makes \
                    weights act: io.cost, or strict guarantees where the disk's scheduler is bfq.
                    """)),
        .rate(
            "spec.iolimit", \.spec.iolimit,
            .init(
                unit: "bytes a second", openVZ: "IOLIMIT", disruption: .live,
                summary: """
                    The most that the container moves to and from the device of its root. OpenVZ counted reads and writes \
                    together; Linux bounds each direction, and each may use the whole. 0 is no limit.
                    """)),
        .integer(
            "spec.iopslimit", \.spec.iopslimit, 0...4_294_967_295,
            .init(
                unit: "operations a second", openVZ: "IOPSLIMIT", disruption: .live,
                summary: """
                    The most operations on the device of its root: as many reads and as many writes, where OpenVZ counted them \
                    together. 0 is no limit.
                    """)),
    ]

    static let disk: [Field] = [
        .word(
            "spec.layout", \.spec.layout,
            .init(
                openVZ: "VE_LAYOUT", disruption: .recreate,
                summary:
                    "How the root is kept: in a directory (OpenVZ's simfs), or in an image with a file system of its own (ploop).")),
        .quota(
            "spec.diskspace", \.spec.diskspace, .bytes,
            .init(
                unit: "bytes", openVZ: "DISKSPACE", disruption: .live,
                summary: "The disk space of the container, \"soft:hard\"; of an image its size, the hard one. Left out, no limit.")),
        .quota(
            "spec.diskinodes", \.spec.diskinodes, .items,
            .init(
                unit: "inodes", openVZ: "DISKINODES", disruption: .live,
                summary: "The files and directories of the container, \"soft:hard\". Left out, there is no limit.")),
        .duration(
            "spec.quotatime", \.spec.quotatime,
            .init(
                openVZ: "QUOTATIME", disruption: .live,
                summary: "How long the soft limits of the disk may be exceeded. 0s makes them hard at the first crossing.")),
        .integer(
            "spec.quotaugidlimit", \.spec.quotaugidlimit, 0...4_294_967_295,
            .init(
                unit: "users and groups", openVZ: "QUOTAUGIDLIMIT", disruption: .restart,
                summary: "How many users and groups inside have a disk quota of their own. 0 switches these quotas off.")),
    ]
}
