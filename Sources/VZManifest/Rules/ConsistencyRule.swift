/// How much a finding weighs, heaviest first (OpenVZ's error, warning and recommendation; `openvz.md` 1.6).
public enum Severity: String, Sendable, Codable, Comparable, CaseIterable {
    /// The document is refused.
    case error
    /// The container runs, but not as its numbers promise.
    case warning
    /// It could be better.
    case advice

    public static func < (a: Self, b: Self) -> Bool {
        (allCases.firstIndex(of: a) ?? 0) < (allCases.firstIndex(of: b) ?? 0)
    }
}

/// One rule over several values of a container, such as "kmemsize has room for the processes".
public struct ConsistencyRule: Sendable {
    /// Where a rule is asked for.
    public enum Scope: String, Sendable {
        /// For every manifest.
        case manifest
        /// For an OpenVZ configuration only: a manifest says with a default what such a file must spell out.
        case openVZ
        /// For a host: by `vzctl plan` and `vzctl capacity`, never by `vzctl validate`, whose verdict is the same on every machine.
        case host
    }

    /// Stable for ever: `ubc-kmemsize-covers-processes`.
    public let id: String
    public let severity: Severity
    public let scope: Scope
    /// What must hold, in one sentence.
    public let summary: String
    /// Why, and what happens otherwise.
    public let explanation: String
    /// Where the rule comes from.
    public let source: String

    let violations: @Sendable (RuleOperands) -> [Violation]

    /// A value that breaks the rule.
    struct Violation {
        /// Path of the field: `spec.beancounters.kmemsize`.
        var field: String
        /// `expected …, got …`, with the numbers.
        var message: String
    }

    init(
        _ id: String, _ severity: Severity, _ scope: Scope = .manifest, summary: String, explanation: String,
        source: String = "OpenVZ's vzcfgvalidate; openvz.md 1.6",
        violations: @escaping @Sendable (RuleOperands) -> [Violation] = { _ in [] }
    ) {
        self.id = id
        self.severity = severity
        self.scope = scope
        self.summary = summary
        self.explanation = explanation
        self.source = source
        self.violations = violations
    }
}

/// A value that breaks a rule.
public struct Finding: Equatable, Sendable, CustomStringConvertible {
    /// The rule's id.
    public let rule: String
    public let severity: Severity
    /// Path of the field: `spec.beancounters.kmemsize`.
    public let field: String
    /// `expected …, got …`, with the numbers.
    public let message: String

    public init(rule: String, severity: Severity, field: String, message: String) {
        self.rule = rule
        self.severity = severity
        self.field = field
        self.message = message
    }

    public var description: String { "\(severity.rawValue): \(field): \(message) [\(rule)]" }
}
