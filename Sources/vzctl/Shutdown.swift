internal import ArgumentParser
internal import Synchronization
internal import VZModel
internal import VZPlan
internal import VZReconciler

/// `vzctl shutdown`: the containers stop with their node.
struct Shutdown: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Stop all containers in the reverse order of their start, because the node is shut down.",
        discussion: """
            Those of one bootorder at the same time, each with its own stop_timeout, then SIGKILL. Nothing is started until the next boot, \
            or --cancel. Exit codes: 0; 1 some did not stop.
            """)

    @Flag(help: "Call it off: what shall run is started again by vzd, or by vzctl apply.")
    var cancel = false

    func run() throws {
        try report {
            let access = try NodeAccess(changing: true)
            try access.node.setShuttingDown(!cancel)
            if cancel {
                access.node.pokeDaemon()
                return
            }
            let failed = try access.node.stopAll(in: access.books) { say("vzctl: \($0)") }
            if failed > 0 { throw Failure("\(failed) container\(failed == 1 ? "" : "s") did not stop; see above") }
        }
    }
}
