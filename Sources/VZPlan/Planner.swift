public import VZModel

/// What one container shall be on this host.
public struct DesiredContainer: Equatable, Sendable {
    public var ctid: ContainerID
    public var name: String
    /// Where the manifest stands, `file:line`; empty when there is none any more.
    public var source: String
    public var state: RunState
    /// Why the state is what it is.
    public var stateReason: Reason
    public var template: String?
    public var start: StartParameters
    public var wish: Wish

    public init(
        ctid: ContainerID, name: String, source: String, state: RunState, stateReason: Reason = .wanted, template: String? = nil,
        start: StartParameters, wish: Wish
    ) {
        self.ctid = ctid
        self.name = name
        self.source = source
        self.state = state
        self.stateReason = stateReason
        self.template = template
        self.start = start
        self.wish = wish
    }
}

/// What only a start can bring into effect.
public struct StartParameters: Equatable, Sendable, Codable {
    public var `init`: [String]
    public var env: [String: String]

    public init(init argv: [String], env: [String: String]) {
        self.`init` = argv
        self.env = env
    }
}

/// What the kernel was seen to hold for one container.
public struct ObservedContainer: Equatable, Sendable {
    public var isRunning: Bool
    /// Whether anything of it is in the kernel: a control group, with or without processes.
    public var isPresent: Bool
    public var settings: [Setting]
    /// What the running process 1 was started with; `nil` when not running or not known.
    public var startedWith: StartParameters?
    public var rootExists: Bool
    /// The template that the root was made from, when it is known.
    public var rootTemplate: String?

    public init(
        isRunning: Bool = false, isPresent: Bool = false, settings: [Setting] = [], startedWith: StartParameters? = nil,
        rootExists: Bool = false, rootTemplate: String? = nil
    ) {
        self.isRunning = isRunning
        self.isPresent = isPresent
        self.settings = settings
        self.startedWith = startedWith
        self.rootExists = rootExists
        self.rootTemplate = rootTemplate
    }
}

/// The pure function from (desired, observed) to the ordered list of changes.
public enum Planner {
    /// The changes that lead from `observed` to `desired`, in the order in which they are to be made; empty when they agree.
    ///
    /// - Parameter lastSet: what we ourselves last wrote, by the kernel's name. It never decides *whether* something changes, only
    ///   whether the change is called drift.
    public static func changes(
        from observed: ObservedContainer, to desired: DesiredContainer, lastSet: () -> [String: Setting.Value] = { [:] }
    ) -> [Change] {
        switch (desired.state, observed.isRunning) {
        // Suspending comes with checkpointing; until then a container that shall be suspended is stopped, and the wish says so.
        case (.stopped, _), (.suspended, _):
            guard observed.isPresent else { return [] }
            return [Change(action: .stop, before: "running", after: "stopped", disruption: .restart, reason: desired.stateReason)]
        case (.running, false): return start(observed, desired)
        case (.running, true): return settle(observed, desired, lastSet) + waiting(observed, desired)
        }
    }

    private static func start(_ observed: ObservedContainer, _ desired: DesiredContainer) -> [Change] {
        var changes: [Change] = []
        // Left-overs of a container that ended, or of a start that was killed half-way.
        if observed.isPresent {
            changes.append(Change(action: .stop, before: "ended", after: "cleared away", disruption: .restart))
        }
        if !observed.rootExists, let template = desired.template {
            changes.append(Change(action: .makeRoot(template: template), field: "template", after: template))
        }
        for setting in desired.wish.settings where setting.phase == .group {
            changes.append(
                Change(
                    action: .set(setting), field: setting.field, after: setting.value,
                    kernel: .init(name: setting.kernelName, before: nil, after: setting.kernelValue)))
        }
        let command = desired.start.`init`.joined(separator: " ")
        changes.append(Change(action: .start, before: "stopped", after: command, reason: desired.stateReason))
        return changes
    }

    /// The settings of a running container that are not what they shall be.
    private static func settle(
        _ observed: ObservedContainer, _ desired: DesiredContainer, _ lastSet: () -> [String: Setting.Value]
    ) -> [Change] {
        var known: [String: Setting.Value]?
        var changes: [Change] = []
        for setting in desired.wish.settings {
            let now = observed.settings.first { $0.kernelName == setting.kernelName }
            guard now?.kernelValue != setting.kernelValue else { continue }
            let ours = known ?? lastSet()
            known = ours
            let drifted = ours[setting.kernelName].map { $0 != now?.kernelValue } ?? false
            changes.append(
                Change(
                    action: .set(setting), field: setting.field, before: now?.value, after: setting.value,
                    kernel: .init(name: setting.kernelName, before: now?.kernelValue, after: setting.kernelValue),
                    reason: drifted ? .drift : .wanted))
        }
        return changes
    }

    /// What cannot be changed while the container runs.
    private static func waiting(_ observed: ObservedContainer, _ desired: DesiredContainer) -> [Change] {
        var changes: [Change] = []
        let restart = "takes effect at the next start: vzctl stop \(desired.name) && vzctl start \(desired.name)"
        if let started = observed.startedWith {
            if started.`init` != desired.start.`init` {
                changes.append(
                    Change(
                        action: .wait, field: "init", before: started.`init`.joined(separator: " "),
                        after: desired.start.`init`.joined(separator: " "), disruption: .restart, held: restart))
            }
            if started.env != desired.start.env {
                changes.append(
                    Change(
                        action: .wait, field: "env", before: text(started.env), after: text(desired.start.env),
                        disruption: .restart,
                        held: restart))
            }
        }
        if let made = observed.rootTemplate, let template = desired.template, made != template {
            changes.append(
                Change(
                    action: .wait, field: "template", before: made, after: template, disruption: .recreate,
                    held: "a root is made from its template once; remove the container's root to make it anew"))
        }
        return changes
    }

    private static func text(_ env: [String: String]) -> String {
        env.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " ")
    }
}
