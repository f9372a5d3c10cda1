public import VZModel

/// The rules over several values of one container: all of OpenVZ's vzcfgvalidate, with the edges measured on it (`openvz.md` 1.6).
///
/// Which rules hold depends on the mode (`openvz.md` 3.1): with `ram` only those of VSwap, else those of the beancounters. A value
/// that a rule needs and the manifest leaves out satisfies it: such a beancounter is not limited. Sums and products saturate: what
/// would be more than unlimited is unlimited, where the original wraps around and lets it pass.
public enum ConsistencyRules {
    /// Every rule, those of the host and of OpenVZ's files included.
    public static let all: [ConsistencyRule] = vswapRules + beancounterRules + diskRules + openVZRules + hostRules

    /// What a manifest breaks, in the order of `all`. The same on every machine.
    public static func check(_ spec: ContainerSpec) -> [Finding] { check(RuleOperands(spec), manifestRules) }

    private static let manifestRules = all.filter { $0.scope == .manifest }

    /// The rule with this id; `nil` when there is none.
    public static func rule(_ id: String) -> ConsistencyRule? { all.first { $0.id == id } }

    /// The documentation of a rule in a few lines; `nil` when there is no such rule.
    public static func explanation(of id: String) -> String? {
        guard let rule = rule(id) else { return nil }
        let asked =
            switch rule.scope {
            case .manifest: "for every manifest"
            case .openVZ: "for an OpenVZ configuration that is imported"
            case .host: "for a host, by vzctl plan and vzctl capacity"
            }
        return """
            \(rule.id)
              severity  \(rule.severity.rawValue)
              asked     \(asked)
              source    \(rule.source)

              \(rule.summary)
              \(rule.explanation)
            """
    }

    /// The id that somebody most likely meant by one that does not exist; `nil` when none is near.
    public static func suggestion(for id: String) -> String? { NearestName.of(id, among: all.map(\.id)) }

    static func check(_ operands: RuleOperands, _ scopes: Set<ConsistencyRule.Scope>) -> [Finding] {
        check(operands, all.filter { scopes.contains($0.scope) })
    }

    private static func check(_ operands: RuleOperands, _ rules: [ConsistencyRule]) -> [Finding] {
        rules.flatMap { rule in
            rule.violations(operands).map {
                Finding(rule: rule.id, severity: rule.severity, field: $0.field, message: $0.message)
            }
        }
    }
}
