internal import Glibc

/// Times of one kind, in seconds.
struct Times {
    private var sorted: [Double] = []

    init(_ values: [Double] = []) { sorted = values.sorted() }

    mutating func add(_ value: Double) {
        sorted.append(value)
        sorted.sort()
    }

    /// The smallest value that at least this part of all values does not exceed (nearest rank).
    func quantile(_ part: Double) -> Double {
        guard !sorted.isEmpty else { return .nan }
        return sorted[min(max(Int((part * Double(sorted.count)).rounded(.up)) - 1, 0), sorted.count - 1)]
    }

    var p50: Double { quantile(0.5) }
    var p95: Double { quantile(0.95) }
    var count: Int { sorted.count }

    func map(_ change: (Double) -> Double) -> Times { Times(sorted.map(change)) }
}

enum Clock {
    /// Seconds of wall time, from some moment on.
    static func now() -> Double { read(CLOCK_MONOTONIC) }

    /// Seconds of CPU time that this process has used, all threads together.
    static func ownCPU() -> Double { read(CLOCK_PROCESS_CPUTIME_ID) }

    /// Seconds of CPU time that another process has used, all threads together, ended ones too.
    static func cpu(of process: pid_t) -> Double {
        var clock = clockid_t()
        return clock_getcpuclockid(process, &clock) == 0 ? read(clock) : .nan
    }

    /// Waits; only between two measurements, or between two looks for an event.
    static func pause(_ seconds: Double) {
        // An interrupted wait is only shorter.
        var time = timespec(tv_sec: Int(seconds), tv_nsec: Int((seconds - seconds.rounded(.down)) * 1e9))
        nanosleep(&time, nil)
    }

    /// Looks every `step` seconds whether something has happened.
    /// - Throws: `Broken` when it has not within `seconds`.
    static func wait(_ what: String, within seconds: Double = 60, step: Double = 0.005, until done: () throws -> Bool) throws {
        let deadline = now() + seconds
        while try !done() {
            guard now() < deadline else { throw Broken("not seen within \(Int(seconds)) s: \(what)") }
            pause(step)
        }
    }

    private static func read(_ clock: clockid_t) -> Double {
        var time = timespec()
        return clock_gettime(clock, &time) == 0 ? Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9 : .nan
    }
}

/// Why there is no result.
struct Broken: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

extension Double {
    /// With so many digits behind the point.
    func fixed(_ digits: Int) -> String {
        guard isFinite else { return "-" }
        var scale = 1.0
        for _ in 0..<digits { scale *= 10 }
        let whole = Int((magnitude * scale).rounded())
        let sign = self < 0 && whole > 0 ? "-" : ""
        guard digits > 0 else { return "\(sign)\(whole)" }
        let fraction = String(whole % Int(scale))
        return "\(sign)\(whole / Int(scale)).\(String(repeating: "0", count: digits - fraction.count))\(fraction)"
    }

    /// Seconds as people read them.
    var milliseconds: String { (self * 1e3).fixed(2) + " ms" }
    var microseconds: String { (self * 1e6).fixed(1) + " µs" }
}
