public import VZKernel

/// What `Doctor` judges a host by: plain data, read once.
public struct HostFacts: Equatable, Sendable {
    public var capabilities: HostCapabilities
    /// `v1`, `v2` or `v1 and v2`; `nil` when nothing is mounted.
    public var controlGroups: String?
    /// `6.1.0-56-amd64`.
    public var kernel: String
    public var stateDirectory: String
    /// The mount that the state directory is on.
    public var stateMount: MountEntry?
    /// What swap above ram goes to.
    public var swap = VSwapMechanism.none
    public var criu: String?
    /// The arguments of the lxcfs that runs; `nil` when that is not known.
    public var lxcfsArguments: [String]?

    public init(
        capabilities: HostCapabilities, controlGroups: String?, kernel: String, stateDirectory: String, stateMount: MountEntry?
    ) {
        self.capabilities = capabilities
        (self.controlGroups, self.kernel) = (controlGroups, kernel)
        (self.stateDirectory, self.stateMount) = (stateDirectory, stateMount)
    }

    /// Reads them; nothing is made or changed.
    public init(of core: IsolationCore) throws(KernelError) {
        let versions = Set(core.tree.hierarchies.filter { !$0.controllers.isEmpty }.map(\.version.rawValue)).sorted()
        let mounts = MountEntry.list(try KernelFile.read("/proc/self/mountinfo"))
        let state = try BlockDeviceReader.nearest(core.paths.state)
        self.init(
            capabilities: core.host, controlGroups: versions.isEmpty ? nil : versions.joined(separator: " and "),
            kernel: try KernelFile.read("/proc/sys/kernel/osrelease"), stateDirectory: core.paths.state,
            stateMount: mounts.holding(state))
        swap = VSwapMechanism.ofThisHost(VSwap(controlGroup: core.tree.parent))
        criu = Self.program("criu")
        lxcfsArguments = core.host.lxcfs?.device == nil ? nil : Self.arguments(of: "lxcfs", serving: core.paths.lxcfs)
    }

    static func program(_ name: String) -> String? {
        ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"].map { "\($0)/\(name)" }
            .first { (try? BlockDeviceReader.fileSystem(of: $0)) != nil }
    }

    /// Of a running program that has the directory among its arguments.
    private static func arguments(of program: String, serving directory: String) -> [String]? {
        for pid in (try? BlockDeviceReader.names(in: "/proc")) ?? [] where Int32(pid) != nil {
            guard (try? KernelFile.read("/proc/\(pid)/comm")) == program, let line = try? KernelFile.read("/proc/\(pid)/cmdline")
            else { continue }
            let arguments = line.split(separator: "\0").map(String.init)
            if arguments.contains(where: { $0 == directory || $0 == directory + "/" }) { return arguments }
        }
        return nil
    }
}
