internal import ArgumentParser
internal import Glibc
internal import VZKernel
internal import VZManifest
internal import VZReconciler

/// `vzctl validate`: the same verdict on every machine, without root, daemon or network.
struct Validate: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check manifests: form, values, profiles and drop-ins, consistency, and that names and CTIDs are unique.",
        discussion: """
            Exit status: 0 valid, 65 not valid, 66 when a path cannot be read. Warnings and advice are told and leave the manifests valid.
            """)

    @Argument(help: "Files and directories; - is standard input.", completion: .file())
    var paths: [String] = ["/etc/vz.d"]

    @Option(
        help: "text (on standard error), json, github (workflow commands) or sarif (2.1.0).",
        transform: { text in
            guard let format = DiagnosticReport.Format(rawValue: text) else {
                throw ValidationError("no format \"\(text)\"; expected text, json, github or sarif")
            }
            return format
        })
    var format = DiagnosticReport.Format.text

    @Option(help: ArgumentHelp("Tell what a consistency rule asks for and why, and check nothing.", valueName: "rule"))
    var explain: String?

    func validate() throws {
        guard let explain, ConsistencyRules.rule(explain) == nil else { return }
        let hint = ConsistencyRules.suggestion(for: explain).map { "; did you mean \($0)?" }
        throw ValidationError(
            "no rule \"\(explain)\"\(hint ?? "; there are \(ConsistencyRules.all.map(\.id).joined(separator: ", "))")")
    }

    func run() throws {
        if let explain {
            print(ConsistencyRules.explanation(of: explain) ?? "")
            return
        }
        var reading = ManifestDirectory.read(given: paths.filter { $0 != "-" })
        if paths.contains("-") {
            do throws(KernelError) {
                let bytes = try Descriptor(adopting: dup(STDIN_FILENO)).readAll(
                    limit: ManifestDirectory.sizeLimit, named: "standard input")
                reading.files.append(ManifestFile(path: "<stdin>", bytes: bytes))
            } catch {
                reading.problems.append(ManifestProblem(path: "<stdin>", message: "\(error)"))
            }
        }
        let set = ManifestSet.compose(reading.files)
        let problems = reading.problems.map {
            Diagnostic(location: SourceLocation(file: $0.path, line: 1, column: 1), message: $0.message)
        }
        let report = DiagnosticReport(set.diagnostics + problems)
        if format == .text {
            let showsLines = isatty(STDERR_FILENO) == 1
            for diagnostic in set.diagnostics { say(showsLines ? diagnostic.withCaret() : diagnostic.description) }
            for problem in reading.problems { say(problem.description) }
            print(
                report.summary(files: reading.files.count, valid: set.documents.count + set.baseCount, unreadable: problems.count))
        } else {
            print(report.text(format), terminator: "")
        }
        if !problems.isEmpty { throw ExitCode(EX_NOINPUT) }
        if set.diagnostics.contains(where: { $0.severity == .error }) { throw ExitCode(EX_DATAERR) }
    }
}
