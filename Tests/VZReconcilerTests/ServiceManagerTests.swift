import Glibc
import Logging
import ServiceLifecycle
import Synchronization
import Testing

@testable import VZReconciler

/// A real datagram socket, such as the service manager's.
private final class Listener: Sendable {
    let name: String
    private let socket: Int32

    /// - Parameter name: a path, or `@` and a name of the abstract name space.
    init(_ name: String) throws {
        self.name = name
        socket = Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        try #require(socket >= 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var bytes = Array(name.utf8)
        if bytes[0] == UInt8(ascii: "@") { bytes[0] = 0 }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let answer = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(socket, $0, socklen_t(2 + bytes.count)) }
        }
        try #require(answer == 0, "\(name): \(errno)")
        var patience = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(socket) }

    /// The next datagram; `nil` when none comes, or with `now` none is there.
    func next(now: Bool = false) -> String? {
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = recv(socket, &bytes, bytes.count, now ? Int32(MSG_DONTWAIT) : 0)
        return count < 0 ? nil : String(decoding: bytes[..<count], as: UTF8.self)
    }
}

@Suite(.timeLimit(.minutes(2))) struct ServiceManagerTests {
    private let temporary: TemporaryDirectory
    private let log = RecordedLog()

    init() throws { temporary = try TemporaryDirectory() }

    private func manager(_ environment: [String: String]) -> ServiceManager {
        ServiceManager(environment: environment, log: log.logger)
    }

    @Test(arguments: [false, true]) func whatIsSaidArrives(_ isAbstract: Bool) throws {
        let name = isAbstract ? "@\(temporary.path)/vz-notify" : "\(temporary.path)/notify"
        let listener = try Listener(name)
        let manager = manager(["NOTIFY_SOCKET": name])
        #expect(manager.isPresent)
        manager.ready("watching /etc/vz.d, 3 containers")
        #expect(listener.next() == "READY=1\nSTATUS=watching /etc/vz.d, 3 containers")
        manager.say("two\nlines")
        #expect(listener.next() == "STATUS=two lines")
        manager.feedWatchdog()
        #expect(listener.next() == "WATCHDOG=1")
        manager.stopping()
        #expect(listener.next() == "STOPPING=1\nSTATUS=stopping; containers go on running")
        #expect(log.lines == [])
    }

    @Test func aReloadTellsItsTime() throws {
        let listener = try Listener("\(temporary.path)/notify")
        let manager = manager(["NOTIFY_SOCKET": listener.name])
        func monotonic() -> Int64 {
            var time = timespec()
            clock_gettime(CLOCK_MONOTONIC, &time)
            return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
        }
        let before = monotonic()
        manager.reloading()
        let after = monotonic()
        let text = try #require(listener.next())
        let match = try #require(try /RELOADING=1\nMONOTONIC_USEC=([0-9]+)/.wholeMatch(in: text), "\(text)")
        let told = try #require(Int64(match.1))
        #expect((before...after).contains(told))
    }

    @Test func withoutASocketNothingHappens() async throws {
        for environment in [[:], ["NOTIFY_SOCKET": ""], ["WATCHDOG_USEC": "1000000"]] {
            let manager = manager(environment)
            #expect(!manager.isPresent && manager.watchdogInterval == nil)
            manager.ready("x")
            manager.stopping()
        }
        #expect(log.lines == [])
    }

    @Test(arguments: ["relative", "/nowhere/notify", "@", "/" + String(repeating: "x", count: 107)])
    func aBadSocketIsToldAndStopsNothing(_ name: String) {
        manager(["NOTIFY_SOCKET": name]).ready("x")
        #expect(log.lines.count == 1 && log.lines[0].hasPrefix("warning tell the service manager \"READY=1\": "), "\(log.lines)")
    }

    @Test func watchdogTimes() {
        func interval(_ usec: String?, _ pid: String? = nil) -> Duration? {
            var environment = ["NOTIFY_SOCKET": "/x"]
            environment["WATCHDOG_USEC"] = usec
            environment["WATCHDOG_PID"] = pid
            return manager(environment).watchdogInterval
        }
        #expect(interval("120000000") == .seconds(60))
        #expect(interval("120000000", "\(getpid())") == .seconds(60))
        #expect(interval("120000000", "\(getpid() + 1)") == nil)
        for usec in [nil, "", "0", "-1", "soon"] { #expect(interval(usec) == nil) }
    }

    @Test func signsOfLifeStopWithTheWork() async throws {
        let listener = try Listener("\(temporary.path)/notify")
        let manager = manager(["NOTIFY_SOCKET": listener.name, "WATCHDOG_USEC": "20000"])
        let (asked, continuation) = AsyncStream<Int>.makeStream()
        let count = Mutex(0)
        let service = manager.service {
            let now = count.withLock { count in
                count += 1
                return count
            }
            continuation.yield(now)
            return now <= 5
        }
        let group = ServiceGroup(services: [service], logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            for await number in asked where number == 10 { break }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
        // Ten times or more it was asked, five times it said yes.
        for _ in 1...5 { #expect(listener.next() == "WATCHDOG=1") }
        #expect(listener.next() == "STOPPING=1\nSTATUS=stopping; containers go on running")
        #expect(listener.next(now: true) == nil)
    }

    @Test func withoutAWatchdogItOnlyTellsTheEnd() async throws {
        let listener = try Listener("\(temporary.path)/notify")
        let service = manager(["NOTIFY_SOCKET": listener.name]).service { true }
        let group = ServiceGroup(services: [service], logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
        #expect(listener.next() == "STOPPING=1\nSTATUS=stopping; containers go on running")
        #expect(listener.next(now: true) == nil)
    }

    /// No other test reads or sets these.
    @Test func childrenAreNotToldOfIt() throws {
        for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] { setenv(name, "x", 1) }
        ServiceManager.hideFromChildren()
        #expect(try Child(["sh", "-c", "env | grep -E '^(NOTIFY_SOCKET|WATCHDOG_)' || echo none"]).output() == "none")
    }
}

/// The units as systemd itself reads them.
@Suite(.timeLimit(.minutes(2))) struct UnitFileTests {
    private let temporary: TemporaryDirectory
    private static let units = ["vzd.service", "vz.service"]

    init() throws { temporary = try TemporaryDirectory() }

    /// The text of a unit in the repository.
    private static func text(_ unit: String) throws -> String {
        let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        return String(decoding: try bytes(of: "/\(root)/examples/systemd/\(unit)"), as: UTF8.self)
    }

    /// What systemd has to say of the units; nothing when they are good. Programs need not be installed for it.
    private func verify(_ change: (String) -> String = { $0 }) throws -> String {
        for unit in Self.units {
            let text = try Self.text(unit).replacing(try Regex("/usr/local/sbin/[a-z]+"), with: "/bin/true")
            try put(change(text), "\(temporary.path)/\(unit)")
        }
        let files = Self.units.map { "\(temporary.path)/\($0)" }.joined(separator: " ")
        return try Child([
            "sh", "-c",
            "systemd-analyze verify --man=no \(files) 2>&1 | grep -F '\(temporary.path)'; "
                + "systemd-analyze verify --man=no \(files) >/dev/null 2>&1 || echo failed",
        ]).output()
    }

    @Test func systemdHasNothingToSay() throws { #expect(try verify() == "") }

    @Test func aMistakeWouldBeSeen() throws {
        #expect(try verify { $0.replacing("KillMode=", with: "KilMode=") }.contains("Unknown key"))
        #expect(try verify { $0.replacing("Type=notify", with: "Type=notify-me") }.contains("Failed to parse"))
        #expect(try verify { $0.replacing("/bin/true", with: "/no/such/program") } != "")
    }

    @Test func containersOutliveTheDaemonAndAreStoppedBeforeIt() throws {
        func settings(_ unit: String) throws -> Set<String> {
            Set(try Self.text(unit).split(separator: "\n").filter { !$0.hasPrefix("#") }.map(String.init))
        }
        let daemon = try settings("vzd.service")
        for line in [
            "Type=notify", "ExecReload=/bin/kill -HUP $MAINPID", "KillMode=process", "Delegate=yes", "Restart=on-failure",
            "TasksMax=infinity", "RuntimeDirectory=vz", "RuntimeDirectoryPreserve=yes", "ExecStart=/usr/local/sbin/vzd",
        ] { #expect(daemon.contains(line), "\(line)") }
        // What containers would inherit, or what would put the daemon into a mount namespace of its own.
        let forbidden = [
            "NoNewPrivileges", "SystemCall", "Restrict", "MemoryDeny", "LockPersonality", "Protect", "Private", "ReadOnly", "UMask",
            "Inaccessible", "StateDirectory", "User", "DynamicUser",
        ]
        for word in forbidden { #expect(!daemon.contains { $0.hasPrefix(word) }, "\(word)") }
        let node = try settings("vz.service")
        for line in ["Type=oneshot", "RemainAfterExit=yes", "ExecStop=/usr/local/sbin/vzctl shutdown", "After=vzd.service"] {
            #expect(node.contains(line), "\(line)")
        }
    }
}
