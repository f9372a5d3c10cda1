internal import Glibc
internal import VZKernel

/// A program that this one starts: no input, no output, and what it says is kept in a file.
struct Child {
    let pid: pid_t

    /// - Parameter log: gets its standard error.
    init(_ arguments: [String], log: String) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 2, log, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        defer { for argument in argv { free(argument) } }
        var pid: pid_t = 0
        let error = posix_spawnp(&pid, arguments.first ?? "", &actions, nil, &argv, environ)
        guard error == 0 else {
            throw Broken("cannot start \(arguments.joined(separator: " ")): \(String(cString: strerror(error)))")
        }
        self.pid = pid
    }

    /// Waits for its end and gives its wait status.
    func wait() -> Int32 {
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        return status
    }

    var hasEnded: Bool {
        var information = siginfo_t()
        return waitid(P_PID, id_t(pid), &information, WEXITED | WNOHANG | WNOWAIT) != 0 || information.si_signo != 0
    }

    /// Runs a program to its end and gives the seconds from before its start until it has ended.
    @discardableResult
    static func run(_ arguments: [String], log: String) throws -> Double {
        let begin = Clock.now()
        let status = try Child(arguments, log: log).wait()
        let time = Clock.now() - begin
        guard status == 0 else {
            let said = (try? KernelFile.read(log)) ?? ""
            throw Broken("\(arguments.joined(separator: " ")) ended with wait status \(status): \(said.suffix(1000))")
        }
        return time
    }
}
