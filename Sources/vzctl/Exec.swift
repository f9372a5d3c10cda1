internal import ArgumentParser
internal import Glibc
internal import VZIsolation
internal import VZKernel
internal import VZReconciler

/// `vzctl exec`: a command inside, with our own standard input and output, or on a terminal of the container's when ours is one.
struct Exec: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run a command inside a running container.",
        discussion:
            "Exit code: the command's own; 128+N when signal N ended it; 127 no such command; 31 the container is not running.")

    @Argument(help: "Name or CTID.")
    var name: String

    @Argument(parsing: .captureForPassthrough, help: "The command and its arguments; a -- before them is left out.")
    var command: [String] = []

    func run() throws {
        let command = command.first == "--" ? Array(command.dropFirst()) : command
        guard !command.isEmpty else { throw ValidationError("give the command to run: vzctl exec \(name) -- COMMAND") }
        let terminal = isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1
        try runInside(name, command, onTerminal: terminal)
    }
}

/// `vzctl enter`: a shell inside, on a terminal of the container's.
struct Enter: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Get a root shell inside a running container.",
        discussion: "Exit code: the shell's own; 31 when the container is not running.")

    @Argument(help: "Name or CTID.")
    var name: String

    func run() throws {
        // A login shell of what there is: bash where the container has it.
        let shell = "if [ -x /bin/bash ]; then exec /bin/bash -l; else exec /bin/sh -l; fi"
        try runInside(name, ["/bin/sh", "-c", shell], onTerminal: true)
    }
}

/// Runs a command in a container and ends as it ends.
private func runInside(_ name: String, _ command: [String], onTerminal: Bool) throws {
    var status: Int32 = 0
    try report {
        let (_, handle, process) = try NodeAccess(changing: false).running(name)
        var environment: [String: String] = [:]
        if onTerminal { environment["TERM"] = Node.environment["TERM"] ?? "linux" }
        var entry = ContainerEntry(command: command, environment: environment)
        entry.lockedPages = try handle.keptPagesOfEntry()
        do {
            status = try exitStatus(of: entry, in: process, handle.group, onTerminal: onTerminal)
        } catch let error as KernelError {
            guard error.action.hasPrefix("execute ") else { throw error }
            // As a shell says it: 127 not found, 126 found and not to be executed.
            say("vzctl: \(error)")
            status = error.errno == ENOENT ? 127 : 126
        }
    }
    if status != 0 { throw ExitCode(status) }
}

private func exitStatus(of entry: ContainerEntry, in process: PidFD, _ group: ControlGroup, onTerminal: Bool) throws -> Int32 {
    let ended: PidFD.Exit
    if onTerminal {
        let terminal = try PseudoTerminal(inRootOf: process)
        ended = try TerminalSession(terminal).run(try entry.run(in: process, group: group, terminal: terminal))
    } else {
        ended = try SignalRelay.wait(for: try entry.run(in: process, group: group))
    }
    switch ended {
    case .code(let code): return code
    case .signal(let number): return 128 + number
    }
}
