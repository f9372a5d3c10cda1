internal import ArgumentParser
internal import Glibc
internal import VZModel
internal import VZPlan
internal import VZReconciler

/// `vzctl start`: the container shall run; takes back a former `stop`.
struct Start: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Start a container, and keep it running whatever its manifest's state is.",
        discussion: "Remembered on this node until the next start or stop. Exit codes: 0; 68 no such container; 1 failed.")

    @Argument(help: "Name or CTID.")
    var name: String

    func run() throws {
        try report {
            let access = try NodeAccess(changing: true)
            let target = try access.target(name, remembering: true)
            guard !target.record.retired else {
                throw Failure("the manifest of CT \(target.record.ctid) was removed: put it back to start it")
            }
            let wanted = target.record.accepted.state
            try access.node.setOverride(
                wanted == .running ? nil : StateOverride(state: .running, owner: owner()), for: target.record.ctid)
            let (plan, process) = try access.node.converge(access.target(name))
            var starts = FreshStarts()
            starts.note(plan, process)
            guard starts.endedTooSoon() == 0 else { throw Failure("CT \(target.record.ctid) does not stay up; see above") }
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
        discussion: "Remembered on this node until the next start. Exit codes: 0; 68 no such container; 1 failed.")

    @Argument(help: "Name or CTID.")
    var name: String

    @Flag(help: "Kill at once.")
    var fast = false

    @Option(help: "Seconds to wait before it is killed.")
    var timeout: Int = 120

    func run() throws {
        try report {
            let access = try NodeAccess(changing: true)
            let target = try access.target(name, remembering: true)
            try access.node.setOverride(StateOverride(state: .stopped, owner: owner()), for: target.record.ctid)
            let (plan, _) = try access.node.converge(access.target(name), stopTimeout: .seconds(fast ? 0 : timeout))
            say(
                plan.changes.contains { $0.action == .stop }
                    ? "CT \(target.record.ctid) stopped" : "CT \(target.record.ctid) was down")
        }
    }
}

/// Who is at the keyboard, for the record.
private func owner() -> String {
    Node.environment["SUDO_USER"] ?? Node.environment["USER"] ?? "uid \(getuid())"
}
