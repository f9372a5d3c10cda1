internal import ArgumentParser
internal import VZIsolation
internal import VZKernel
internal import VZModel
internal import VZPlan
internal import VZReconciler

/// `vzctl list`: OpenVZ's vzlist, over everything declared.
struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List the containers of this node.")

    func run() throws {
        try report {
            let access = try NodeAccess(changing: false)
            let node = access.node
            let look = try access.look()
            var rows = [["CTID", "NAME", "NPROC", "STATUS", "HOSTNAME", "SOURCE"]]
            for target in look.targets {
                let seen = try node.core.observe(target.record.ctid)
                if target.record.retired && !seen.container.isPresent { continue }
                let tasks = try seen.container.isRunning ? seen.handle.group.usage().pids.map { String($0) } : nil
                rows.append([
                    "\(target.record.ctid)", target.record.name, tasks ?? "-", seen.container.isRunning ? "running" : "stopped",
                    (try? seen.handle.process?.hostname()) ?? target.record.accepted.hostname ?? "-", target.desired.source,
                ])
            }
            print(table(rows))
        }
    }
}

/// Columns as wide as their widest cell; the first, numbers, to the right.
func table(_ rows: [[String]]) -> String {
    let widths = (rows.first ?? []).indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
        var line = ""
        for (i, cell) in row.enumerated() {
            let blanks = String(repeating: " ", count: widths[i] - cell.count)
            line += i == 0 ? blanks + cell : i == row.count - 1 ? "  " + cell : "  " + cell + blanks
        }
        return line
    }.joined(separator: "\n")
}
