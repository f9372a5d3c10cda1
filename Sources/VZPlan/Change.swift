public import VZModel

/// One step of convergence: what is shown in a plan and, the very same value, what is executed.
///
/// Every change is idempotent: making it twice does what making it once does.
public struct Change: Equatable, Sendable, Codable {
    public enum Action: Equatable, Sendable, Codable {
        /// Unpack the template into the container's root, which does not exist yet.
        case makeRoot(template: String)
        /// Start process 1 in new namespaces, under the limits that were set before.
        case start
        /// Stop all processes and take the control group away; the root is kept.
        case stop
        /// Move the container's root to the trash, from where it can be had back for some days.
        case discardRoot
        /// Write one setting.
        case set(Setting)
        /// The field takes effect at the next start: at the one that follows in the same plan, or, when held, at some later one.
        case wait
    }

    public var action: Action
    /// The field as the user writes it; empty for start and stop.
    public var field: String
    /// Before and after in the user's terms; `nil` before: there was nothing.
    public var before: String?
    public var after: String
    /// The kernel's setting and its values, where there is one.
    public var kernel: KernelChange?
    public var disruption: Disruption
    public var reason: Reason
    /// Why it is not made now, and what to do; `nil` when it is made.
    public var held: String?

    public init(
        action: Action, field: String = "", before: String? = nil, after: String, kernel: KernelChange? = nil,
        disruption: Disruption = .live, reason: Reason = .wanted, held: String? = nil
    ) {
        self.action = action
        self.field = field
        self.before = before
        self.after = after
        self.kernel = kernel
        self.disruption = disruption
        self.reason = reason
        self.held = held
    }

    public struct KernelChange: Equatable, Sendable, Codable {
        public var name: String
        public var before: Setting.Value?
        public var after: Setting.Value

        public init(name: String, before: Setting.Value?, after: Setting.Value) {
            self.name = name
            self.before = before
            self.after = after
        }
    }
}

/// Why a change is there.
public enum Reason: String, Sendable, Codable {
    /// The manifest says something new.
    case wanted
    /// Somebody else changed it outside; it is put back.
    case drift
    /// An administrator's override of the manifest.
    case override
    /// The manifest was removed.
    case removed
    /// The node is shut down.
    case shutdown
}

extension Change {
    /// The change in one line, for logs.
    public var summary: String {
        let why = reason == .wanted ? "" : ", \(reason.rawValue)"
        switch action {
        case .makeRoot(let template): return "root made from template \(template)"
        case .start: return "started \(after)\(why)"
        case .stop: return (before == "ended" ? "cleared away what had ended" : "stopped") + why
        case .discardRoot: return "root moved to the trash\(why)"
        case .set, .wait:
            let values = before.map { "\($0) → \(after)" } ?? after
            let detail = kernel.map { " (\($0.name) \($0.before.map { "\($0) → " } ?? "")\($0.after)\(why))" } ?? why
            return "\(field) \(values)\(detail)"
        }
    }
}
