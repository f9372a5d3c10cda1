import Glibc
import Logging
import Synchronization
import Testing
import VZReconciler

/// A directory of its own for one test, removed at the end.
final class TemporaryDirectory: Sendable {
    let path: String

    init(in parent: String = "/tmp") throws {
        var template = Array("\(parent)/vz-test.XXXXXX".utf8CString)
        path = try #require(mkdtemp(&template).map { String(cString: $0) })
    }

    deinit { _ = try? run(["rm", "-rf", path]) }

    /// Makes a subdirectory.
    func directory(_ name: String) throws -> String {
        let path = "\(path)/\(name)"
        try #require(mkdir(path, 0o755) == 0)
        return path
    }
}

/// Writes a file in one go, mode 0644.
func put(_ bytes: some Sequence<UInt8>, _ path: String, mode: mode_t = 0o644) throws {
    let bytes = Array(bytes)
    let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
    try #require(file >= 0, "\(path)")
    defer { close(file) }
    try #require(write(file, bytes, bytes.count) == bytes.count)
    try #require(fchmod(file, mode) == 0)
}

func put(_ text: String, _ path: String) throws { try put(text.utf8, path) }

func bytes(of path: String) throws -> [UInt8] {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    try #require(file >= 0, "\(path)")
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 1 << 21)
    let count = read(file, &bytes, bytes.count)
    try #require(count >= 0)
    return Array(bytes[..<count])
}

func mode(of path: String) throws -> mode_t {
    var status = stat()
    try #require(lstat(path, &status) == 0)
    return status.st_mode & 0o7777
}

func exists(_ path: String) -> Bool {
    var status = stat()
    return lstat(path, &status) == 0
}

/// A program that runs beside the test, its input and output at our end of a socket.
final class Child {
    let pid: pid_t
    private let socket: Int32
    private var code: Int32?

    init(_ arguments: [String]) throws {
        var ends: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0)
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, ends[1], 0)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        defer { for argument in argv { free(argument) } }
        var pid = pid_t()
        let error = posix_spawnp(&pid, arguments[0], &actions, nil, &argv, environ)
        close(ends[1])
        socket = ends[0]
        self.pid = pid
        try #require(error == 0, "\(arguments)")
    }

    deinit {
        close(socket)
        if code == nil { kill(pid, SIGKILL) }
        _ = wait()
    }

    /// What it prints, up to a line's end or its own.
    func line() -> String {
        var text: [UInt8] = []
        var byte: UInt8 = 0
        while read(socket, &byte, 1) == 1, byte != UInt8(ascii: "\n") { text.append(byte) }
        return String(decoding: text, as: UTF8.self)
    }

    func output() -> String {
        var lines: [String] = []
        while case let line = line(), !line.isEmpty { lines.append(line) }
        return lines.joined(separator: "\n")
    }

    /// Ends its input and waits for it: its exit code, or 128 + the signal.
    func wait() -> Int32 {
        if let code { return code }
        shutdown(socket, Int32(SHUT_WR))
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        code = status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f)
        return code ?? -1
    }
}

/// Runs a program to its end.
@discardableResult
func run(_ arguments: [String]) throws -> Int32 { try Child(arguments).wait() }

func shell(_ script: String) throws { try #require(run(["sh", "-ec", script]) == 0, "\(script)") }

struct TimedOut: Error {}

/// Runs `work`, cancelling it at the deadline.
func within<T: Sendable>(_ limit: Duration = .seconds(20), _ work: @escaping @Sendable () async throws -> T) async throws -> T {
    try await withThrowingTaskGroup(of: T.self) { group in
        group.addTask { try await work() }
        group.addTask {
            try await Task.sleep(for: limit)
            throw TimedOut()
        }
        defer { group.cancelAll() }
        guard let first = try await group.next() else { throw TimedOut() }
        return first
    }
}

extension Reading {
    /// Whether the list as a whole can be believed: at least one directory was read and none is unavailable. Without that, what
    /// masks what is not known either, so nothing may be removed.
    var trusted: Bool {
        var read = false
        for condition in conditions.values {
            if case .unavailable = condition { return false }
            if condition == .read { read = true }
        }
        return read
    }
}

/// A log that keeps its lines: level and message, metadata behind it.
final class RecordedLog: Sendable {
    private let kept = Mutex<[String]>([])
    var lines: [String] { kept.withLock { $0 } }
    var logger: Logger { Logger(label: "test") { _ in Handler(log: self) } }

    private struct Handler: LogHandler {
        let log: RecordedLog
        var logLevel = Logger.Level.trace
        var metadata = Logger.Metadata()
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }
        func log(event: LogEvent) {
            let pairs = (event.metadata ?? [:]).sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }.joined()
            log.kept.withLock { $0.append("\(event.level) \(event.message)\(pairs)") }
        }
    }
}

extension Acceptance.Removal {
    var isUnknown: Bool { if case .unknown = self { true } else { false } }
}
