public import VZModel

/// One thing about a container that is not as it shall be.
public struct Difference: Equatable, Sendable, Codable {
    /// As the manifest spells it; `root` for the files that the container starts from.
    public var field: String
    /// In the user's terms; `nil`: there is nothing.
    public var observed: String?
    public var desired: String
    /// The kernel's setting and what it holds and shall hold, where there is one.
    public var kernel: Change.KernelChange?
}

extension Difference {
    /// What was seen against what shall be, whatever would be done about it, and when.
    ///
    /// What another actor owns (`lifecycle.ignore_drift`) is no difference, and of a container that does not run, but shall, neither
    /// are its limits: nothing holds them.
    /// - Parameter lastSet: what we ourselves last wrote, by the kernel's name.
    public static func between(
        _ observed: ObservedContainer, _ desired: DesiredContainer, lastSet: () -> [String: Setting.Value] = { [:] }
    ) -> [Difference] {
        if desired.removal == .ignore { return [] }
        var list: [Difference] = []
        let state = observed.isRunning ? "running" : observed.isPresent ? "ended" : "stopped"
        let wanted = desired.state == .running ? "running" : "stopped"
        if state != wanted { list.append(Difference(field: "state", observed: state, desired: wanted)) }
        if desired.removal == .trash, observed.rootExists {
            list.append(Difference(field: "root", observed: "there", desired: "in the trash"))
        }
        guard wanted == "running" else { return list }
        if !observed.rootExists, let template = desired.template {
            list.append(Difference(field: "root", observed: nil, desired: "from template \(template)"))
        }
        if let made = observed.rootTemplate, let template = desired.template, made != template {
            list.append(Difference(field: "template", observed: made, desired: template))
        }
        guard observed.isRunning else { return list }
        if let started = observed.startedWith {
            for (field, now, shall) in [
                ("init", started.`init`.joined(separator: " "), desired.start.`init`.joined(separator: " ")),
                ("env", Planner.text(started.env), Planner.text(desired.start.env)),
            ] where now != shall { list.append(Difference(field: field, observed: now, desired: shall)) }
        }
        let settings = Planner.settle(observed, desired, lastSet)
        return list + settings.map { Difference(field: $0.field, observed: $0.before, desired: $0.after, kernel: $0.kernel) }
    }

    /// As diff(1) would show it: a line for what is, if there is something, and one for what shall be.
    public var lines: [String] {
        func line(_ mark: String, _ value: String, _ held: Setting.Value?) -> String {
            let detail = kernel.flatMap { kernel in held.map { "   # \(kernel.name) \($0)" } } ?? ""
            return "\(mark)\(field): \(value)\(detail)"
        }
        return (observed.map { [line("-", $0, kernel?.before)] } ?? []) + [line("+", desired, kernel?.after)]
    }

    /// All that differs of one container, with a head of two lines; empty when nothing does.
    public static func text(_ differences: [Difference], of ctid: ContainerID, _ name: String, source: String) -> String {
        guard !differences.isEmpty else { return "" }
        let lines = ["--- CT \(ctid) \(name)", "+++ \(source)"] + differences.flatMap(\.lines)
        return lines.joined(separator: "\n") + "\n"
    }
}
