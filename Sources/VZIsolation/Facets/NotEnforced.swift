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
            ("layout", spec.layout == .dir ? nil : spec.layout.rawValue),
            ("diskspace", spec.diskspace?.text),
            ("diskinodes", spec.diskinodes?.text),
            ("quotatime", spec.quotatime == 0 ? nil : "\(spec.quotatime)s"),
            ("quotaugidlimit", spec.quotaugidlimit == 0 ? nil : "\(spec.quotaugidlimit)"),
        ]
        return settings.compactMap { field, value in value.map { (field, $0) } } + lists(of: spec)
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
}
