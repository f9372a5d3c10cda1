/// What convergence may do to a container, and what happens when its manifest goes.
public struct Lifecycle: Equatable, Sendable {
    /// What the removal of the manifest does. It always stops the container first, but for `ignore`.
    public enum Deletion: String, Sendable, CaseIterable {
        /// The data is kept where it is.
        case retain
        /// The data goes to a trash area, kept 7 days.
        case trash
        /// The container goes on running.
        case ignore
    }

    public var deletion = Deletion.retain
    /// The strongest disturbance that convergence may cause by itself.
    public var disruption = Disruption.live
    /// JSON pointers below `spec` which another actor owns.
    public var ignoreDrift: [String] = []
    /// Nothing of the container is converged.
    public var hold = false

    public init() {}
}
