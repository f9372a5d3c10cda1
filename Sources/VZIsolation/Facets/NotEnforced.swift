internal import VZKernel
internal import VZModel
internal import VZPlan

/// What a manifest may ask for and no other facet answers for: it is told, never passed over.
///
/// Whoever writes a facet for one of these fields takes it out here.
struct NotEnforced: Facet {
    let fields: [String] = []

    func wish(for spec: ContainerSpec, on host: HostCapabilities) -> Wish {
        Wish(unsupported: Self.wanted(by: spec).map { Unsupported(field: $0.field, value: $0.value, reason: Self.reason) })
    }

    func observe(_ container: ContainerHandle) throws(KernelError) -> [Setting] { [] }

    func apply(_ settings: [Setting], to container: ContainerHandle) throws(KernelError) {}

    private static let reason = "not enforced by this version of vz"

    typealias Wanted = (field: String, value: String)

    /// The fields that a spec sets to something else than their default, in the manifest's order.
    static func wanted(by spec: ContainerSpec) -> [Wanted] {
        let settings: [(String, String?)] = [
            ("state", spec.state == .suspended ? "suspended" : nil),
            ("nameserver", text(spec.nameserver)),
            ("searchdomain", text(spec.searchdomain)),
            ("vm_overcommit", spec.vmOvercommit.flatMap { $0 == 0 ? nil : "\($0)" }),
            ("layout", spec.layout == .dir ? nil : spec.layout.rawValue),
            ("diskspace", spec.diskspace.map(text)),
            ("diskinodes", spec.diskinodes.map(text)),
            ("quotatime", spec.quotatime == 0 ? nil : "\(spec.quotatime)s"),
            ("quotaugidlimit", spec.quotaugidlimit == 0 ? nil : "\(spec.quotaugidlimit)"),
        ]
        return settings.compactMap { field, value in value.map { (field, $0) } } + beancounters(of: spec) + lists(of: spec)
    }

    /// Those that no facet answers for. What is unlimited asks for nothing.
    private static func beancounters(of spec: ContainerSpec) -> [Wanted] {
        Beancounter.allCases.compactMap { beancounter in
            guard !enforced.contains(beancounter), let bounds = spec.beancounters[beancounter], !isFree(bounds, beancounter) else {
                return nil
            }
            return ("beancounters.\(beancounter.rawValue)", text(bounds))
        }
    }

    private static let enforced: Set<Beancounter> = [.numproc, .vmguarpages, .oomguarpages]

    private static func isFree(_ bounds: BarrierLimit, _ beancounter: Beancounter) -> Bool {
        switch beancounter.shape {
        // No guarantee; no limit.
        case .guarantee: bounds.barrier == 0
        case .limitOnly: bounds.limit == BarrierLimit.unlimited
        case .equal, .ordered: bounds == BarrierLimit(both: BarrierLimit.unlimited)
        }
    }

    private static func lists(of spec: ContainerSpec) -> [Wanted] {
        let settings: [(String, String)] = [
            ("network.venet", spec.network.venet.joined(separator: " ")),
            ("network.veth", spec.network.veth.map(\.name).joined(separator: " ")),
            ("netfilter", spec.netfilter == .stateless ? "" : spec.netfilter.rawValue),
            ("capabilities.add", spec.capabilities.add.joined(separator: " ")),
            ("capabilities.drop", spec.capabilities.drop.joined(separator: " ")),
            ("devices", spec.devices.joined(separator: " ")),
            ("features", spec.features.filter { $0 != LxcfsFacet.feature && $0 != LxcfsFacet.off }.joined(separator: " ")),
            ("mounts", spec.mounts.map(\.target).joined(separator: " ")),
        ]
        return settings.filter { !$0.1.isEmpty }
    }

    private static func text(_ list: ResolverList?) -> String? {
        switch list {
        case .inherit: "inherit"
        case .list(let list): list.joined(separator: " ")
        case nil: nil
        }
    }

    private static func text(_ bounds: BarrierLimit) -> String {
        func number(_ value: Int64) -> String { value == BarrierLimit.unlimited ? "unlimited" : String(value) }
        return bounds.barrier == bounds.limit ? number(bounds.limit) : "\(number(bounds.barrier)):\(number(bounds.limit))"
    }
}
