/// One limit or property that the kernel holds for a container, in the user's terms and in the kernel's.
///
/// What a manifest wants and what the kernel was seen to hold are both lists of settings, so that their difference is the plan.
public struct Setting: Equatable, Sendable, Codable {
    /// The field as the user writes it: `cpuunits`, `beancounters.numproc`.
    public var field: String
    /// The value in the user's terms: `1000`, `64M`, `unlimited`.
    public var value: String
    /// The kernel's own name for it: `cpu.weight`, `memory.max`.
    public var kernelName: String
    /// What the kernel holds; two settings agree when their names and these agree.
    public var kernelValue: Value
    /// When it can be set.
    public var phase: Phase

    public init(field: String, value: String, kernelName: String, kernelValue: Value, phase: Phase = .group) {
        self.field = field
        self.value = value
        self.kernelName = kernelName
        self.kernelValue = kernelValue
        self.phase = phase
    }

    public enum Value: Equatable, Sendable, Codable, CustomStringConvertible {
        case number(Int64)
        case text(String)
        case unlimited

        public var description: String {
            switch self {
            case .number(let n): String(n)
            case .text(let text): text
            case .unlimited: "max"
            }
        }
    }

    public enum Phase: String, Sendable, Codable {
        /// On the control group, before the first process is in it.
        case group
        /// On the running container; the start itself sets it.
        case process
    }
}

/// A wish of the manifest that this host cannot enforce: said in plan and status, never passed over.
public struct Unsupported: Equatable, Sendable, Codable {
    public var field: String
    public var value: String
    /// Why not, and what mends it.
    public var reason: String

    public init(field: String, value: String, reason: String) {
        self.field = field
        self.value = value
        self.reason = reason
    }
}

/// What a facet wants of the kernel for one container on this host.
public struct Wish: Equatable, Sendable {
    public var settings: [Setting]
    public var unsupported: [Unsupported]

    public init(settings: [Setting] = [], unsupported: [Unsupported] = []) {
        self.settings = settings
        self.unsupported = unsupported
    }

    public static func + (a: Self, b: Self) -> Self {
        Self(settings: a.settings + b.settings, unsupported: a.unsupported + b.unsupported)
    }
}
