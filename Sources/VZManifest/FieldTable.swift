internal import VZModel

/// Every field that a manifest can have: the one place that says so.
public enum FieldTable {
    /// In the order in which a manifest is written.
    public static let all: [Field] = [
        .constant(
            "apiVersion", "vz/v1", .init(required: true, summary: "The form of the document.")),
        .constant(
            "kind", "Container", .init(required: true, summary: "What the document declares.")),
        .group(
            "metadata", .init(required: true, summary: "What the container is called.")),
        .text(
            "metadata.name", \.spec.name, .name,
            .init(
                openVZ: "NAME", required: true,
                summary: "The container's name, unique on the node.")),
        .map(
            "metadata.labels", \.labels, names: .labelName, values: .labelValue,
            .init(summary: "Free names and values, for selecting containers. They change nothing of the container itself.")),
        .group(
            "spec", .init(required: true, summary: "What the container shall be.")),
        .ctid(
            "spec.ctid", \.spec.ctid,
            .init(
                openVZ: "VEID", disruption: .recreate,
                summary: "The container's number, unique on the node. Left out, a free one is taken once and kept.")),
        .word(
            "spec.state", \.spec.state,
            .init(summary: "What the container shall do.")),
        .text(
            "spec.template", \.spec.template, .template,
            .init(
                openVZ: "OSTEMPLATE", disruption: .recreate,
                summary:
                    "The OS template that the container's root is made from, once, when there is none. Left out, the root must exist."
            )),
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
            "spec.ioprio", \.spec.ioprio, ContainerSpec.ioPriorityRange,
            .init(
                openVZ: "IOPRIO", disruption: .live,
                summary: "The container's I/O priority; a higher one gets more of a busy disk.")),
        .size(
            "spec.ram", \.spec.ram, minimum: 1,
            .init(
                unit: "bytes, rounded up to pages of 4096", openVZ: "PHYSPAGES", disruption: .live,
                summary: "The most RAM the container uses; the limit of physpages. Left out, there is no limit.")),
        .size(
            "spec.swap", \.spec.swap, minimum: 0,
            .init(
                unit: "bytes, rounded up to pages of 4096", openVZ: "SWAPPAGES", disruption: .live,
                summary: "The most swap the container uses beside ram; the limit of swappages. Left out beside ram, it is 0.")),
        .group(
            "spec.beancounters",
            .init(summary: "OpenVZ's user beancounters. One that is left out is unlimited.")),
        .beancounter(
            .numproc, equal: true,
            .init(
                unit: "processes and threads", openVZ: "NUMPROC", disruption: .live,
                summary: "The most processes and threads; the barrier equals the limit. Left out, there is no limit.")),
    ]

    /// The field at a path. Where that is clear, the groups may be left out: `cpuunits`, `numproc`. `nil` when there is none.
    public static func field(_ path: String) -> Field? {
        if let field = byPath[path] ?? byPath["spec.\(path)"] { return field }
        let named = all.filter { $0.name == path }
        return named.count == 1 ? named[0] : nil
    }

    /// The path of the field that somebody most likely meant by one that does not exist; `nil` when none is near.
    public static func suggestion(for path: String) -> String? {
        NearestName.of(
            path, among: all.flatMap { $0.path.hasPrefix("spec.") ? [$0.path, String($0.path.dropFirst(5))] : [$0.path] })
            ?? elsewhere(named: path)?.path
    }

    static let byPath = Dictionary(all.map { ($0.path, $0) }) { first, _ in first }
    /// By the path of the group that they stand in.
    static let children = Dictionary(grouping: all, by: \.parent)

    /// A field of this name in another group, or of this name in OpenVZ's files.
    static func elsewhere(named name: String) -> Field? {
        all.first { $0.name == name.lowercased() } ?? all.first { $0.openVZKey == name.uppercased() }
    }
}
