internal import AsyncAlgorithms
internal import Glibc
public import Logging
public import ServiceLifecycle
internal import VZKernel

/// The service manager that started this process, if one did and wants to hear of it: the protocol of sd_notify(3), datagrams to the
/// socket that `NOTIFY_SOCKET` names.
///
/// Without `NOTIFY_SOCKET` every call does nothing. A message that cannot be sent is told in the log and stops nothing.
public final class ServiceManager: Sendable {
    private let socketName: String?
    private let watchdogTime: Duration?
    private let log: Logger

    /// - Parameters:
    ///   - environment: this process'.
    ///   - log: for messages that cannot be sent.
    public init(environment: [String: String] = Node.environment, log: Logger) {
        self.log = log
        socketName = environment["NOTIFY_SOCKET"].flatMap { $0.isEmpty ? nil : $0 }
        let isForUs = environment["WATCHDOG_PID"].map { $0 == String(getpid()) } ?? true
        watchdogTime = environment["WATCHDOG_USEC"].flatMap { Int64($0) }.flatMap {
            $0 > 0 && isForUs ? .microseconds($0) : nil
        }
    }

    /// Takes what the service manager told this process alone out of the environment, so that no child speaks in its name. To be called
    /// before there are other threads, after `init`.
    public static func hideFromChildren() {
        for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] { unsetenv(name) }
    }

    /// Whether there is one to talk to.
    public var isPresent: Bool { socketName != nil }

    /// How often it wants a sign of life at most half way before it kills this process; `nil` when it does not watch.
    public var watchdogInterval: Duration? { isPresent ? watchdogTime.map { $0 / 2 } : nil }

    /// The start, or a reload, is over.
    public func ready(_ status: String) { send(["READY=1", "STATUS=\(status)"]) }

    /// One line that `systemctl status` shows.
    public func say(_ status: String) { send(["STATUS=\(status)"]) }

    /// A reload has begun; `ready` ends it.
    public func reloading() {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        send(["RELOADING=1", "MONOTONIC_USEC=\(Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000)"])
    }

    /// This process is about to end.
    public func stopping(_ status: String = "stopping; containers go on running") { send(["STOPPING=1", "STATUS=\(status)"]) }

    /// A sign of life.
    public func feedWatchdog() { send(["WATCHDOG=1"]) }

    /// A service that gives signs of life for as long as `isAlive` says that the work goes on, and tells the end when it is asked to shut
    /// down. Last in its group, it is the first to be asked.
    public func service(isAlive: @escaping @Sendable () -> Bool) -> any Service {
        WatchdogService(manager: self, isAlive: isAlive)
    }

    private func send(_ lines: [String]) {
        guard let socketName else { return }
        do throws(KernelError) {
            // A line break would begin another assignment.
            let text = lines.map { $0.split(separator: "\n").joined(separator: " ") }.joined(separator: "\n")
            try Self.send(Array(text.utf8), to: socketName)
        } catch {
            log.warning("tell the service manager \"\(lines[0])\": \(error)")
        }
    }

    /// One datagram, to the socket at a path or, with `@` for the first byte, in the abstract name space.
    private static func send(_ bytes: [UInt8], to name: String) throws(KernelError) {
        var address = sockaddr_un()
        var path = Array(name.utf8)
        guard path[0] == UInt8(ascii: "/") || path[0] == UInt8(ascii: "@"),
            path.count < MemoryLayout.size(ofValue: address.sun_path)
        else {
            throw KernelError("connect to \"\(name)\"", detail: "expected a path or @NAME of 107 bytes at most in NOTIFY_SOCKET")
        }
        if path[0] == UInt8(ascii: "@") { path[0] = 0 }
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
        let raw = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard raw >= 0 else { throw KernelError("make a socket", errno: errno) }
        let socket = Descriptor(adopting: raw)
        // A reader that is stuck must not stop us.
        var patience = timeval(tv_sec: 5, tv_usec: 0)
        setsockopt(socket.raw, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        let length = socklen_t((MemoryLayout<sockaddr_un>.offset(of: \.sun_path) ?? 2) + path.count)
        let sent = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(socket.raw, bytes, bytes.count, Int32(MSG_NOSIGNAL), $0, length)
            }
        }
        guard sent == bytes.count else { throw KernelError("send to \"\(name)\"", errno: errno) }
    }
}

private struct WatchdogService: Service {
    let manager: ServiceManager
    let isAlive: @Sendable () -> Bool

    func run() async throws {
        if let interval = manager.watchdogInterval {
            for await _ in AsyncTimerSequence(interval: interval, clock: .continuous).cancelOnGracefulShutdown() where isAlive() {
                manager.feedWatchdog()
            }
        } else {
            try await gracefulShutdown()
        }
        manager.stopping()
    }
}
