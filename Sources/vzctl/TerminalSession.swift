internal import Glibc
internal import VZKernel

/// Carries bytes between our terminal and a container's until the program there ends.
struct TerminalSession {
    private let terminal: PseudoTerminal
    private let isTerminal: Bool

    init(_ terminal: PseudoTerminal) {
        self.terminal = terminal
        isTerminal = isatty(STDIN_FILENO) == 1
    }

    /// Our terminal is raw meanwhile, and as it was afterwards.
    func run(_ process: PidFD) throws(KernelError) -> PidFD.Exit {
        var before = termios()
        if isTerminal {
            tcgetattr(STDIN_FILENO, &before)
            var raw = before
            cfmakeraw(&raw)
            tcsetattr(STDIN_FILENO, TCSADRAIN, &raw)
            terminal.copySize(from: STDIN_FILENO)
            // Without SA_RESTART: a change of size ends the poll below, which then copies it.
            var action = sigaction()
            action.__sigaction_handler.sa_handler = { _ in }
            sigaction(SIGWINCH, &action, nil)
        }
        defer { if isTerminal { tcsetattr(STDIN_FILENO, TCSADRAIN, &before) } }
        pump(until: process)
        return try process.waitAsParent()
    }

    private func pump(until process: PidFD) {
        var requests = [
            pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0),
            pollfd(fd: terminal.master.raw, events: Int16(POLLIN), revents: 0),
            pollfd(fd: process.descriptor.raw, events: Int16(POLLIN), revents: 0),
        ]
        var timeout: Int32 = -1
        while true {
            let count = poll(&requests, 3, timeout)
            if count < 0 {
                guard errno == EINTR else { return }
                if isTerminal { terminal.copySize(from: STDIN_FILENO) }
                continue
            }
            if count == 0 { return }
            // What the program wrote before it ended is still on its way: the end of the master comes after it.
            if requests[1].revents != 0 {
                guard copy(from: terminal.master.raw, to: STDOUT_FILENO) else { return }
                continue
            }
            if requests[2].revents != 0 {
                // Something that it left in the background may keep the terminal open: that is not waited for.
                (requests[2].fd, timeout) = (-1, 200)
            }
            if requests[0].revents != 0, !copy(from: STDIN_FILENO, to: terminal.master.raw) {
                requests[0].fd = -1
                // End of a piped input: what a person at a terminal says with control-D.
                if !isTerminal { _ = try? terminal.master.writeAll([4], named: "terminal") }
            }
        }
    }

    /// `false` at the end of the input.
    private func copy(from: Int32, to: Int32) -> Bool {
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = read(from, &bytes, bytes.count)
        if count <= 0 { return count < 0 && errno == EINTR }
        var done = 0
        while done < count {
            let n = bytes.withUnsafeBytes { write(to, $0.baseAddress.map { $0 + done }, count - done) }
            if n < 0 && errno != EINTR { return false }
            done += max(n, 0)
        }
        return true
    }
}
