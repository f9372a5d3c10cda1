public import VZKernel

/// Whether the host is short of memory, with hysteresis: once it is, it must be well off again.
///
/// MemAvailable comes first. Programs that wait for memory are a sign only where little is left: those of a container that is over its
/// `ram` wait as well, however much the host has.
public struct HostShortage: Equatable, Sendable {
    public private(set) var isShort = false

    public init() {}

    /// Takes a look. - Returns: whether it has changed.
    public mutating func take(_ memory: HostMemory) -> Bool {
        let free = memory.total > 0 ? Double(memory.available) / Double(memory.total) : 1
        let stalled = memory.stalled ?? 0
        let before = isShort
        isShort = isShort ? free < 0.1 || (free < 0.2 && stalled > 2) : free < 0.05 || (free < 0.1 && stalled > 10)
        return isShort != before
    }
}
