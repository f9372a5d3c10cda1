internal import ArgumentParser
internal import VZIsolation
internal import VZKernel
internal import VZReconciler

/// `vzctl doctor`: what this host can and cannot do.
struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Show what this host can and cannot do, each with its consequence and its mend; change nothing.",
        discussion: """
            What is missing costs what the consequence names, and nothing else. "vzctl plan" tells the same for the containers that \
            ask for it. Not all can be seen by others than root.
            Exit codes: 0 all is there, 1 something is missing.
            """)

    @Option(name: .shortAndLong, help: "text, or json for other programs.")
    var output = OutputForm.text

    func run() throws {
        try report {
            let core = try IsolationCore(paths: NodePaths(environment: Node.environment), preparing: false)
            let findings = Doctor.findings(try HostFacts(of: core))
            switch output {
            case .json: print(try jsonList(findings, as: "findings"))
            case .text: print(findings.map(Self.text).joined(separator: "\n"))
            }
            if findings.contains(where: { !$0.isFine }) { throw ExitCode(ExitStatus.failed.rawValue) }
        }
    }

    private static func text(_ finding: Finding) -> String {
        func row(_ word: String, _ subject: String, _ text: String) -> String {
            word.padding(9) + subject.padding(22) + text
        }
        var lines = [row(finding.isFine ? "ok" : "missing", finding.subject, finding.found)]
        if let consequence = finding.consequence { lines.append(row("", "", consequence)) }
        if let mend = finding.mend { lines.append(row("", "", "→ " + mend)) }
        return lines.joined(separator: "\n")
    }
}

extension String {
    fileprivate func padding(_ width: Int) -> String { self + String(repeating: " ", count: max(width - count, 1)) }
}
