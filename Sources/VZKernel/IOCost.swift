internal import Glibc

/// What a disk can do, as io.cost's linear model has it (cgroup-v2.rst, io.cost.model): bytes a second, and operations of 4 KiB a
/// second one after the other and anywhere.
public struct IOCostModel: Hashable, Sendable, CustomStringConvertible {
    public var rbps, rseqiops, rrandiops, wbps, wseqiops, wrandiops: Int64

    public init(rbps: Int64, rseqiops: Int64, rrandiops: Int64, wbps: Int64, wseqiops: Int64, wrandiops: Int64) {
        (self.rbps, self.rseqiops, self.rrandiops) = (rbps, rseqiops, rrandiops)
        (self.wbps, self.wseqiops, self.wrandiops) = (wbps, wseqiops, wrandiops)
    }

    /// From the six `NAME=NUMBER` in any order, each once and positive; `nil` otherwise.
    public init?(text: some StringProtocol) {
        var values: [String: Int64] = [:]
        for word in text.split(whereSeparator: { $0 == " " || $0 == "\t" }) {
            let pair = word.split(separator: "=", omittingEmptySubsequences: false)
            guard pair.count == 2, let value = Int64(pair[1]), value > 0, values[String(pair[0])] == nil else { return nil }
            values[String(pair[0])] = value
        }
        guard values.count == 6, let rbps = values["rbps"], let rseqiops = values["rseqiops"],
            let rrandiops = values["rrandiops"], let wbps = values["wbps"], let wseqiops = values["wseqiops"],
            let wrandiops = values["wrandiops"]
        else { return nil }
        self.init(rbps: rbps, rseqiops: rseqiops, rrandiops: rrandiops, wbps: wbps, wseqiops: wseqiops, wrandiops: wrandiops)
    }

    /// A part of it, 1 or more of each.
    public func scaled(by part: Double) -> IOCostModel {
        func scaled(_ number: Int64) -> Int64 { max(Int64(Double(number) * part), 1) }
        return IOCostModel(
            rbps: scaled(rbps), rseqiops: scaled(rseqiops), rrandiops: scaled(rrandiops), wbps: scaled(wbps),
            wseqiops: scaled(wseqiops), wrandiops: scaled(wrandiops))
    }

    public var description: String {
        "rbps=\(rbps) rseqiops=\(rseqiops) rrandiops=\(rrandiops) wbps=\(wbps) wseqiops=\(wseqiops) wrandiops=\(wrandiops)"
    }
}

extension ControlGroupTree {
    /// Whether the kernel can share disks by io.cost: cgroup v2 alone has it.
    public var hasIOCost: Bool {
        guard let hierarchy = hierarchy(of: .io), hierarchy.version == .v2 else { return false }
        return faccessat(hierarchy.directory.raw, Self.qos, F_OK, 0) == 0
    }

    /// The numbers of the devices that io.cost shares, by whoever's order.
    public func ioCostDevices() throws(KernelError) -> Set<String> {
        guard hasIOCost, let hierarchy = hierarchy(of: .io) else { return [] }
        let lines = try KernelFile.read(Self.qos, at: hierarchy.directory).split(separator: "\n")
        return Set(
            lines.compactMap { line in
                let words = line.split(separator: " ")
                return words.contains("enable=1") ? words.first.map(String.init) : nil
            })
    }

    /// Has io.cost share a disk by the groups' weights, at exactly the speed of the model: neither faster, where queues in the disk
    /// would undo the shares, nor slower.
    /// - Throws: `KernelError`; a device without a request queue is refused by the kernel.
    public func enableIOCost(on device: BlockDevice, model: IOCostModel) throws(KernelError) {
        guard hasIOCost, let hierarchy = hierarchy(of: .io) else {
            throw KernelError("share \(device.name) by io.cost", errno: EOPNOTSUPP, detail: "the kernel has no \(Self.qos)")
        }
        try KernelFile.write("\(device.number) ctrl=user model=linear \(model)", to: "io.cost.model", at: hierarchy.directory)
        try KernelFile.write(
            "\(device.number) enable=1 ctrl=user rpct=0 wpct=0 min=100 max=100", to: Self.qos, at: hierarchy.directory)
    }

    /// Takes that away.
    public func disableIOCost(on device: BlockDevice) throws(KernelError) {
        guard hasIOCost, let hierarchy = hierarchy(of: .io) else { return }
        try KernelFile.write("\(device.number) enable=0", to: Self.qos, at: hierarchy.directory)
    }

    private static let qos = "io.cost.qos"
}

/// The scheduler BFQ of one device (block/bfq-iosched.rst).
public enum BFQ {
    /// Whether it keeps to the weights, also where that costs throughput (`strict_guarantees`), and puts nobody before them whom it takes
    /// for interactive (`low_latency`); `nil` when the device's scheduler is another one.
    public static func keepsToWeights(on device: BlockDevice) -> Bool? {
        guard let strict = try? KernelFile.read(file("strict_guarantees", device)),
            let lowLatency = try? KernelFile.read(file("low_latency", device))
        else { return nil }
        return strict == "1" && lowLatency == "0"
    }

    public static func keepToWeights(on device: BlockDevice) throws(KernelError) {
        try KernelFile.write("1", to: file("strict_guarantees", device))
        try KernelFile.write("0", to: file("low_latency", device))
    }

    private static func file(_ name: String, _ device: BlockDevice) -> String {
        "/sys/dev/block/\(device.number)/queue/iosched/\(name)"
    }
}
