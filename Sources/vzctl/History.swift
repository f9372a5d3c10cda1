internal import ArgumentParser
internal import VZIsolation
internal import VZModel
internal import VZReconciler

/// `vzctl history`: what was changed, by whom and why.
struct History: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print what was changed of a container, by whom, why, and with what result, the latest last.",
        discussion: """
            From the audit log in the state directory, which outlives a reboot and holds the latest 8 to 16 MiB. Needs no daemon, and no \
            root for members of group vz. Exit codes: 0; 68 no such container; 77 not permitted.
            """)

    @Argument(help: "Name or CTID, also of a container that is gone.")
    var name: String

    @Option(name: .shortAndLong, help: "text or json.")
    var output = OutputForm.text

    @Option(help: "The most that are printed.")
    var limit = 100

    func validate() throws {
        guard limit > 0 else { throw ValidationError("--limit: expected 1 or more, got \(limit)") }
    }

    func run() throws {
        try report {
            let access = LookAccess()
            let entries = try access.reading(access.paths.state + "/log") {
                try AuditLog.read(state: access.paths.state, of: name, limit: limit)
            }
            if entries.isEmpty { _ = try access.find(name) }
            if output == .json { return print(try jsonList(entries, as: "changes")) }
            var rows = [["CTID", "TIME", "ACTOR", "CHANGE", "REASON", "RESULT"]]
            for entry in entries {
                rows.append([
                    "\(entry.ctid)", "\(entry.time)", entry.actor, Self.change(entry), entry.reason, entry.result,
                ])
            }
            print(table(rows))
        }
    }

    private static func change(_ entry: AuditEntry) -> String {
        let values = entry.before.map { "\($0) → \(entry.after)" } ?? entry.after
        let kernel = entry.kernel.map { " (\($0.name) \($0.before.map { "\($0) → " } ?? "")\($0.after))" } ?? ""
        return "\(entry.field ?? entry.action) \(values)\(kernel)"
    }
}
