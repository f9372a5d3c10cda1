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
    public struct SwapArea: Equatable, Sendable {
        public var device: String
        public var kibibytes: Int64
    }

    /// /proc/swaps.
    public var swaps: [SwapArea] = []
    /// `Y` or `N` of /sys/module/zswap; `nil`: the kernel has none.
    public var zswap: String?
    /// Whether the module zram is there, loaded or not.
    public var hasZram = false
    /// The security modules in force; `nil` when they cannot be seen.
    public var securityModules: [String]?
    public var criu: String?
    public var lxcfs: String?
    public var isLXCFSMounted = false

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
        let state = BlockDeviceReader.nearest(core.paths.state)
        self.init(
            capabilities: core.host, controlGroups: versions.isEmpty ? nil : versions.joined(separator: " and "),
            kernel: try KernelFile.read("/proc/sys/kernel/osrelease"), stateDirectory: core.paths.state,
            stateMount: mounts.holding(state))
        swaps = ((try? KernelFile.read("/proc/swaps")) ?? "").split(separator: "\n").dropFirst().compactMap { line in
            let words = line.split { $0 == " " || $0 == "\t" }
            return words.count >= 3 ? Int64(words[2]).map { SwapArea(device: String(words[0]), kibibytes: $0) } : nil
        }
        zswap = try? KernelFile.read("/sys/module/zswap/parameters/enabled")
        let modules = "/lib/modules/\(kernel)/kernel/drivers/block/zram"
        hasZram = ["/sys/module/zram", "/sys/block/zram0", modules].contains { BlockDeviceReader.fileSystem(of: $0) != nil }
        securityModules = (try? KernelFile.read("/sys/kernel/security/lsm"))?.split(separator: ",").map(String.init)
        criu = Self.program("criu")
        lxcfs = Self.program("lxcfs")
        isLXCFSMounted = mounts.contains { $0.type == "fuse.lxcfs" }
    }

    private static func program(_ name: String) -> String? {
        ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"].map { "\($0)/\(name)" }
            .first { BlockDeviceReader.fileSystem(of: $0) != nil }
    }
}
