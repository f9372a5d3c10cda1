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
    /// The strongest disturbance that may be caused.
    public var disruption = Disruption.live
    /// Why no more than `live` may be done although `disruption` would allow it.
    public var brake: String?
    /// Fields that another actor owns while the container runs: what he made of them stays.
    public var ignoredDrift: [String] = []
    /// Why nothing at all may be done.
    public var hold: String?
    /// One that runs is stopped and started again, since somebody said so.
    public var mustRestart = false
    /// What becomes of a container whose manifest was removed; `nil` while there is one.
    public var removal: Lifecycle.Deletion?

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
    /// - Parameter lastSet: what we ourselves last wrote, by the kernel's name. It tells drift from a new wish; a field that is not
    ///   among `ignoredDrift` is put right in either case.
    public static func changes(
        from observed: ObservedContainer, to desired: DesiredContainer, lastSet: () -> [String: Setting.Value] = { [:] }
    ) -> [Change] {
        var changes = all(from: observed, to: desired, lastSet: lastSet)
        if let hold = desired.hold { for i in changes.indices { changes[i].held = hold } }
        return changes
    }

    private static func all(
        from observed: ObservedContainer, to desired: DesiredContainer, lastSet: () -> [String: Setting.Value]
    ) -> [Change] {
        if desired.removal == .ignore { return [] }
        switch (desired.state, observed.isRunning) {
        // Suspending comes with checkpointing; until then a container that shall be suspended is stopped, and the wish says so.
        case (.stopped, _), (.suspended, _):
            var changes: [Change] = []
            if observed.isPresent { changes.append(stop("running", "stopped", desired.stateReason)) }
            if desired.removal == .trash, observed.rootExists {
                changes.append(discardRoot(.removed))
            }
            return changes
        case (.running, false):
            // Left-overs of a container that ended, or of a start that was killed half-way.
            let cleared = observed.isPresent ? [stop("ended", "cleared away", .wanted)] : []
            guard observed.rootExists else { return cleared + start(desired, makingRoot: true) }
            // What was stopped to be made anew, and came no further, is not started as it was.
            let renewing = waiting(observed, desired).filter { $0.disruption == .recreate && $0.held == nil }
            let discarded = renewing.isEmpty ? [] : renewing + [discardRoot()]
            return cleared + discarded + start(desired, makingRoot: !renewing.isEmpty)
        case (.running, true) where desired.mustRestart:
            let waiting = waiting(observed, desired).filter { $0.disruption == .restart }.map { change in
                var change = change
                change.held = nil
                return change
            }
            return waiting + [stop("running", "stopped", .override)] + start(desired, makingRoot: !observed.rootExists)
        case (.running, true):
            let waiting = waiting(observed, desired)
            let strongest = waiting.filter { $0.held == nil }.map(\.disruption).max()
            guard let strongest else { return settle(observed, desired, lastSet) + waiting }
            var changes = waiting + [stop("running", "stopped", .wanted)]
            if strongest == .recreate { changes.append(discardRoot()) }
            return changes + start(desired, makingRoot: strongest == .recreate)
        }
    }

    private static func stop(_ before: String, _ after: String, _ reason: Reason) -> Change {
        Change(action: .stop, before: before, after: after, disruption: .restart, reason: reason)
    }

    private static func discardRoot(_ reason: Reason = .wanted) -> Change {
        Change(action: .discardRoot, before: "root", after: "trash", disruption: .recreate, reason: reason)
    }

    private static func start(_ desired: DesiredContainer, makingRoot: Bool) -> [Change] {
        var changes: [Change] = []
        if makingRoot, let template = desired.template {
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
    static func settle(
        _ observed: ObservedContainer, _ desired: DesiredContainer, _ lastSet: () -> [String: Setting.Value]
    ) -> [Change] {
        var known: [String: Setting.Value]?
        var changes: [Change] = []
        for setting in desired.wish.settings {
            let now = observed.settings.first { $0.kernelName == setting.kernelName }
            guard now?.kernelValue != setting.kernelValue else { continue }
            let all = known ?? lastSet()
            known = all
            let ours = all[setting.kernelName]
            let drifted = ours != nil && ours != now?.kernelValue
            // Only what is known to be our own last word is changed in a field that another actor owns.
            if ours == nil || drifted, isIgnored(setting.field, desired.ignoredDrift) { continue }
            changes.append(
                Change(
                    action: .set(setting), field: setting.field, before: now?.value, after: setting.value,
                    kernel: .init(name: setting.kernelName, before: now?.kernelValue, after: setting.kernelValue),
                    reason: drifted ? .drift : .wanted))
        }
        return changes
    }

    /// Whether a field, or a group of fields that it is in, is in the list.
    private static func isIgnored(_ field: String, _ ignored: [String]) -> Bool {
        ignored.contains { field == $0 || field.hasPrefix($0 + ".") }
    }

    /// What cannot be changed while the container runs: held, unless so much disturbance is allowed.
    private static func waiting(_ observed: ObservedContainer, _ desired: DesiredContainer) -> [Change] {
        func change(_ field: String, _ before: String, _ after: String, _ disruption: Disruption, _ mend: String) -> Change {
            var held: String?
            if desired.disruption < disruption {
                held = "lifecycle.disruption is \(desired.disruption.rawValue): \(mend)"
            } else {
                held = desired.brake
            }
            return Change(action: .wait, field: field, before: before, after: after, disruption: disruption, held: held)
        }
        var changes: [Change] = []
        if let started = observed.startedWith {
            let restart = "takes effect at the next start: vzctl restart \(desired.name)"
            if started.`init` != desired.start.`init` {
                changes.append(
                    change(
                        "init", started.`init`.joined(separator: " "), desired.start.`init`.joined(separator: " "), .restart,
                        restart))
            }
            if started.env != desired.start.env {
                changes.append(change("env", text(started.env), text(desired.start.env), .restart, restart))
            }
        }
        if let made = observed.rootTemplate, let template = desired.template, made != template {
            changes.append(
                change(
                    "template", made, template, .recreate,
                    "a root is made from its template once; with recreate the old root goes to the trash"))
        }
        return changes
    }

    static func text(_ env: [String: String]) -> String {
        env.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " ")
    }
}
