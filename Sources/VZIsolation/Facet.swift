public import VZKernel
public import VZModel
public import VZPlan

/// One aspect of a container that a manifest declares and the kernel holds.
///
/// A new resource is one new folder below `Facets` and one line in `Facets.all`; nobody else knows it.
public protocol Facet: Sendable {
    /// The fields of the manifest that this facet answers for.
    var fields: [String] { get }

    /// What the manifest asks for, in the kernel's terms on this host. Pure.
    func wish(for spec: ContainerSpec, on host: HostCapabilities) -> Wish

    /// What the kernel holds now: a setting for each one that `wish` could ask for on this host.
    func observe(_ container: ContainerHandle) throws(KernelError) -> [Setting]

    /// Writes settings of this facet. Idempotent; the order of the writes among them is the facet's own affair.
    func apply(_ settings: [Setting], to container: ContainerHandle) throws(KernelError)
}

/// A container in the kernel: its control group, and process 1 when it runs.
public struct ContainerHandle: Sendable {
    public let ctid: ContainerID
    public let group: ControlGroup
    public let process: PidFD?
    public let host: HostCapabilities
    public let paths: NodePaths
    let views: LxcfsViews
    /// What programs in the kernel charge; `nil` where there are none.
    public let table: BeancounterTable?

    public init(
        ctid: ContainerID, group: ControlGroup, process: PidFD?, host: HostCapabilities, paths: NodePaths,
        views: LxcfsViews = LxcfsViews(), table: BeancounterTable? = nil
    ) {
        self.paths = paths
        self.views = views
        self.table = table
        self.ctid = ctid
        self.group = group
        self.process = process
        self.host = host
    }
}

extension ContainerHandle {
    /// Its place in the table of beancounters, while there is one.
    var slot: BeancounterTable.Slot? { table?.slot(of: ctid) }
}

/// All facets, in the order in which their settings are made.
public enum Facets {
    public static let all: [any Facet] = [
        CPUFacet(), AffinityFacet(), IOFacet(), MemoryFacet(), GuaranteeFacet(), BeancounterFacet(), TerminalFacet(),
        SharedMemoryFacet(), HostnameFacet(), LxcfsFacet(), NotEnforced(),
    ]

    /// What a manifest asks for of this host, over all facets.
    public static func wish(for spec: ContainerSpec, on host: HostCapabilities) -> Wish {
        all.reduce(Wish()) { $0 + $1.wish(for: spec, on: host) }
    }
}

extension Setting.Value {
    /// A bound of the kernel's, where nothing is no bound.
    init(bound: Int64?) { self = bound.map(Setting.Value.number) ?? .unlimited }

    var number: Int64? { if case .number(let n) = self { n } else { nil } }
}
