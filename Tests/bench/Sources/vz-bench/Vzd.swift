internal import Glibc
internal import VZKernel

/// A daemon on this node's directories. It ends with this process.
struct Vzd {
    let child: Child
    private let log: String

    /// Starts it; returns when it watches the directories.
    init(_ program: String, log: String) throws {
        self.log = log
        let before = ((try? KernelFile.read(log)) ?? "").count
        // Nothing but the interval's looks, which are far apart, and those that are asked for.
        child = try Child(["setpriv", "--pdeathsig", "TERM", program, "--interval", "3600", "--log-level", "debug"], log: log)
        let started = self
        try Clock.wait("vzd watches its directories") {
            if started.child.hasEnded { throw Broken("vzd ended: \((try? KernelFile.read(log)) ?? "")") }
            return ((try? KernelFile.read(log)) ?? "").dropFirst(before).contains("watching")
        }
        try settle()
    }

    func stop() {
        kill(child.pid, SIGTERM)
        _ = child.wait()
    }

    /// Waits until it has used no CPU time for a while.
    /// - Returns: when it used some for the last time, and how much in all.
    @discardableResult
    func settle(quiet: Double = 0.06) throws -> (last: Double, cpu: Double) {
        var seen = Clock.cpu(of: child.pid)
        var last = Clock.now()
        try Clock.wait("vzd has nothing to do", within: 300, step: 0.0005) {
            let cpu = Clock.cpu(of: child.pid)
            let now = Clock.now()
            if cpu != seen { (seen, last) = (cpu, now) }
            return now - last > quiet
        }
        return (last, seen)
    }

    /// Asks for one look at everything: seconds of CPU time, and of wall time until it was still again.
    func look() throws -> (cpu: Double, wall: Double) {
        let before = try settle().cpu
        let begin = Clock.now()
        kill(child.pid, SIGHUP)
        // The signal takes a moment to arrive: quiet begins with the first work.
        try Clock.wait("vzd answers SIGHUP", within: 10, step: 0.0001) { Clock.cpu(of: child.pid) > before }
        let after = try settle()
        return (after.cpu - before, after.last - begin)
    }

    /// Resident memory in bytes: all of it, and the part that no file backs.
    func memory() throws -> (resident: Int, anonymous: Int) {
        let text = try KernelFile.read("/proc/\(child.pid)/status")
        func field(_ name: String) -> Int {
            let line = text.split(separator: "\n").first { $0.hasPrefix(name + ":") }
            return (line?.split { $0 == " " || $0 == "\t" }.dropFirst().first.flatMap { Int($0) } ?? 0) * 1024
        }
        return (field("VmRSS"), field("RssAnon"))
    }
}
