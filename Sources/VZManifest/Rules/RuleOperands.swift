internal import VZModel

/// The values that the rules compare: a manifest's, or those of an OpenVZ configuration.
struct RuleOperands {
    /// Which of OpenVZ's two ways of limiting memory a container uses (`openvz.md` 3.1).
    enum Mode {
        case vswap, beancounters
    }

    var bounds: [Beancounter: BarrierLimit]
    /// How many processes it is expected to have on average (AVNUMPROC), which a manifest does not say.
    var avnumproc: Int64?
    var diskspace: BarrierLimit?
    var diskinodes: BarrierLimit?
    /// Whether the quota is asked for, so that its bounds must fit.
    var hasDiskQuota = true
    /// How the fields of `bounds` are called in the mode at hand, where that is not `spec.beancounters.NAME`.
    var names: [Beancounter: String] = [:]

    /// What a manifest says. A beancounter that it leaves out is not among `bounds`.
    init(_ spec: ContainerSpec) {
        bounds = spec.beancounters
        if let ram = spec.ram {
            bounds[.physpages] = BarrierLimit(barrier: 0, limit: Self.pages(ram))
            bounds[.swappages] = BarrierLimit(barrier: 0, limit: Self.pages(spec.swap ?? 0))
            names = [.physpages: "spec.ram", .swappages: "spec.swap"]
        }
        diskspace = spec.diskspace
        diskinodes = spec.diskinodes
    }

    init(bounds: [Beancounter: BarrierLimit]) { self.bounds = bounds }

    /// VSwap exactly when physpages has a limit that is neither LONG_MAX nor a 32-bit kernel's (`openvz.md` 3.1).
    var mode: Mode { Self.isVSwap(physpages: bounds[.physpages]) ? .vswap : .beancounters }

    static func isVSwap(physpages: BarrierLimit?) -> Bool {
        guard let limit = physpages?.limit else { return false }
        return limit != BarrierLimit.unlimited && limit != unlimited32
    }

    /// LONG_MAX of a 32-bit kernel, which OpenVZ's tools still write and read as "unlimited" of physpages.
    static let unlimited32: Int64 = 2_147_483_647

    /// Bytes as pages, rounded up.
    static func pages(_ bytes: Int64) -> Int64 { bytes / Size.page + (bytes % Size.page > 0 ? 1 : 0) }

    /// The processes that kernel memory and files are reckoned for; `nil` when nothing tells them.
    var processes: Int64? { avnumproc ?? bounds[.numproc].map { $0.barrier / 2 } }

    func barrier(_ beancounter: Beancounter) -> Int64? { bounds[beancounter]?.barrier }
    func limit(_ beancounter: Beancounter) -> Int64? { bounds[beancounter]?.limit }
    func field(_ beancounter: Beancounter) -> String { names[beancounter] ?? "spec.beancounters.\(beancounter.rawValue)" }

    /// How a bound is written in a message.
    static func text(_ value: Int64) -> String { value == BarrierLimit.unlimited ? "unlimited" : String(value) }
    static func text(_ bounds: BarrierLimit) -> String { "\(text(bounds.barrier)):\(text(bounds.limit))" }
}

extension Int64 {
    /// The sum of two numbers from 0, `Int64.max` at most: more than unlimited is unlimited.
    func plus(_ other: Int64) -> Int64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }

    /// The product of two numbers from 0, `Int64.max` at most.
    func times(_ other: Int64) -> Int64 {
        let (product, overflow) = multipliedReportingOverflow(by: other)
        return overflow ? .max : product
    }
}
