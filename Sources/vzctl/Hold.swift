internal import ArgumentParser
internal import VZModel
internal import VZReconciler

/// `vzctl hold`: hands off, until `release`.
struct Hold: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Stop all convergence of a container: whatever files say and whatever drifts, it stays as it is.",
        discussion: "No file clears it; release does, or its time. Exit codes: 0; 68 no such container.")

    @Argument(help: "Name or CTID.")
    var name: String

    @OptionGroup var word: WordOptions

    func validate() throws {
        if word.reason.isEmpty { throw ValidationError("--reason: expected why, for whoever finds the container held") }
    }

    func run() throws {
        try report {
            let access = try NodeAccess(changing: true)
            let target = try access.target(name, remembering: true)
            try access.node.setOverrides(of: target.record.ctid) { $0.hold = word.say(true) }
            access.node.pokeDaemon()
            say("CT \(target.record.ctid) held: vzctl release \(target.record.name)")
        }
    }
}

/// `vzctl release`: takes back `hold`, and with --all everything else that was said.
struct Release: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Take back hold; with --all also start, stop and set --for: the manifest alone counts again.",
        discussion: "Exit codes: 0, also when nothing was said; 68 no such container.")

    @Argument(help: "Name or CTID.")
    var name: String

    @Flag(help: "Take back every word but a trial.")
    var all = false

    func run() throws {
        try report {
            let access = try NodeAccess(changing: true)
            let target = try access.target(name, remembering: true)
            try access.node.setOverrides(of: target.record.ctid) { said in
                said.hold = nil
                if all { (said.state, said.fields) = (nil, [:]) }
            }
            access.node.pokeDaemon()
            let left = access.node.overrides(of: target.record.ctid).summary
            say("CT \(target.record.ctid) released" + (left.isEmpty ? "" : "; still said: " + left.joined(separator: ", ")))
        }
    }
}

/// `vzctl ack`: many removals or restarts are meant.
struct Acknowledge: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ack",
        abstract: "Let a generation of the manifests remove and restart as much as it says.",
        discussion: """
            Removals and restarts of more than 3 containers and a fifth of all, and removals that leave a directory empty, wait for it. \
            vzctl plan names the generation. Exit codes: 0; 1 the manifests are of another generation by now.
            """)

    @Argument(help: "As vzctl plan names it.")
    var generation: String

    func run() throws {
        try report {
            let access = try NodeAccess(changing: true)
            try access.node.acknowledge(generation, owner: owner())
            let isRunning = access.node.pokeDaemon()
            say("generation \(generation) acknowledged" + (isRunning ? "" : "; no vzd runs: vzctl apply"))
        }
    }
}
