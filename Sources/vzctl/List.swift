internal import ArgumentParser
internal import VZIsolation
internal import VZKernel
internal import VZManifest
internal import VZModel
internal import VZPlan
internal import VZReconciler

/// `vzctl list`: OpenVZ's vzlist, over everything declared.
struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the containers of this node.",
        discussion: """
            json and yaml carry format_version: within one MAJOR members are added, and none is removed or changed. json --full is all \
            that vzctl plan --state wants, elsewhere; it holds the manifests as they were accepted, environments included.
            """)

    @Option(name: .shortAndLong, help: "table, json, yaml or name.")
    var output = ListFormat.table

    @Flag(help: "With -o json: everything that decides what a plan says.")
    var full = false

    func validate() throws {
        if full && output != .json { throw ValidationError("--full: expected -o json with it") }
    }

    func run() throws {
        try report {
            let access = try NodeAccess(changing: false)
            let look = try access.look()
            let containers = try look.targets.compactMap { try Self.container($0, access.node) }
            switch output {
            case .table:
                print(
                    table(
                        [["CTID", "NAME", "NPROC", "STATUS", "HOSTNAME", "SOURCE"]]
                            + containers.map {
                                ["\($0.ctid)", $0.name, $0.nproc.map { "\($0)" } ?? "-", $0.status, $0.hostname ?? "-", $0.source]
                            }))
            case .name: for container in containers { print(container.name) }
            case .json, .yaml:
                let now = Timestamp.text(Timestamp.now)
                let state = try full ? access.node.state(look, created: now, figures: HostFigures.ofThisHost()) : nil
                let document = NodeDocument(containers: containers, state: state)
                print(try output == .json ? JSONDocument.json(document) : JSONDocument.yaml(document), terminator: "")
            }
        }
    }

    /// `nil` for one whose manifest was removed and that has nothing in the kernel.
    private static func container(_ target: Node.Target, _ node: Node) throws -> NodeDocument.Container? {
        let seen = try node.core.observe(target.record.ctid)
        if target.record.retired && !seen.container.isPresent { return nil }
        return NodeDocument.Container(
            ctid: target.record.ctid, name: target.record.name, status: seen.container.isRunning ? "running" : "stopped",
            nproc: try seen.container.isRunning ? seen.handle.group.usage().pids : nil,
            hostname: (try? seen.handle.process?.hostname()) ?? target.record.accepted.hostname, source: target.desired.source)
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
