internal import ArgumentParser
internal import Glibc
internal import VZKernel
internal import VZModel
internal import VZPlan
internal import VZReconciler

/// `vzctl start`: the container shall run; takes back a former `stop`.
struct Start: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Start a container, and keep it running whatever its manifest's state is.",
        discussion: "Remembered on this node until the next start or stop. Exit codes: 0; 68 no such container; 75 held; 1 failed.")

    @Argument(help: "Name or CTID.")
    var name: String

    @OptionGroup var word: WordOptions

    func run() throws {
        try report {
            let access = try NodeAccess(changing: true)
            guard !access.node.isShuttingDown else {
                throw Failure("the node is being shut down: vzctl shutdown --cancel to call it off", .temporary)
            }
            let target = try access.free(name)
            guard !target.record.retired else {
                throw Failure("the manifest of CT \(target.record.ctid) was removed: put it back to start it")
            }
            let wanted = target.record.accepted.state
            try access.node.setOverrides(of: target.record.ctid) {
                $0.state = wanted == .running && !word.isTemporary ? nil : word.say(.running)
            }
            let (plan, process) = try access.node.converge(access.withWord(name), in: access.books)
            access.node.pokeDaemon()
            try plan.requireDone()
            var starts = FreshStarts()
            starts.note(plan, process)
            guard starts.endedTooSoon().isEmpty else { throw Failure("CT \(target.record.ctid) does not stay up; see above") }
            say(
                plan.changes.contains { $0.action == .start }
                    ? "CT \(target.record.ctid) started" : "CT \(target.record.ctid) runs already")
        }
    }
}

/// `vzctl stop`: the container shall not run, until `start`.
struct Stop: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Stop a container, and keep it stopped whatever its manifest's state is.",
        discussion: "Remembered on this node until the next start. Exit codes: 0; 68 no such container; 75 held; 1 failed.")

    @Argument(help: "Name or CTID.")
    var name: String

    @Flag(help: "Kill at once.")
    var fast = false

    @Option(help: "Seconds to wait before it is killed; otherwise as its manifest says.")
    var timeout: Int?

    @OptionGroup var word: WordOptions

    func run() throws {
        try report {
            let access = try NodeAccess(changing: true)
            let target = try access.free(name)
            try access.node.setOverrides(of: target.record.ctid) { $0.state = word.say(.stopped) }
            let manner = Node.Manner(stopTimeout: fast ? .zero : timeout.map { .seconds($0) })
            let (plan, _) = try access.node.converge(access.withWord(name), manner, in: access.books)
            access.node.pokeDaemon()
            try plan.requireDone()
            say(
                plan.changes.contains { $0.action == .stop }
                    ? "CT \(target.record.ctid) stopped" : "CT \(target.record.ctid) was down")
        }
    }
}

/// `vzctl restart`: down and up again, which brings into effect what only a start can.
struct Restart: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Stop a container and start it again, as its manifest says now.",
        discussion: "Exit codes: 0; 31 it shall not run; 68 no such container; 75 held; 1 failed.")

    @Argument(help: "Name or CTID.")
    var name: String

    @Flag(help: "Kill at once.")
    var fast = false

    func run() throws {
        try report {
            let access = try NodeAccess(changing: true)
            let target = try access.free(name)
            guard target.desired.state == .running else {
                throw Failure("CT \(target.record.ctid) shall not run: vzctl start \(target.record.name)", .notRunning)
            }
            var manner = Node.Manner(stopTimeout: fast ? .zero : nil)
            manner.restarts = true
            let (plan, process) = try access.node.converge(target, manner, in: access.books)
            access.node.pokeDaemon()
            try plan.requireDone()
            var starts = FreshStarts()
            starts.note(plan, process)
            guard starts.endedTooSoon().isEmpty else { throw Failure("CT \(target.record.ctid) does not stay up; see above") }
            say("CT \(target.record.ctid) restarted")
        }
    }
}

extension Plan.Container {
    /// Throws when what was asked for was held after all: what was said of the container could not be read meanwhile, or somebody else said
    /// otherwise. What waits for a restart that nobody asked for is no matter.
    func requireDone() throws {
        for change in changes where change.action != .wait {
            if let held = change.held { throw Failure("CT \(ctid) \(name): \(held)", .temporary) }
        }
    }
}

/// What every word of an administrator may carry.
struct WordOptions: ParsableArguments {
    @Option(name: .customLong("for"), help: "For how long it is in force: 90s, 15m, 2h, 7d.")
    var time: TimeSpan?

    @Option(help: "Why, for whoever wonders later.")
    var reason = ""

    var isTemporary: Bool { time != nil }

    func say<Value>(_ value: Value) -> Overrides.Word<Value> {
        let now = Timestamp.now
        return Overrides.Word(value, owner: owner(), reason: reason, since: now, until: time.map { now + $0.seconds })
    }
}

/// A length of time as people type it: `90s`, `15m`, `2h`, `7d`; a number alone is seconds.
struct TimeSpan: ExpressibleByArgument {
    var seconds: Int64

    init?(argument: String) {
        let units: [Character: Int64] = ["s": 1, "m": 60, "h": 3600, "d": 86400]
        let factor = argument.last.flatMap { units[$0] }
        let digits = factor == nil ? argument[...] : argument.dropLast()
        guard let number = Int64(digits), (1...1_000_000_000).contains(number) else { return nil }
        seconds = number * (factor ?? 1)
    }
}

/// Who is at the keyboard, for the record.
func owner() -> String {
    Node.environment["SUDO_USER"] ?? Node.environment["USER"] ?? "uid \(getuid())"
}

extension NodeAccess {
    /// The container, for a verb that changes something of it: nobody must hold it, and nothing of it be on trial.
    func free(_ name: String) throws -> Node.Target {
        let target = try target(name, remembering: true)
        try Self.requireFree(target)
        return target
    }

    /// The container as it shall be by what was just said of it. That is read anew, and what cannot be read is no word: nothing is done then.
    func withWord(_ name: String) throws -> Node.Target {
        let target = try target(name)
        try Self.requireFree(target)
        return target
    }

    static func requireFree(_ target: Node.Target) throws {
        let who = "CT \(target.record.ctid) \(target.record.name)"
        if let trial = target.overrides.trial {
            let until = trial.until.map { " until \(Timestamp.text($0))" } ?? ""
            throw Failure("\(who) is locked: a manifest is on trial\(until): vzctl confirm, or confirm --cancel", .temporary)
        }
        if let hold = target.desired.hold { throw Failure("\(who): \(hold)", .temporary) }
    }
}
