/// The network interfaces that a container is given (`openvz.md` section 6.7).
public struct NetworkSpec: Equatable, Sendable {
    /// Addresses of the routed interface venet0, each `ADDRESS` or `ADDRESS/PREFIX`, IPv4 or IPv6, in canonical form.
    public var venet: [String] = []
    /// Ethernet interfaces.
    public var veth: [EthernetInterface] = []

    public init(venet: [String] = [], veth: [EthernetInterface] = []) {
        self.venet = venet
        self.veth = veth
    }
}

/// One end of an Ethernet pair, inside a container.
public struct EthernetInterface: Equatable, Sendable {
    /// Inside; at most 15 bytes.
    public var name: String
    /// The bridge on the host that the other end is joined to.
    public var bridge: String?
    /// `02:00:00:00:01:01`, in lower case; `nil` derives one from the CTID and the name.
    public var mac: String?
    /// The other end's name and address; `nil` derives them.
    public var hostName: String?
    public var hostMAC: String?
    /// Frames with another source address than `mac` are dropped.
    public var macFilter = true
    /// `ADDRESS/PREFIX`; empty leaves the addresses to the container.
    public var address: [String] = []

    public init(name: String) { self.name = name }
}

/// What of the packet filter a container may use (OpenVZ's NETFILTER).
public enum NetfilterMode: String, Sendable, CaseIterable {
    case disabled, stateless, stateful, full
}

/// Name servers and search domains: given, or the host's.
public enum ResolverList: Equatable, Sendable {
    case inherit
    case list([String])
}
