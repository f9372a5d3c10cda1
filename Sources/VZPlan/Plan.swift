public import VZModel

/// Everything that one round of convergence would do, container by container.
public struct Plan: Equatable, Sendable, Codable {
    public struct Container: Equatable, Sendable, Codable {
        public var ctid: ContainerID
        public var name: String
        /// `file:line`, or why there is no manifest.
        public var source: String
        public var changes: [Change]
        public var unsupported: [Unsupported]
        /// Why nothing can be planned for this container.
        public var problem: String?

        public init(
            ctid: ContainerID, name: String, source: String, changes: [Change], unsupported: [Unsupported] = [],
            problem: String? = nil
        ) {
            self.ctid = ctid
            self.name = name
            self.source = source
            self.changes = changes
            self.unsupported = unsupported
            self.problem = problem
        }

        /// Nothing to make; what is held or unsupported does not count.
        public var isSettled: Bool { changes.allSatisfy { $0.held != nil } }
        var isWorthShowing: Bool { !changes.isEmpty || !unsupported.isEmpty || problem != nil }
    }

    /// Sorted by CTID.
    public var containers: [Container]

    public init(containers: [Container]) { self.containers = containers.sorted { $0.ctid < $1.ctid } }

    /// Whether nothing would be done.
    public var isEmpty: Bool { containers.allSatisfy(\.isSettled) }

    /// The plan as people read it (see `vzctl plan`), one container after the other, and a line that sums it up.
    /// - Parameter verb: what the summary begins with.
    public func text(verb: String = "Plan") -> String {
        var lines: [String] = []
        for container in containers where container.isWorthShowing {
            let title = "CT \(container.ctid) \(container.name)"
            lines.append(title.padded(to: 32) + container.source)
            if let problem = container.problem { lines.append("  ! \(problem)") }
            lines += container.changes.map(Self.line)
            lines += container.unsupported.map { "  ! \($0.field.padded(to: 22)) \($0.value): unsupported here: \($0.reason)" }
        }
        lines.append(verb + ": " + summary)
        return lines.joined(separator: "\n")
    }

    private static func line(_ change: Change) -> String {
        switch change.action {
        case .stop: return "  - stop" + (change.reason == .removed ? ", keep the data" : "")
        case .start: return "  + start".padded(to: 27) + change.after
        case .makeRoot(let template): return "  + root".padded(to: 27) + "from template \(template)"
        case .set, .wait:
            let mark = change.before == nil ? "+" : "~"
            let drift = change.reason == .drift ? "drifted " : ""
            let values = change.before.map { "\(drift)\($0) → \(change.after)" } ?? change.after
            var line = "  \(mark) \(change.field.padded(to: 22)) \(values)".padded(to: 52)
            line += change.disruption.rawValue.padded(to: 10)
            if let kernel = change.kernel {
                line += kernel.before.map { "\(kernel.name) \($0) → \(kernel.after)" } ?? "\(kernel.name) \(kernel.after)"
            }
            if let held = change.held { line += "held: \(held)" }
            return line
        }
    }

    private var summary: String {
        let changes = containers.flatMap(\.changes)
        let held = changes.count { $0.held != nil }
        let starts = changes.count { $0.action == .start }
        let stops = containers.count { $0.changes.contains { $0.action == .stop } && !$0.changes.contains { $0.action == .start } }
        let live = containers.filter { !$0.changes.contains { $0.action == .start } }.flatMap(\.changes).count { change in
            if case .set = change.action { change.held == nil } else { false }
        }
        var parts: [String] = []
        if starts > 0 { parts.append("\(starts) start\(starts == 1 ? "" : "s")") }
        if live > 0 { parts.append("\(live) change\(live == 1 ? "" : "s") live") }
        if stops > 0 { parts.append("\(stops) stop\(stops == 1 ? "" : "s")") }
        if held > 0 { parts.append("\(held) held") }
        return (parts.isEmpty ? "nothing to do" : parts.joined(separator: ", "))
    }
}

extension String {
    /// Filled up with blanks; a longer text gets one blank so that columns never run together.
    func padded(to width: Int) -> String {
        count < width ? self + String(repeating: " ", count: width - count) : self + " "
    }
}
