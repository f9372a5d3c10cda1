/// Diagnostics in the forms that other programs read.
public struct DiagnosticReport: Sendable {
    public enum Format: String, Sendable, CaseIterable {
        /// One line each, as compilers write them.
        case text
        /// An object with a list.
        case json
        /// Workflow commands of GitHub's runners, which show them beside the line.
        case github
        /// SARIF 2.1.0, which code scanning reads.
        case sarif
    }

    private let diagnostics: [Diagnostic]

    public init(_ diagnostics: [Diagnostic]) { self.diagnostics = diagnostics }

    /// The whole report, each line ended.
    public func text(_ format: Format) -> String {
        switch format {
        case .text: lines(diagnostics.map(\.description))
        case .json: json().pretty() + "\n"
        case .github: lines(diagnostics.map(Self.workflowCommand))
        case .sarif: sarif().pretty() + "\n"
        }
    }

    /// `2 files: 3 valid documents, 1 mistake, 1 warning`.
    /// - Parameter unreadable: how many of the diagnostics tell of paths that cannot be read.
    public func summary(files: Int, valid: Int, unreadable: Int = 0) -> String {
        func counted(_ number: Int, _ word: String) -> String { "\(number) \(word)\(number == 1 ? "" : "s")" }
        let errors = diagnostics.count { $0.severity == .error } - unreadable
        var parts = [counted(valid, "valid document"), counted(errors, "mistake")]
        let warnings = diagnostics.count { $0.severity == .warning }
        let advice = diagnostics.count { $0.severity == .advice }
        if warnings > 0 { parts.append(counted(warnings, "warning")) }
        if advice > 0 { parts.append("\(advice) advice") }
        if unreadable > 0 { parts.append(counted(unreadable, "path") + " not readable") }
        return counted(files, "file") + ": " + parts.joined(separator: ", ")
    }

    private func lines(_ lines: [String]) -> String { lines.map { $0 + "\n" }.joined() }

    // MARK: JSON

    private func json() -> JSON {
        .object([
            ("format_version", .integer(1)),
            ("valid", .bool(!diagnostics.contains { $0.severity == .error })),
            (
                "diagnostics",
                .array(
                    diagnostics.map { diagnostic in
                        var members: [(String, JSON)] = [
                            ("file", .string(diagnostic.location.file)), ("line", .integer(diagnostic.location.line)),
                            ("column", .integer(diagnostic.location.column)), ("severity", .string(diagnostic.severity.rawValue)),
                            ("field", .string(diagnostic.field)), ("message", .string(diagnostic.message)),
                        ]
                        if let rule = diagnostic.rule { members.append(("rule", .string(rule))) }
                        return .object(members)
                    })
            ),
        ])
    }

    // MARK: GitHub

    private static func workflowCommand(_ diagnostic: Diagnostic) -> String {
        let command =
            switch diagnostic.severity {
            case .error: "error"
            case .warning: "warning"
            case .advice: "notice"
            }
        let place = diagnostic.location
        let message = (diagnostic.field.isEmpty ? "" : "\(diagnostic.field): ") + diagnostic.message
        let title = diagnostic.rule.map { ",title=\(escaped($0, isProperty: true))" } ?? ""
        return "::\(command) file=\(escaped(place.file, isProperty: true)),line=\(place.line),col=\(place.column)\(title)"
            + "::\(escaped(message, isProperty: false))"
    }

    private static func escaped(_ text: String, isProperty: Bool) -> String {
        var out = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "%": out += "%25"
            case "\r": out += "%0D"
            case "\n": out += "%0A"
            case ":" where isProperty: out += "%3A"
            case "," where isProperty: out += "%2C"
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out
    }

    // MARK: SARIF

    /// What a diagnostic is a case of: a consistency rule, or the form of manifests.
    private static let formRule = "manifest"

    private func sarif() -> JSON {
        let ids = Set(diagnostics.map { $0.rule ?? Self.formRule }).sorted()
        let rules = ids.map { id -> JSON in
            let summary = ConsistencyRules.rule(id)?.summary ?? "A manifest says what the table of fields allows."
            return .object([("id", .string(id)), ("shortDescription", .object([("text", .string(summary))]))])
        }
        let driver: [(String, JSON)] = [("name", .string("vzctl validate")), ("rules", .array(rules))]
        let run: [(String, JSON)] = [
            ("tool", .object([("driver", .object(driver))])), ("columnKind", .string("unicodeCodePoints")),
            ("results", .array(diagnostics.map(Self.result))),
        ]
        return .object([
            ("$schema", .string("https://json.schemastore.org/sarif-2.1.0.json")), ("version", .string("2.1.0")),
            ("runs", .array([.object(run)])),
        ])
    }

    private static func result(_ diagnostic: Diagnostic) -> JSON {
        let level =
            switch diagnostic.severity {
            case .error: "error"
            case .warning: "warning"
            case .advice: "note"
            }
        let region: [(String, JSON)] = [
            ("startLine", .integer(diagnostic.location.line)), ("startColumn", .integer(diagnostic.location.column)),
        ]
        let place: [(String, JSON)] = [
            ("artifactLocation", .object([("uri", .string(uri(diagnostic.location.file)))])), ("region", .object(region)),
        ]
        let message = (diagnostic.field.isEmpty ? "" : "\(diagnostic.field): ") + diagnostic.message
        return .object([
            ("ruleId", .string(diagnostic.rule ?? formRule)), ("level", .string(level)),
            ("message", .object([("text", .string(message))])),
            ("locations", .array([.object([("physicalLocation", .object(place))])])),
        ])
    }

    /// A path as a relative reference or a file URI (RFC 3986).
    private static func uri(_ path: String) -> String {
        var out = path.hasPrefix("/") ? "file://" : ""
        for byte in path.utf8 {
            let isPlain = TextRule.isLetter(byte) || TextRule.isDigit(byte) || "/._~-".utf8.contains(byte)
            out += isPlain ? String(Unicode.Scalar(byte)) : "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
        }
        return out
    }
}
