import Glibc
import Synchronization
import Testing

@testable import VZKernel

/// A program of the host that a test runs, with files as its standard input, output and error.
final class TestProcess {
    let process: PidFD
    private let output: String
    private let errors: String
    private var exit: PidFD.Exit?

    /// - Parameter prefix: where the files for its output go, and how their names begin.
    init(_ argv: [String], environment: [String: String], input: String = "", prefix: String) throws {
        output = prefix + ".out"
        errors = prefix + ".err"
        let inputFile = prefix + ".in"
        try TestFile.write(input, to: inputFile)
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, inputFile, O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        posix_spawn_file_actions_addopen(&actions, 2, errors, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        var arguments = argv.map { strdup($0) } + [nil]
        var variables = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in arguments + variables { free(text) } }
        // As from a shell: our own threads block what they do not handle.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var pid: pid_t = 0
        let failure = posix_spawnp(&pid, argv[0], &actions, &attributes, &arguments, &variables)
        if failure != 0 { throw KernelError("start \(argv)", errno: failure) }
        process = try PidFD(pid: pid)
    }

    /// What it has written to standard error up to now.
    var log: String { (try? TestFile.read(errors)) ?? "" }
    /// What it has written to standard output up to now.
    var text: String { (try? TestFile.read(output)) ?? "" }

    var isRunning: Bool { exit == nil && process.isRunning }

    func send(_ signal: Int32) { try? process.send(signal: signal) }

    /// Waits for the end; `nil`, and the test fails, when it does not come in time.
    @discardableResult func wait() -> PidFD.Exit? {
        if let exit { return exit }
        guard process.waitForExit(milliseconds: TestPlace.patienceMilliseconds) else {
            Issue.record("process \(process.pid) does not end; its log: \(log)")
            return nil
        }
        exit = try? process.waitAsParent()
        return exit
    }

    func kill() {
        send(SIGKILL)
        wait()
    }
}

/// Small files of tests.
enum TestFile {
    static func write(_ text: String, to path: String, mode: mode_t = 0o644) throws {
        try write(Array(text.utf8), to: path, mode: mode)
    }

    /// In one step for whoever looks meanwhile: under another name first.
    static func write(_ bytes: [UInt8], to path: String, mode: mode_t = 0o644) throws {
        let new = path + ".new~"
        do {
            let file = try Descriptor.open(new, O_WRONLY | O_CREAT | O_TRUNC, mode: mode)
            try file.writeAll(bytes, named: new)
        }
        if rename(new, path) != 0 { throw KernelError("rename \(new)", errno: errno) }
    }

    static func read(_ path: String) throws -> String {
        String(decoding: try Descriptor.open(path, O_RDONLY).readAll(limit: 16 << 20, named: path), as: UTF8.self)
    }

    static func exists(_ path: String) -> Bool {
        var info = stat()
        return lstat(path, &info) == 0
    }

    static func status(_ path: String) throws -> stat {
        var info = stat()
        if lstat(path, &info) != 0 { throw KernelError("look at \(path)", errno: errno) }
        return info
    }

    static func link(_ path: String) throws -> String {
        var bytes = [UInt8](repeating: 0, count: 4096)
        let n = bytes.withUnsafeMutableBufferPointer { buffer in
            buffer.withMemoryRebound(to: CChar.self) { $0.baseAddress.map { readlink(path, $0, buffer.count) } ?? -1 }
        }
        if n < 0 { throw KernelError("read link \(path)", errno: errno) }
        return String(decoding: bytes[0..<n], as: UTF8.self)
    }
}

/// Where the tests work, and how patient they are.
enum TestPlace {
    /// A directory on a file system whose mounts can be id-mapped.
    static let directory: String = {
        if let path = getenv("VZ_TEST_DIR") { return String(cString: path) }
        var template = Array("/var/tmp/vz-tests.XXXXXX".utf8CString)
        mkdtemp(&template)
        let path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        removeAtExit(path)
        return path
    }()

    private static let toRemove = Mutex<[String]>([])

    /// Removes a directory when this process ends.
    static func removeAtExit(_ path: String) {
        toRemove.withLock { paths in
            if paths.isEmpty {
                atexit { _ = try? Command.run(["rm", "-rf", "--one-file-system", "--"] + TestPlace.toRemove.withLock { $0 }) }
            }
            paths.append(path)
        }
    }

    /// Where the programs that count beancounters are pinned: one set for all nodes of this process, and gone with it.
    static let programsInKernel: String = {
        let path = directory + "/bpf"
        atexit { try? BPFFileSystem.unmount(TestPlace.directory + "/bpf") }
        return path
    }()

    /// Whether this is the test bed's virtual machine, where starting a program takes 50 times as long.
    static let isVirtualMachine = getenv("VZ_TEST_VM") != nil

    /// Whether tests shall take the time to try everything, and not only a part of it each time.
    static let isThorough = getenv("VZ_TEST_THOROUGH") != nil

    static let patience: Duration = isVirtualMachine ? .seconds(120) : .seconds(30)
    static var patienceMilliseconds: Int32 { Int32(patience.components.seconds) * 1000 }

    /// The folder of the programs that were built together with these tests.
    static let programs: String = {
        let path = (try? TestFile.link("/proc/self/exe")) ?? CommandLine.arguments[0]
        return String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
    }()

    /// Looks until `condition` holds; `false`, and the test fails, when it does not in time.
    @discardableResult
    static func wait(
        _ what: String, until condition: () throws -> Bool, note: () -> String = { "" },
        sourceLocation: SourceLocation = #_sourceLocation
    ) rethrows -> Bool {
        let deadline = ContinuousClock.now + patience
        while true {
            if try condition() { return true }
            guard ContinuousClock.now < deadline else {
                Issue.record("waited \(patience) in vain: \(what) \(note())", sourceLocation: sourceLocation)
                return false
            }
            poll(nil, 0, 5)
        }
    }
}
