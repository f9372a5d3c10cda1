public import VZKernel

/// What a container's root lies on, and what can be done there: plain data.
public struct RootStorage: Equatable, Sendable, Codable {
    public var stack: BlockStack
    /// Why nothing can be limited there, and what mends it; `nil` when it can.
    public var unlimited: String?
    /// What makes weights act there.
    public var sharing: Sharing

    public enum Sharing: Equatable, Sendable, Codable {
        /// io.cost on these disks.
        case ioCost(disks: [BlockDevice])
        /// BFQ on these, which are set to it already.
        case bfq(devices: [BlockDevice])
        /// Why nothing does, and what mends it.
        case nothing(reason: String)
    }

    /// - Parameter hasIOCost: whether the kernel can share disks by io.cost.
    public init(_ found: BlockDeviceReader.Found, hasIOCost: Bool) {
        stack = found.stack
        if stack.tops.isEmpty {
            let place = found.withoutDevice.map { "\($0), which is on no block device" } ?? "a device that sysfs does not know"
            let reason = "the root is on \(place); put it on ext4, xfs or btrfs on a disk"
            (unlimited, sharing) = (reason, .nothing(reason: "weights do not act: " + reason))
            return
        }
        sharing = Self.sharing(of: stack, hasIOCost: hasIOCost)
    }

    private static func sharing(of stack: BlockStack, hasIOCost: Bool) -> Sharing {
        let isOnBFQ = !stack.queues.isEmpty && stack.queues.allSatisfy { $0.scheduler == "bfq" }
        // Somebody's word for BFQ is heeded; the two together would undo each other.
        if isOnBFQ { return .bfq(devices: stack.queues) }
        if hasIOCost, stack.disks.allSatisfy({ $0.scheduler != nil }) { return .ioCost(disks: stack.disks) }
        let names = stack.queues.map { "\($0.name) (scheduler \($0.scheduler ?? "none"))" }.joined(separator: ", ")
        let mend = stack.queues.map { "echo bfq >/sys/block/\($0.name)/queue/scheduler" }.joined(separator: " && ")
        return .nothing(reason: "weights do not act on \(names); \(mend) (after modprobe bfq), and by a udev rule at boot")
    }
}

extension HostCapabilities {
    /// The same host as a container sees it whose root is elsewhere than the others'.
    public func host(of ctid: String) -> HostCapabilities {
        guard let other = otherStorage[ctid] else { return self }
        var host = self
        host.storage = other
        return host
    }

    /// Looks what the roots lie on, as they stand: all of a node on the devices of one directory, but for those that something else
    /// is mounted on. - Parameter tree: where the control groups are.
    mutating func lookAtStorage(
        _ paths: NodePaths, _ tree: ControlGroupTree, reader: BlockDeviceReader = .init()
    ) throws(KernelError) {
        let hasIOCost = tree.hasIOCost
        var known: [String: RootStorage] = [:]
        func storage(_ path: String, on fileSystem: String) throws(KernelError) -> RootStorage {
            // With major 0, the mount decides, and not the number alone.
            if let storage = known[fileSystem], !fileSystem.hasPrefix("0:") { return storage }
            let storage = RootStorage(try reader.devices(under: path, on: fileSystem), hasIOCost: hasIOCost)
            known[fileSystem] = storage
            return storage
        }
        // What is not made yet will be on the file system of the nearest directory that is there.
        let home = try BlockDeviceReader.nearest(paths.containers)
        let common = try BlockDeviceReader.fileSystem(of: home)
        var all: (common: RootStorage?, others: [String: RootStorage]) = (nil, [:])
        if let common { all.common = try storage(home, on: common) }
        for name in try BlockDeviceReader.names(in: paths.containers) {
            let root = "\(paths.containers)/\(name)/root"
            guard let own = try BlockDeviceReader.fileSystem(of: root), own != common else { continue }
            all.others[name] = try storage(root, on: own)
        }
        (self.storage, otherStorage) = all
    }
}
