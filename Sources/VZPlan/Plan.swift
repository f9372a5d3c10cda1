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
        /// Whether what runs would be stopped and started again.
        public var isRestart: Bool {
            let made = changes.filter { $0.held == nil }
            return made.contains { $0.action == .start } && made.contains { $0.action == .stop && $0.before == "running" }
        }
        var isWorthShowing: Bool { !changes.isEmpty || !unsupported.isEmpty || problem != nil }
    }

    /// Sorted by CTID.
    public var containers: [Container]

    public init(containers: [Container]) { self.containers = containers.sorted { $0.ctid < $1.ctid } }

    /// Whether nothing would be done.
    public var isEmpty: Bool { containers.allSatisfy(\.isSettled) }

    /// The plan as people read it (see `vzctl plan`), one container after the other, and a line that sums it up.
    /// - Parameters:
    ///   - verb: what the summary begins with.
    ///   - generation: of the manifests, when there is something to tell.
    ///   - notes: on the node as a whole.
    public func text(verb: String = "Plan", generation: String? = nil, notes: [String] = []) -> String {
        var lines: [String] = []
        for container in containers where container.isWorthShowing {
            let title = "CT \(container.ctid) \(container.name)"
            lines.append(title.padded(to: 32) + container.source)
            if let problem = container.problem { lines.append("  ! \(problem)") }
            lines += container.changes.map(Self.line)
            lines += container.unsupported.map { "  ! \($0.field.padded(to: 22)) \($0.value): unsupported here: \($0.reason)" }
        }
        lines += notes.map { "Note: \($0)" }
        let isWorthNaming = containers.contains { !$0.changes.isEmpty }
        lines.append(verb + ": " + summary + (isWorthNaming ? generation.map { ". Generation \($0)" } ?? "" : ""))
        return lines.joined(separator: "\n")
    }

    private static func line(_ change: Change) -> String {
        let held = change.held.map { "  held: \($0)" } ?? ""
        switch change.action {
        case .stop: return "  - stop" + (change.reason == .removed ? ", keep the data" : "") + held
        case .discardRoot: return "  - root".padded(to: 27) + "to the trash" + held
        case .start: return "  + start".padded(to: 27) + change.after + held
        case .makeRoot(let template): return "  + root".padded(to: 27) + "from template \(template)" + held
        case .set, .wait:
            let mark = change.before == nil ? "+" : "~"
            let drift = change.reason == .drift ? "drifted " : ""
            let values = change.before.map { "\(drift)\($0) → \(change.after)" } ?? change.after
            var line = "  \(mark) \(change.field.padded(to: 22)) \(values)".padded(to: 52)
            line += change.disruption.rawValue.padded(to: 10)
            if let kernel = change.kernel {
                line += kernel.before.map { "\(kernel.name) \($0) → \(kernel.after)" } ?? "\(kernel.name) \(kernel.after)"
            }
            return change.kernel == nil ? line + held.drop { $0 == " " } : line + held
        }
    }

    private var summary: String {
        let counts = counts
        func part(_ count: Int, _ one: String, _ many: String) -> String? {
            count == 0 ? nil : "\(count) \(count == 1 ? one : many)"
        }
        let parts = [
            part(counts.starts, "start", "starts"), part(counts.restarts, "restart", "restarts"),
            part(counts.live, "change live", "changes live"), part(counts.stops, "stop", "stops"),
            part(counts.trashed, "root to the trash", "roots to the trash"), part(counts.held, "held", "held"),
        ]
        let all = parts.compactMap { $0 }.joined(separator: ", ")
        return all.isEmpty ? "nothing to do" : all
    }

    /// What a plan comes to in numbers: containers, but for single changes that are made live or held.
    public struct Counts: Equatable, Sendable, Codable {
        public var starts = 0
        public var restarts = 0
        public var stops = 0
        /// Roots that are moved to the trash.
        public var trashed = 0
        public var live = 0
        public var held = 0
    }

    public var counts: Counts {
        var counts = Counts()
        for container in containers {
            let made = container.changes.filter { $0.held == nil }
            counts.held += container.changes.count - made.count
            counts.trashed += made.count { $0.action == .discardRoot }
            switch (made.contains { $0.action == .start }, container.isRestart) {
            case (true, true): counts.restarts += 1
            case (true, false): counts.starts += 1
            case (false, _):
                if made.contains(where: { $0.action == .stop }) { counts.stops += 1 }
                counts.live += made.count { if case .set = $0.action { true } else { false } }
            }
        }
        return counts
    }
}

extension String {
    /// Filled up with blanks; a longer text gets one blank so that columns never run together.
    func padded(to width: Int) -> String {
        count < width ? self + String(repeating: " ", count: width - count) : self + " "
    }
}
