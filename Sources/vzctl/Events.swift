internal import ArgumentParser
internal import VZIsolation
internal import VZModel
internal import VZReconciler

/// `vzctl events`: what happened.
struct Events: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print what happened on this node, or to one container, the latest last.",
        discussion: """
            Needs no daemon, and no root for members of group vz. What vzd tells is kept until 1 MiB of newer events are there, or the \
            next boot. Exit codes: 0; 68 no such container; 77 not permitted.
            """)

    @Argument(help: "Name or CTID.")
    var name: String?

    @Option(name: .shortAndLong, help: "text or json.")
    var output = OutputForm.text

    func run() throws {
        try report {
            let access = LookAccess()
            let events = try access.reading(access.paths.run) { try EventLog.read(run: access.paths.run, of: name) }
            if events.isEmpty, let name { _ = try access.find(name) }
            if output == .json { return print(try jsonList(events, as: "events")) }
            var rows = [["COUNT", "LAST", "TYPE", "CTID", "NAME", "REASON", "MESSAGE"]]
            for event in events {
                rows.append([
                    "\(event.count)", "\(event.last)", event.kind.rawValue, event.ctid.map { "\($0)" } ?? "-", event.name ?? "-",
                    event.reason, event.message,
                ])
            }
            print(table(rows))
        }
    }
}
