/// A place in a manifest file. Lines and columns count from 1; a column is a character (a Unicode code point), as editors count.
public struct SourceLocation: Equatable, Hashable, Comparable, Sendable, Codable, CustomStringConvertible {
    /// The path as it was given to the parser.
    public let file: String
    public let line: Int
    public let column: Int

    public init(file: String, line: Int, column: Int) {
        self.file = file
        self.line = line
        self.column = column
    }

    /// By file, then line, then column.
    public static func < (a: Self, b: Self) -> Bool { (a.file, a.line, a.column) < (b.file, b.line, b.column) }

    /// `file:line:column`, the form that editors jump to. Control characters in the file's name are shown as escapes.
    public var description: String { "\(Quoting.visible(file)):\(line):\(column)" }
}

/// One mistake in a manifest, at its place; or something that is no mistake but worth a word.
public struct Diagnostic: Equatable, Sendable, CustomStringConvertible {
    public let location: SourceLocation
    /// Path of the field, such as `spec.cpuunits`; empty when the mistake lies in no field.
    public let field: String
    /// What was expected, and what stands there.
    public let message: String
    /// An error refuses the document; a warning or an advice does not.
    public let severity: Severity
    /// The id of the consistency rule that is broken; `nil` when it is no such rule.
    public let rule: String?
    /// The line that `location` points into, control characters made visible; `nil` when it is not text or too long to show.
    public let sourceLine: String?

    public init(
        location: SourceLocation, field: String = "", message: String, severity: Severity = .error, rule: String? = nil,
        sourceLine: String? = nil
    ) {
        self.location = location
        self.field = field
        self.message = message
        self.severity = severity
        self.rule = rule
        self.sourceLine = sourceLine
    }

    /// `file:line:column: field: message`; behind the place its severity when it is no error, at the end the rule that is broken.
    public var description: String {
        "\(location): " + (severity == .error ? "" : "\(severity.rawValue): ") + (field.isEmpty ? "" : "\(field): ") + message
            + (rule.map { " [\($0)]" } ?? "")
    }

    /// `description`, then the line of the file and a caret under its column, as far as the line is known.
    public func withCaret() -> String {
        guard let sourceLine else { return description }
        // A tab keeps its width only when the caret's line has a tab at the same place.
        let indent = sourceLine.unicodeScalars.prefix(location.column - 1).map { $0 == "\t" ? "\t" : " " }.joined()
        return "\(description)\n\(sourceLine)\n\(indent)^"
    }

    /// The order of a report: by place, then field, then message.
    static func inOrder(_ a: Self, _ b: Self) -> Bool {
        (a.location, a.field, a.message) < (b.location, b.field, b.message)
    }

    /// The same with the line that it points into.
    func showing(_ line: String?) -> Diagnostic {
        Diagnostic(
            location: location, field: field, message: message, severity: severity, rule: rule, sourceLine: sourceLine ?? line)
    }
}
