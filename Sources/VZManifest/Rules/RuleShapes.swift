internal import VZModel

/// The few forms that the rules have.
extension ConsistencyRule {
    typealias Violations = @Sendable (RuleOperands) -> [Violation]

    /// Each of `beancounters` that is given must hold.
    static func each(
        _ beancounters: [Beancounter], in mode: RuleOperands.Mode, expected: String,
        holds: @escaping @Sendable (BarrierLimit) -> Bool
    ) -> Violations {
        { operands in
            guard operands.mode == mode else { return [] }
            return beancounters.compactMap { beancounter in
                guard let bounds = operands.bounds[beancounter], !holds(bounds) else { return nil }
                return Violation(
                    field: operands.field(beancounter), message: "expected \(expected), got \(RuleOperands.text(bounds))")
            }
        }
    }

    /// One bound of each of `beancounters` must not be below what `least` says, in beancounter mode.
    static func atLeast(
        _ beancounters: [Beancounter], _ bound: any KeyPath<BarrierLimit, Int64> & Sendable, _ name: String,
        _ least: @escaping @Sendable (RuleOperands) -> (value: Int64, why: String)?
    ) -> Violations {
        { operands in
            guard operands.mode == .beancounters, let (value, why) = least(operands) else { return [] }
            return beancounters.compactMap { beancounter in
                guard let given = operands.bounds[beancounter]?[keyPath: bound], given < value else { return nil }
                return Violation(
                    field: operands.field(beancounter),
                    message: "expected a \(name) of at least \(RuleOperands.text(value)) (\(why)), got \(RuleOperands.text(given))")
            }
        }
    }

    /// The way from the barrier to the limit must have room for 2560 bytes of each socket that `sockets` allows. An unlimited
    /// limit has. A limit below the barrier is another rule's to tell.
    static func gap(of buffer: Beancounter, for sockets: Beancounter) -> Violations {
        { operands in
            guard operands.mode == .beancounters, let bounds = operands.bounds[buffer], let count = operands.barrier(sockets),
                bounds.limit != BarrierLimit.unlimited, bounds.barrier <= bounds.limit
            else { return [] }
            let needed = count.times(2560)
            // Bounds are never negative, so that the difference cannot overflow.
            let gap = bounds.limit - bounds.barrier
            guard gap < needed else { return [] }
            return [
                Violation(
                    field: operands.field(buffer),
                    message: "expected the limit to be at least \(RuleOperands.text(needed)) above the barrier (2560 for each of "
                        + "\(RuleOperands.text(count)) \(sockets.rawValue)), got \(gap) (\(RuleOperands.text(bounds)))")
            ]
        }
    }

    /// A disk quota's soft limit must not be above the hard one.
    static func quota(_ operands: RuleOperands) -> [Violation] {
        guard operands.hasDiskQuota else { return [] }
        return [("spec.diskspace", operands.diskspace), ("spec.diskinodes", operands.diskinodes)].compactMap { field, bounds in
            guard let bounds, bounds.barrier > bounds.limit else { return nil }
            return Violation(
                field: field, message: "expected a soft limit of at most the hard one, got \(RuleOperands.text(bounds))")
        }
    }

    /// The parameters that OpenVZ refuses to start a container without.
    static func missing(_ mode: RuleOperands.Mode, _ needed: [Beancounter]) -> Violations {
        { operands in
            guard operands.mode == mode else { return [] }
            return needed.filter { operands.bounds[$0] == nil }.map { beancounter in
                Violation(
                    field: operands.field(beancounter),
                    message: "expected \(beancounter.rawValue.uppercased()) to be given, got none")
            }
        }
    }
}
