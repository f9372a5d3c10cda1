/// What one container shall be: the meaning of a `kind: Container` document, complete, with every default filled in.
///
/// A value of this type says everything that a manifest can say and nothing of the host. Fields carry OpenVZ's own names and units
/// (`openvz.md` sections 2 and 3).
public struct ContainerSpec: Equatable, Sendable {
    /// Unique on the node; a DNS label (RFC 1123, 1…63 characters).
    public var name: String
    /// 101…2147483644; `nil` lets the node allocate one and remember it.
    public var ctid: ContainerID?
    /// What the container shall do.
    public var state: RunState
    /// Name of the OS template that the root is made from, once, when it does not exist yet.
    public var template: String?
    /// Argument vector of the container's process 1; never empty.
    public var `init`: [String]
    /// Environment of process 1, beside `PATH`, `HOME`, `TERM` and `container`.
    public var env: [String: String]
    /// Host name inside; `nil` leaves it to the container after a start under its own name.
    public var hostname: String?
    /// Relative CPU share, 8…500000.
    public var cpuunits: Int
    /// Percent of one CPU; 0 is no limit.
    public var cpulimit: Int
    /// I/O priority, 0…7.
    public var ioprio: Int
    /// Bytes of RAM (`physpages` limit); `nil` is no limit.
    public var ram: Int64?
    /// Bytes of swap (`swappages` limit), only beside `ram`, where leaving it out means 0.
    public var swap: Int64?
    /// The beancounters that the manifest sets; one that is not here is unlimited, or follows from `ram` and `swap`
    /// (`openvz.md` section 3.1).
    public var beancounters: [Beancounter: BarrierLimit]

    // What has a default that is nothing in particular.

    /// Free text.
    public var description: String?
    public var nameserver: ResolverList?
    public var searchdomain: ResolverList?
    /// Whether it is started with the node; `nil`: when it ran at the last shutdown.
    public var onboot: Bool?
    /// Higher starts first; `nil` last.
    public var bootorder: Int?
    /// Seconds that a stop waits before it kills.
    public var stopTimeout = 120
    /// How many CPUs it may use; 0 is all.
    public var cpus = 0
    public var cpumask = NumberSet.all
    public var nodemask = NumberSet.all
    /// Bytes a second, reads and writes together; 0 is no limit.
    public var iolimit: Int64 = 0
    /// Operations a second; 0 is no limit.
    public var iopslimit = 0
    /// privvmpages = (ram + swap) × this; 0 or `nil`: unlimited.
    public var vmOvercommit: Double?
    public var layout = Layout.dir
    /// Bytes, soft and hard.
    public var diskspace: BarrierLimit?
    /// Inodes, soft and hard.
    public var diskinodes: BarrierLimit?
    /// Seconds of grace of the soft limits.
    public var quotatime = 0
    /// User and group quota records inside; 0 is none.
    public var quotaugidlimit = 0
    public var network = NetworkSpec()
    public var netfilter = NetfilterMode.stateless
    public var capabilities = CapabilityChanges()
    /// OpenVZ's grammar: `c:10:200:rw`.
    public var devices: [String] = []
    /// Of tun, fuse, nfs, nfsd, ppp, bridge, sysfs, sit, ipip, ipgre, time, lxcfs; and `lxcfs:off`, since lxcfs is on by itself.
    public var features: [String] = []
    public var mounts: [MountSpec] = []
    public var lifecycle = Lifecycle()

    /// A spec with every default (`openvz.md` sections 1 and 2).
    public init(
        name: String, ctid: ContainerID? = nil, state: RunState = .running, template: String? = nil,
        init argv: [String] = ContainerSpec.defaultInit, env: [String: String] = [:], hostname: String? = nil,
        cpuunits: Int = ContainerSpec.defaultCPUUnits, cpulimit: Int = 0, ioprio: Int = ContainerSpec.defaultIOPriority,
        ram: Int64? = nil, swap: Int64? = nil, beancounters: [Beancounter: BarrierLimit] = [:]
    ) {
        self.name = name
        self.ctid = ctid
        self.state = state
        self.template = template
        self.`init` = argv
        self.env = env
        self.hostname = hostname
        self.cpuunits = cpuunits
        self.cpulimit = cpulimit
        self.ioprio = ioprio
        self.ram = ram
        self.swap = swap
        self.beancounters = beancounters
    }

    public static let defaultInit = ["/sbin/init"]
    public static let defaultCPUUnits = 1000
    public static let defaultIOPriority = 4
    public static let cpuUnitsRange = 8...500_000
    public static let ioPriorityRange = 0...7
}

/// What a container shall do, or does.
public enum RunState: String, Sendable, Codable, CaseIterable {
    case running, stopped
    /// Its processes are kept in a file, to go on from there (`openvz.md` section 5).
    case suspended
}

/// OpenVZ's container number. 1…100 are reserved (`openvz.md` 6.1).
public struct ContainerID: Hashable, Comparable, Sendable, Codable, CustomStringConvertible {
    public let number: Int
    public static let range = 101...2_147_483_644

    /// `nil` outside of `range`.
    public init?(_ number: Int) {
        guard Self.range.contains(number) else { return nil }
        self.number = number
    }

    /// From exactly the decimal form that `description` gives: no sign, no leading zero, no blank.
    public init?(text: some StringProtocol) {
        guard let first = text.utf8.first, first != UInt8(ascii: "0"), text.utf8.allSatisfy({ (48...57).contains($0) }),
            let number = Int(text)
        else { return nil }
        self.init(number)
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let id = try Self(container.decode(Int.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "a CTID is \(Self.range)")
        }
        self = id
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(number)
    }

    public static func < (a: Self, b: Self) -> Bool { a.number < b.number }
    public var description: String { String(number) }
}
