internal import Glibc
internal import VZKernel

/// How to ask a container's process 1 to stop. Each init has its own word for it; one that listens to none is killed.
enum Halt {
    /// The signal to send to a container's process 1.
    static func signal(for process: PidFD) -> Int32? {
        signal(program: process.program, command: command(process), listening: listening(process))
    }

    /// The signal to send, by the program, the name that it runs under, and the signals that it catches or waits for; `nil`: it listens
    /// to nothing that means "stop", and in its pid namespace the kernel keeps every other signal but SIGKILL from it
    /// (pid_namespaces(7)).
    static func signal(program: String, command: String, listening: UInt64) -> Int32? {
        func listens(_ signal: Int32) -> Bool { listening & (1 << UInt64(signal - 1)) != 0 }
        // systemd(1): SIGRTMIN+4 starts poweroff.target; its SIGTERM means "execute yourself anew".
        if listens(realTimeMinimum + 4) && listens(realTimeMinimum + 3) { return realTimeMinimum + 4 }
        // busybox' init: SIGUSR2 powers off, SIGTERM reboots. It takes them by sigtimedwait(2), which shows nowhere.
        // Its other applets do not know them.
        if program == "busybox" && command == "init" && !listens(SIGTERM) { return SIGUSR2 }
        if listens(SIGTERM) { return SIGTERM }
        if listens(SIGPWR) { return SIGPWR }
        return nil
    }

    /// Asks a process to stop and waits, `timeout` at most. `true` when it has ended.
    static func ask(_ process: PidFD, timeout: Duration) throws(KernelError) -> Bool {
        let deadline = ContinuousClock.now + timeout
        var signal = signal(for: process)
        while let sent = signal {
            try process.send(signal: sent)
            // An init that is not ready yet drops what it will listen to later. The one that shows what it listens to is asked once:
            // a second SIGTERM makes some programs hurry.
            let last = sent != SIGUSR2
            let left = (deadline - .now).components
            let milliseconds = left.seconds * 1000 + left.attoseconds / 1_000_000_000_000_000
            if process.waitForExit(milliseconds: Int32(clamping: max(0, last ? milliseconds : min(milliseconds, 1000)))) {
                return true
            }
            if last || milliseconds <= 0 { return false }
            signal = self.signal(for: process)
        }
        return false
    }

    /// The first real-time signal as programs inside count it: glibc and musl keep the kernel's 32 and 33 for themselves.
    private static let realTimeMinimum: Int32 = 34

    private static func command(_ process: PidFD) -> String {
        guard let name = try? KernelFile.read("/proc/\(process.pid)/comm"), process.isRunning else { return "" }
        return name
    }

    /// The signals that a process catches, or blocks, as one does that reads them from a signalfd (proc(5): SigCgt, SigBlk).
    private static func listening(_ process: PidFD) -> UInt64 {
        guard let status = try? KernelFile.read("/proc/\(process.pid)/status"), process.isRunning else { return 0 }
        var signals: UInt64 = 0
        for line in status.split(separator: "\n") where line.hasPrefix("SigCgt:") || line.hasPrefix("SigBlk:") {
            signals |= UInt64(line.dropFirst(7).trimmingPrefix { $0 == "\t" || $0 == " " }, radix: 16) ?? 0
        }
        return signals
    }
}
