/// Where a node keeps what is its own. Two nodes with different paths and another `controlGroup` do not see each other.
public struct NodePaths: Equatable, Sendable {
    /// Manifests, low to high priority.
    public var manifests: [String]
    /// What outlives a reboot: roots, templates, records.
    public var state: String
    /// What does not: locks, status.
    public var run: String
    /// The name of our control group at the top of each hierarchy.
    public var controlGroup: String
    /// Where the programs that count beancounters are pinned; nodes may share it.
    public var bpf: String
    /// Where lxcfs is mounted.
    public var lxcfs: String

    /// - Parameter bpf: `nil`: below `run`.
    public init(
        manifests: [String], state: String, run: String, controlGroup: String, bpf: String? = nil, lxcfs: String = "/var/lib/lxcfs"
    ) {
        self.bpf = bpf ?? run + "/bpf"
        self.manifests = manifests
        self.state = state
        self.run = run
        self.controlGroup = controlGroup
        self.lxcfs = lxcfs
    }

    public static let standard = Self(
        manifests: ["/usr/lib/vz.d", "/etc/vz.d", "/run/vz.d"], state: "/var/lib/vz", run: "/run/vz", controlGroup: "vz")

    public var templates: String { state + "/template" }
    public var containers: String { state + "/ct" }
    public var records: String { state + "/records" }
    public var overrides: String { state + "/overrides" }
    public var trash: String { state + "/trash" }
    /// What is remembered of the node as a whole.
    public var nodeRecords: String { state + "/node" }
    /// The models of the disks for io.cost.
    public var ioCost: String { state + "/io-cost.conf" }
    public var locks: String { run + "/lock" }
    public var status: String { run + "/status" }
}

extension NodePaths {
    /// The standard paths, but for what the environment says: `VZ_CONFIG_DIR` (one directory, or several with colons between, low to
    /// high priority), `VZ_STATE_DIR`, `VZ_RUN_DIR`, `VZ_CGROUP`, `VZ_BPF_DIR`, `VZ_LXCFS`.
    public init(environment: [String: String]) {
        self = .standard
        if let value = environment["VZ_CONFIG_DIR"], !value.isEmpty { manifests = value.split(separator: ":").map(String.init) }
        if let value = environment["VZ_STATE_DIR"], !value.isEmpty { state = value }
        if let value = environment["VZ_RUN_DIR"], !value.isEmpty { (run, bpf) = (value, value + "/bpf") }
        if let value = environment["VZ_BPF_DIR"], !value.isEmpty { bpf = value }
        if let value = environment["VZ_CGROUP"], !value.isEmpty { controlGroup = value }
        if let value = environment["VZ_LXCFS"], !value.isEmpty { lxcfs = value }
    }
}
