internal import ArgumentParser
internal import VZIsolation
internal import VZKernel
internal import VZModel
internal import VZPlan
internal import VZReconciler

/// `vzctl status`: OpenVZ's five words, or everything that vzd knows.
struct Status: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print one line: CTID, number, exist|deleted, mounted|unmounted, running|down.",
        discussion: """
            With --output json: the status file that vzd keeps, with health, sync, conditions and the last results. That needs no daemon, \
            and no root for members of group vz. Exit codes: 0; 68 no such container; 77 not permitted.
            """)

    @Argument(help: "Name or CTID.")
    var name: String

    @Option(name: .shortAndLong, help: "text, the line; or json, all that is known.")
    var output = OutputForm.text

    func run() throws {
        try report {
            switch output {
            case .text: try printLine()
            case .json:
                let access = LookAccess()
                let ctid = try access.find(name).ctid
                print(try access.reading(access.paths.status) { try access.status.text(of: ctid) }, terminator: "")
            }
        }
    }

    private func printLine() throws {
        let access = try NodeAccess(changing: false)
        let target: Node.Target
        do {
            target = try access.target(name)
        } catch let failure as Failure where failure.code == .unknownContainer {
            guard let ctid = ContainerID(text: name) else { throw failure }
            // What runs although nothing is known of it is there all the same.
            guard try !access.node.core.observe(ctid).container.isRunning else {
                print("CTID \(ctid) exist mounted running")
                return
            }
            print("CTID \(ctid) deleted unmounted down")
            return
        }
        let seen = try access.node.core.observe(target.record.ctid).container
        // A root is mounted in its own mount namespace, for as long as the container runs.
        print("CTID \(target.record.ctid) exist \(seen.isRunning ? "mounted running" : "unmounted down")")
    }
}
