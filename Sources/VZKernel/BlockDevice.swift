/// A block device, by the kernel's number and name.
public struct BlockDevice: Hashable, Sendable, Codable {
    /// `MAJOR:MINOR`, as sysfs and control groups write it.
    public var number: String
    /// `vda`, `loop0`.
    public var name: String
    /// The I/O scheduler in force; `nil` for a device without a queue of its own (device mapper, zram).
    public var scheduler: String?

    public init(number: String, name: String, scheduler: String? = nil) {
        (self.number, self.name, self.scheduler) = (number, name, scheduler)
    }
}

/// The devices that a file system lies on, from the file system down to the disks.
public struct BlockStack: Equatable, Sendable, Codable {
    /// What the file system is made on, whole disks for partitions: where a limit meets every request once.
    public var tops: [BlockDevice]
    /// Going down from there, the first that have a queue and so a scheduler: what BFQ divides.
    public var queues: [BlockDevice]
    /// The lowest: disks, also those below the file of a loop device.
    public var disks: [BlockDevice]

    public init(tops: [BlockDevice] = [], queues: [BlockDevice] = [], disks: [BlockDevice] = []) {
        (self.tops, self.queues, self.disks) = (tops, queues, disks)
    }
}

/// What sysfs says of one block device (ABI/stable/sysfs-block).
public struct BlockDeviceEntry: Equatable, Sendable {
    public var name: String
    /// The number of the whole disk, when this is a partition.
    public var disk: String?
    /// The numbers of what device mapper or md made this from.
    public var slaves: [String]
    /// Of a loop device: the number of the file system that its file is on.
    public var backing: String?
    public var scheduler: String?

    public init(name: String, disk: String? = nil, slaves: [String] = [], backing: String? = nil, scheduler: String? = nil) {
        (self.name, self.disk, self.slaves, self.backing, self.scheduler) = (name, disk, slaves, backing, scheduler)
    }
}

extension BlockStack {
    /// The stack below file systems on the devices `numbers`. Pure: all that is known of a device comes from `entry`.
    ///
    /// Partition → disk, loop → its file's disk, device mapper and md → slaves. What `entry` does not know is left out; a file that
    /// lies on no block device (tmpfs) leaves its loop device as the lowest.
    public init(under numbers: [String], entry: (String) -> BlockDeviceEntry?) {
        self.init()
        var pending = numbers
        while let number = pending.popLast() {
            guard let (whole, top) = Self.whole(number, entry) else { continue }
            Self.add(BlockDevice(number: whole, name: top.name, scheduler: top.scheduler), to: &tops)
            var seen: Set<String> = []
            descend(whole, isBelowQueue: false, entry, &seen)
        }
        tops.sort { $0.name < $1.name }
        queues.sort { $0.name < $1.name }
        disks.sort { $0.name < $1.name }
    }

    private static func whole(
        _ number: String, _ entry: (String) -> BlockDeviceEntry?
    ) -> (number: String, entry: BlockDeviceEntry)? {
        guard let found = entry(number) else { return nil }
        guard let disk = found.disk else { return (number, found) }
        return entry(disk).map { (disk, $0) }
    }

    private mutating func descend(
        _ number: String, isBelowQueue: Bool, _ entry: (String) -> BlockDeviceEntry?, _ seen: inout Set<String>
    ) {
        // A description may go round in circles, the kernel's does not.
        guard let (whole, found) = Self.whole(number, entry), seen.insert(whole).inserted else { return }
        let device = BlockDevice(number: whole, name: found.name, scheduler: found.scheduler)
        let isQueue = found.slaves.isEmpty && !isBelowQueue
        if isQueue { Self.add(device, to: &queues) }
        let below = found.slaves + (found.backing.map { [$0] } ?? [])
        let known = below.filter { Self.whole($0, entry) != nil }
        if known.isEmpty { Self.add(device, to: &disks) }
        for number in known { descend(number, isBelowQueue: isBelowQueue || isQueue, entry, &seen) }
    }

    private static func add(_ device: BlockDevice, to list: inout [BlockDevice]) {
        if !list.contains(device) { list.append(device) }
    }
}
