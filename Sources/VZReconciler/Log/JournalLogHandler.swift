internal import Glibc
public import Logging

/// Where the daemon's log goes: standard error, in the form that its reader wants.
public enum DaemonLog {
    /// For `LoggingSystem.bootstrap`: `JournalLogHandler` when standard error is the journal's, else lines with the time for people.
    public static func handler(label: String) -> any LogHandler {
        isJournal(STDERR_FILENO, Node.environment["JOURNAL_STREAM"])
            ? JournalLogHandler(file: STDERR_FILENO) : StreamLogHandler.standardError(label: label)
    }

    /// Whether a descriptor is the connection to the journal that the service manager told of, `DEVICE:INODE` (systemd.exec(5)).
    static func isJournal(_ file: Int32, _ told: String?) -> Bool {
        var info = stat()
        guard let told, fstat(file, &info) == 0 else { return false }
        return told == "\(info.st_dev):\(info.st_ino)"
    }
}

/// Lines for the journal: `<4>message reason=Drift ctid=101`, the number being the priority of sd-daemon(3). The journal knows time and
/// program by itself.
public struct JournalLogHandler: LogHandler {
    public var logLevel = Logger.Level.info
    public var metadata = Logger.Metadata()
    public var metadataProvider: Logger.MetadataProvider?
    private let file: Int32

    /// - Parameter file: a descriptor that stays open.
    public init(file: Int32) { self.file = file }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        var all = metadata
        if let provided = metadataProvider?.get() { all.merge(provided) { $1 } }
        if let given = event.metadata { all.merge(given) { $1 } }
        let text = Self.text(event.level, "\(event.message)", all)
        // One call for all lines. There is nobody left to tell when standard error itself fails.
        _ = Array(text.utf8).withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
    }

    static func text(_ level: Logger.Level, _ message: String, _ metadata: Logger.Metadata) -> String {
        let pairs = metadata.sorted { $0.key < $1.key }.map { " \($0.key)=\(quoted("\($0.value)"))" }.joined()
        // Each line of a message is a line of the journal's.
        return (message + pairs).split(separator: "\n").map { "<\(priority(level))>\($0)\n" }.joined()
    }

    private static func quoted(_ text: String) -> String {
        guard text.isEmpty || text.contains(where: { " \"=\n".contains($0) }) else { return text }
        let escaped = text.map { $0 == "\"" || $0 == "\\" ? "\\\($0)" : $0 == "\n" ? "\\n" : String($0) }.joined()
        return "\"\(escaped)\""
    }

    private static func priority(_ level: Logger.Level) -> Int {
        switch level {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }
}
