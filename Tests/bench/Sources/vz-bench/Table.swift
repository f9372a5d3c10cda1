/// What was measured, beside what it was to be.
struct Table {
    private enum Line {
        case heading(String)
        case row(label: String, figures: [String], aim: String)
    }

    private var lines: [Line] = []

    mutating func heading(_ text: String) { lines.append(.heading(text)) }

    mutating func row(_ label: String, _ figures: [String], aim: String? = nil, met: Bool? = nil) {
        let verdict = met.map { $0 ? "ok" : "SHORT" }
        lines.append(.row(label: label, figures: figures, aim: [aim, verdict].compactMap { $0 }.joined(separator: ": ")))
    }

    mutating func append(_ other: Table) {
        lines += other.lines
    }

    mutating func times(_ label: String, _ times: Times, aim: String? = nil, met: Bool? = nil) {
        row(label, [times.p50.milliseconds, times.p95.milliseconds], aim: aim, met: met)
    }

    var text: String {
        let (label, figure, columns) = (54, 11, 3)
        return lines.map { line in
            switch line {
            case .heading(let text): return "\n\(text)"
            case .row(let name, let figures, let aim):
                let cells = (0..<columns).map { $0 < figures.count ? Self.right(figures[$0], figure) : Self.right("", figure) }
                return "  " + Self.left(name, label) + cells.joined() + (aim.isEmpty ? "" : "   \(aim)")
            }
        }.joined(separator: "\n")
    }

    private static func left(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(width - text.count, 0))
    }

    private static func right(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(width - text.count, 0)) + text
    }
}
