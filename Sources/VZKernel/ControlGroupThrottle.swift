/// How much a group may read from and write to one device; `nil` is no limit.
public struct IOLimits: Hashable, Sendable {
    /// Bytes a second.
    public var readBytes: Int64?
    public var writeBytes: Int64?
    /// Operations a second.
    public var readOperations: Int64?
    public var writeOperations: Int64?

    public init(
        readBytes: Int64? = nil, writeBytes: Int64? = nil, readOperations: Int64? = nil, writeOperations: Int64? = nil
    ) {
        (self.readBytes, self.writeBytes) = (readBytes, writeBytes)
        (self.readOperations, self.writeOperations) = (readOperations, writeOperations)
    }

    public var isEmpty: Bool { self == IOLimits() }
}

// cgroup-v2.rst (io.max) and cgroup-v1/blkio-controller.rst (blkio.throttle.*). As for the other settings, `ENOENT` is thrown when
// the group is not there, and `EOPNOTSUPP` when this host does not have the setting.
extension ControlGroup {
    /// The limits of every device that has any, by `MAJOR:MINOR`.
    public func ioLimits() throws(KernelError) -> [String: IOLimits] {
        let hierarchy = try hierarchy(for: .ioBytes)
        if hierarchy.version == .v2 { return Self.parseIOMax(try text(of: "io.max", in: hierarchy)) }
        var all: [String: IOLimits] = [:]
        for (file, key) in Self.throttleFiles {
            for line in try text(of: file, in: hierarchy).split(separator: "\n") {
                let words = line.split(separator: " ")
                guard words.count == 2, let value = Int64(words[1]) else { continue }
                all[String(words[0]), default: IOLimits()][keyPath: key] = value
            }
        }
        return all
    }

    /// Bounds both directions on one device, in bytes a second; `nil` takes the bound away. Operations are left as they are.
    /// - Throws: `ENODEV` for what is no whole device of the host.
    public func setIOBytes(_ limit: Int64?, on device: String) throws(KernelError) {
        try setIO(limit, on: device, v2: "bps", v1: "bps_device")
    }

    /// The same for operations a second.
    public func setIOOperations(_ limit: Int64?, on device: String) throws(KernelError) {
        try setIO(limit, on: device, v2: "iops", v1: "iops_device")
    }

    private func setIO(_ limit: Int64?, on device: String, v2: String, v1: String) throws(KernelError) {
        let hierarchy = try hierarchy(for: .ioBytes)
        let expected = "expected a whole block device of this host, and 1 or more"
        if hierarchy.version == .v2 {
            let value = limit.map(String.init) ?? "max"
            return try write("\(device) r\(v2)=\(value) w\(v2)=\(value)", to: "io.max", in: hierarchy, expected: expected)
        }
        for direction in ["read", "write"] {
            try write("\(device) \(limit ?? 0)", to: "blkio.throttle.\(direction)_\(v1)", in: hierarchy, expected: expected)
        }
    }

    private static var throttleFiles: [(String, WritableKeyPath<IOLimits, Int64?>)] {
        [
            ("blkio.throttle.read_bps_device", \.readBytes), ("blkio.throttle.write_bps_device", \.writeBytes),
            ("blkio.throttle.read_iops_device", \.readOperations), ("blkio.throttle.write_iops_device", \.writeOperations),
        ]
    }

    /// `254:0 rbps=1048576 wbps=max riops=max wiops=max`, a line for each device.
    static func parseIOMax(_ text: String) -> [String: IOLimits] {
        var all: [String: IOLimits] = [:]
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard let device = words.first else { continue }
            var limits = IOLimits()
            for word in words.dropFirst() {
                let pair = word.split(separator: "=")
                guard pair.count == 2, let value = Int64(pair[1]) else { continue }
                switch pair[0] {
                case "rbps": limits.readBytes = value
                case "wbps": limits.writeBytes = value
                case "riops": limits.readOperations = value
                case "wiops": limits.writeOperations = value
                default: break
                }
            }
            if !limits.isEmpty { all[String(device)] = limits }
        }
        return all
    }

    private func text(of file: String, in hierarchy: ControlGroupTree.Hierarchy) throws(KernelError) -> String {
        let start = try read(file, in: hierarchy) { $0.rest() }
        // As much as one reading takes: there may be more.
        return start.utf8.count < 512 ? start : try KernelFile.read("\(path)/\(file)", at: hierarchy.directory)
    }
}
