internal import Glibc
public import VZKernel

/// A program started inside a running container, as our own child: `exec` and `enter`.
public struct ContainerEntry: Sendable {
    public var command: [String]
    public var environment: [String: String]

    /// Has what it locks into memory held (`ContainerHandle.keptPages`).
    public var lockedPages: KeptPages?

    public init(command: [String], environment: [String: String] = [:]) {
        self.command = command
        self.environment = environment
    }

    /// Starts the program with our own standard input, output and error, in a session of its own: should one of them be a terminal of
    /// the host's, it is none that a program inside can control or type into (TIOCSTI).
    public func run(in process: PidFD, group: ControlGroup) throws(KernelError) -> PidFD {
        try launch(process, group, streams: [.newSession])
    }

    /// Starts the program in a session of its own on a terminal of the container's.
    public func run(in process: PidFD, group: ControlGroup, terminal: PseudoTerminal) throws(KernelError) -> PidFD {
        let peer = try terminal.peer()
        return try launch(
            process, group,
            streams: [.newSession, .controllingTerminal(peer)] + (0..<3).map { Step.duplicate(peer, onto: $0) })
    }

    private func launch(_ process: PidFD, _ group: ControlGroup, streams: [Step]) throws(KernelError) -> PidFD {
        try OwnProcess.hideMemory()
        let capabilities = try Capabilities(DefaultCapabilities.names)
        // Control groups first, while we still are root of the host; the pid namespace is that of the next process made.
        let outer: [Step] =
            try group.openTasksForJoining(unified: true).map { Step.write($0, "0\n") }
            + (lockedPages?.outer ?? []) + [
                .enter(process, .all), .clone([], asChildOfCaller: true), .awaitExec,
            ]
        let inner: [Step] =
            [.setIDs(0), .changeDirectoryPath("/")] + streams + (lockedPages?.inner ?? []) + [
                .setCapabilities(capabilities), .defaultSignals, .closeOnExec(from: 3),
                Program(command, environment: environment).step,
            ]
        let child = try Launcher.launch(outer: outer, inner: inner)
        do throws(KernelError) {
            try lockedPages?.confirm()
        } catch {
            try? child.send(signal: SIGKILL)
            _ = try? child.waitAsParent()
            throw error
        }
        return child
    }
}
