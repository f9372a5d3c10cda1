internal import ArgumentParser
internal import Glibc
internal import VZIsolation
internal import VZKernel
internal import VZModel
internal import VZReconciler

/// `vzctl ubc`: OpenVZ's vzubc, and /proc/user_beancounters.
struct UBC: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ubc",
        abstract: "Show the beancounters of running containers: what is held, the most that was, the bounds, and what was refused.",
        discussion: """
            The percentages are of the barrier and the limit; "-" stands for none. The last column says what this host does about it: \
            enforced, accounted only, or unsupported. With --raw it is OpenVZ's own format (version 2.5), which OpenVZ's vzubc and \
            monitoring programs read.
            Exit codes: 0; 68 no such container.
            """)

    @Argument(help: "Names or CTIDs; all that run, if there is none.")
    var names: [String] = []

    @Flag(name: .shortAndLong, help: "Only what was refused, is held above 50 %, or was above 80 % of a bound.")
    var quiet = false

    @Flag(name: .shortAndLong, help: "Show failcnt since the last call with -r.")
    var relative = false

    @Flag(name: .shortAndLong, help: "Show it again every 2 s.")
    var watch = false

    @Flag(help: "In the format of OpenVZ's /proc/user_beancounters.")
    var raw = false

    @Option(name: .shortAndLong, help: "text, or json for other programs.")
    var output = OutputForm.text

    func run() throws {
        try report {
            let access = try NodeAccess(changing: false)
            repeat {
                let containers = try read(access)
                let text = try rendered(containers)
                if watch, isatty(STDOUT_FILENO) == 1 { print("\u{1b}[H\u{1b}[2J", terminator: "") }
                print(text, terminator: "")
                fflush(nil)
                if watch { poll(nil, 0, 2000) }
            } while watch
        }
    }

    private func read(_ access: NodeAccess) throws -> [Container] {
        let look = try access.look()
        let targets = names.isEmpty ? look.targets : try names.map { try access.target($0, in: look) }
        let core = access.node.core
        core.sampleBeancounters()
        var seen = relative ? Seen(access.node.paths) : nil
        var containers: [Container] = []
        for target in targets {
            let handle = try core.observe(target.record.ctid).handle
            guard handle.process != nil else { continue }
            var rows = core.beancounters(of: handle)
            seen?.subtract(from: &rows, of: target.record.ctid)
            containers.append(Container(ctid: target.record.ctid, name: target.record.name, rows: rows))
        }
        try seen?.save()
        return containers
    }

    private struct Container {
        var ctid: ContainerID
        var name: String
        var rows: [BeancounterRow]
    }

    // MARK: How it is written

    private func rendered(_ containers: [Container]) throws -> String {
        if raw { return UserBeancounters.text(containers.map { ($0.ctid, $0.rows) }) }
        if output == .json { return try jsonList(containers.map(Document.init), as: "containers") + "\n" }
        return containers.compactMap(text).joined(separator: "\n")
    }

    private func text(_ container: Container) -> String? {
        let rows = container.rows.filter { !quiet || Self.isTrouble($0) }
        if quiet && rows.isEmpty { return nil }
        let head = ["", "HELD", "BAR%", "LIM%", "MAXHELD", "BAR%", "LIM%", "BARRIER", "LIMIT", "FAILCNT", ""]
        let cells = rows.map(Self.cells)
        return "CT \(container.ctid) \(container.name)\n" + Self.columns([head] + cells)
    }

    private static func cells(_ row: BeancounterRow) -> [String] {
        let (state, unit) = (row.state, row.beancounter.unit)
        let (barrier, limit) = (state.bounds.barrier, state.bounds.limit)
        var cells = [row.beancounter.rawValue]
        for value in [state.held, state.maxheld] { cells += [number(value, unit), percent(value, barrier), percent(value, limit)] }
        cells += [number(barrier, unit), number(limit, unit), state.failcnt == 0 ? "-" : String(state.failcnt)]
        return cells + [row.enforcement.word]
    }

    /// The first and the last to the left, the numbers between them to the right.
    private static func columns(_ rows: [[String]]) -> String {
        let widths: [Int] = (rows.first ?? []).indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        var text = ""
        for row in rows {
            var cells: [String] = []
            for (column, cell) in row.enumerated() {
                let blanks = String(repeating: " ", count: widths[column] - cell.count)
                cells.append(column == 0 ? cell + blanks : column == row.count - 1 ? cell : blanks + cell)
            }
            text += cells.joined(separator: "  ") + "\n"
        }
        return text
    }

    /// vzubc's rule of what deserves a look.
    static func isTrouble(_ row: BeancounterRow) -> Bool {
        func above(_ value: Int64, _ percent: Int64, of bound: Int64) -> Bool {
            // Without overflow, near enough.
            bound > 0 && bound != BarrierLimit.unlimited && Double(value) * 100 > Double(bound) * Double(percent)
        }
        func above(_ value: Int64, _ percent: Int64) -> Bool {
            above(value, percent, of: row.state.bounds.barrier) || above(value, percent, of: row.state.bounds.limit)
        }
        // Guarantees may be used up.
        let isBound = row.beancounter.shape != .guarantee
        return row.state.failcnt > 0 || isBound && (above(row.state.held, 50) || above(row.state.maxheld, 80))
    }

    private static func percent(_ value: Int64, _ bound: Int64) -> String {
        guard bound > 0, bound != BarrierLimit.unlimited else { return "-" }
        return "\(Int((Double(value) * 100 / Double(bound)).rounded()))%"
    }

    /// Sizes in bytes, whatever they are counted in.
    private static func number(_ value: Int64, _ unit: Beancounter.Unit) -> String {
        if value == BarrierLimit.unlimited { return "-" }
        guard unit != .items, value != 0 else { return String(value) }
        let bytes = Double(value) * (unit == .pages ? 4096 : 1)
        guard let (letter, size) = [("T", 0x1p40), ("G", 0x1p30), ("M", 0x1p20), ("K", 0x1p10)].first(where: { bytes >= $0.1 })
        else {
            return String(Int64(bytes))
        }
        let tenths = Int((bytes / size * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)\(letter)"
    }

    private struct Document: Encodable {
        struct Row: Encodable {
            var resource, unit, enforcement: String
            var held, maxheld, barrier, limit, failcnt: Int64
        }
        var ctid: Int
        var name: String
        var beancounters: [Row]

        init(_ container: Container) {
            (ctid, name) = (container.ctid.number, container.name)
            beancounters = container.rows.map { row in
                Row(
                    resource: row.beancounter.rawValue, unit: row.beancounter.unit.rawValue, enforcement: row.enforcement.word,
                    held: row.state.held, maxheld: row.state.maxheld, barrier: row.state.bounds.barrier,
                    limit: row.state.bounds.limit, failcnt: row.state.failcnt)
            }
        }
    }

    // MARK: Since the last time

    /// What failcnt was at the last call with `-r`: a file that only this verb reads, and that may be lost.
    private struct Seen {
        private let path: String
        private var counts: [String: Int64] = [:]

        init(_ paths: NodePaths) {
            path = paths.run + "/ubc-seen"
            for line in ((try? KernelFile.read(path)) ?? "").split(separator: "\n") {
                let parts = line.split(separator: " ")
                if parts.count == 2, let count = Int64(parts[1]) { counts[String(parts[0])] = count }
            }
        }

        mutating func subtract(from rows: inout [BeancounterRow], of ctid: ContainerID) {
            for i in rows.indices {
                let key = "\(ctid).\(rows[i].beancounter.rawValue)"
                let (now, before) = (rows[i].state.failcnt, counts[key] ?? 0)
                // Less than before: it was started anew.
                rows[i].state.failcnt = now >= before ? now - before : now
                counts[key] = now == 0 ? nil : now
            }
        }

        func save() throws(KernelError) {
            let lines = counts.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)\n" }
            try KernelFile.replace(path, with: Array(lines.joined().utf8))
        }
    }
}
