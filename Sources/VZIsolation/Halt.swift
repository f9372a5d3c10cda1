internal import Glibc
internal import VZKernel

/// How to ask a container's process 1 to stop. Each init has its own word for it; one that listens to none is killed.
enum Halt {
    /// The signal to send, by what process 1 catches; `nil`: it catches nothing that means "stop", and in its pid namespace the kernel
    /// keeps every other signal but SIGKILL from it (pid_namespaces(7)).
    static func signal(forCaught caught: UInt64) -> Int32? {
        func catches(_ signal: Int32) -> Bool { caught & (1 << UInt64(signal - 1)) != 0 }
        // systemd(1): SIGRTMIN+4 starts poweroff.target; its SIGTERM means "execute yourself anew".
        if catches(realTimeMinimum + 4) && catches(realTimeMinimum + 3) { return realTimeMinimum + 4 }
        // busybox' init: SIGUSR2 powers off; its SIGTERM reboots. It catches both, and SIGUSR1 for halt.
        if catches(SIGUSR1) && catches(SIGUSR2) && catches(SIGTERM) && catches(SIGQUIT) { return SIGUSR2 }
        if catches(SIGTERM) { return SIGTERM }
        if catches(SIGPWR) { return SIGPWR }
        return nil
    }

    /// The first real-time signal as programs inside count it: glibc and musl keep the kernel's 32 and 33 for themselves.
    private static let realTimeMinimum: Int32 = 34

    /// The signals that a process catches: `SigCgt` of /proc/PID/status (proc(5)).
    static func caught(by process: PidFD) -> UInt64 {
        guard let status = try? KernelFile.read("/proc/\(process.pid)/status"), process.isRunning,
            let line = status.split(separator: "\n").first(where: { $0.hasPrefix("SigCgt:") })
        else { return 0 }
        return UInt64(line.dropFirst(7).trimmingPrefix { $0 == "\t" || $0 == " " }, radix: 16) ?? 0
    }
}
