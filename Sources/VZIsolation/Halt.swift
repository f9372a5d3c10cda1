internal import Glibc
internal import VZKernel

/// How to ask a container's process 1 to stop. Each init has its own word for it; one that listens to none is killed.
enum Halt {
    /// The signal to send to a container's process 1.
    static func signal(for process: PidFD) -> Int32? {
        signal(program: process.program, listening: listening(process))
    }

    /// The signal to send, by the program and by the signals that it catches or waits for; `nil`: it listens to nothing that means
    /// "stop", and in its pid namespace the kernel keeps every other signal but SIGKILL from it (pid_namespaces(7)).
    static func signal(program: String, listening: UInt64) -> Int32? {
        func listens(_ signal: Int32) -> Bool { listening & (1 << UInt64(signal - 1)) != 0 }
        // systemd(1): SIGRTMIN+4 starts poweroff.target; its SIGTERM means "execute yourself anew".
        if listens(realTimeMinimum + 4) && listens(realTimeMinimum + 3) { return realTimeMinimum + 4 }
        // busybox' init: SIGUSR2 powers off, SIGTERM reboots. It takes them by sigtimedwait(2), which shows nowhere.
        if program == "busybox" && !listens(SIGTERM) { return SIGUSR2 }
        if listens(SIGTERM) { return SIGTERM }
        if listens(SIGPWR) { return SIGPWR }
        return nil
    }

    /// The first real-time signal as programs inside count it: glibc and musl keep the kernel's 32 and 33 for themselves.
    private static let realTimeMinimum: Int32 = 34

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
