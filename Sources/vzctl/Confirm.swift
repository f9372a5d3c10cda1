internal import ArgumentParser
internal import Glibc
internal import VZIsolation
internal import VZKernel
internal import VZModel
internal import VZPlan
internal import VZReconciler

/// `vzctl confirm`: what is on trial stays.
struct Confirm: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Keep the manifests that apply --confirm-within put on trial; with --cancel go back to those before at once.",
        discussion: "They become the node's own manifests. Exit codes: 0; 1 nothing is on trial.")

    @Argument(help: "As apply named it; all when left out.")
    var trial: String?

    @Flag(help: "Go back instead.")
    var cancel = false

    func run() throws {
        try report {
            let access = try NodeAccess(changing: true)
            let tried = try access.node.endTrial(trial, cancelling: cancel)
            guard !tried.isEmpty else { throw Failure("nothing is on trial" + (trial.map { " as \($0)" } ?? "")) }
            access.node.pokeDaemon()
            let names = tried.map { "CT \($0.record.ctid) \($0.record.name)" }.joined(separator: ", ")
            say(cancel ? "\(names): back to the manifest before" : "\(names): confirmed")
        }
    }
}

/// `vzctl apply --confirm-within`: the daemon carries it out, so that it goes back also when whoever typed it is cut off.
struct Trial {
    let node: Node
    let paths: [String]
    let reason: String

    func run(_ time: TimeSpan) throws {
        guard !paths.isEmpty else {
            throw Failure(
                "--confirm-within: expected the manifests to try; what is among the node's own is in force already", .usage)
        }
        guard node.isDaemonRunning else {
            throw Failure("a trial is carried out and ended by vzd, and none runs on \(node.paths.run): start it", .noDaemon)
        }
        let candidates = try node.candidates(paths)
        guard !candidates.isEmpty else { return say("nothing to try: this is what is in force") }
        for candidate in candidates { try NodeAccess.requireFree(candidate.target) }
        let until = Timestamp.now + time.seconds
        let id = try node.putOnTrial(candidates, until: until, owner: owner(), reason: reason)
        node.pokeDaemon()
        let names = candidates.map { "CT \($0.target.record.ctid) \($0.target.record.name)" }.joined(separator: ", ")
        say("\(names): on trial until \(Timestamp.text(until)); vzctl confirm \(id) keeps it")
        print(id)
        try awaitConvergence(candidates.map(\.target), until: ContinuousClock.now + .seconds(min(time.seconds, 60)))
    }

    /// Waits until vzd has done what can be done.
    private func awaitConvergence(_ targets: [Node.Target], until deadline: ContinuousClock.Instant) throws {
        for target in targets {
            while try !node.plan(node.current(target)).0.isSettled {
                guard ContinuousClock.now < deadline else {
                    throw Failure("CT \(target.record.ctid) \(target.record.name): not converged yet; see vzctl plan", .temporary)
                }
                usleep(50_000)
            }
        }
    }
}
