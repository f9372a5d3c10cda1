internal import AsyncAlgorithms
internal import Glibc
public import Logging
public import ServiceLifecycle
internal import UnixSignals
internal import VZIsolation
internal import VZKernel

/// The daemon's parts: the watcher of the directories, the loop, and the signal to look again.
public struct Daemon: Sendable {
    public struct Options: Sendable {
        /// Between two looks at everything.
        public var interval: Duration
        /// How long a container may take to stop; `nil`: as its manifest says.
        public var stopTimeout: Duration?

        public init(interval: Duration = .seconds(30), stopTimeout: Duration? = nil) {
            self.interval = interval
            self.stopTimeout = stopTimeout
        }
    }

    /// Why the daemon does not start.
    public struct Refusal: Error, Sendable {
        public var message: String
        /// An exit code of sysexits(3).
        public var code: Int32
    }

    public let services: [any Service]

    /// Has SIGHUP, SIGTERM and SIGINT wait until the services take them: whoever finds the lock taken may send one before they do. To be
    /// called first of all.
    public static func postponeSignals() { OwnProcess.postpone([SIGHUP, SIGTERM, SIGINT]) }

    /// Takes the node's lock and opens its stores.
    /// - Throws: `Refusal`, `KernelError`, `StoreError`.
    public init(options: Options, log: Logger) throws {
        guard geteuid() == 0 else { throw Refusal(message: "vzd needs root: start it as root", code: 77) }
        OwnProcess.useOneHeap()
        let paths = NodePaths(environment: Node.environment)
        try Descriptor.makeDirectories(paths.run)
        // A vzd that was killed while it started a container has the lock until that start is over.
        guard let lock = try FileLock.lock(paths.run + "/vzd.lock", deadline: .now + .seconds(2)) else {
            let holder = FileLock.holder(of: paths.run + "/vzd.lock").map { " (process \($0))" } ?? ""
            throw Refusal(message: "another vzd runs on \(paths.run)\(holder)", code: 75)
        }
        let watcher = DirectoryWatcher(paths: paths.manifests)
        let node = try Node(paths: paths, patience: .seconds(1), replacing: true, watching: true)
        // What is left of them is in nobody's way.
        try? node.core.forgetEndedBeancounters()
        node.noteBoot()
        let manager = ServiceManager(log: log)
        ServiceManager.hideFromChildren()
        let books = Books(paths: paths, actor: "vzd", log: log, manager: manager)
        let reconciler = try Reconciler(node: node, log: log, stopTimeout: options.stopTimeout, accounts: books)
        services = [
            LoopService(
                watcher: watcher, directories: paths.manifests, reconciler: reconciler, interval: options.interval, lock: lock,
                log: log),
            HangupService(watcher: watcher, reconciler: reconciler, books: books),
            manager.service { reconciler.isAlive },
        ]
    }
}

/// Looks when the directories give a hint, and when the interval is over.
private struct LoopService: Service {
    let watcher: DirectoryWatcher
    let directories: [String]
    let reconciler: Reconciler
    let interval: Duration
    let lock: FileLock
    let log: Logger

    func run() async throws {
        // First of all: libinotifytools wants a low descriptor.
        try await watcher.start()
        try reconciler.start()
        log.info("watching \(directories.joined(separator: ", "))")
        reconciler.look(everything: true)
        for await look in watcher.hints.looks(every: interval).cancelOnGracefulShutdown() {
            if case .hints(let burst) = look { burst.notable.forEach(tell) }
            log.debug("look: \(look)")
            reconciler.look(everything: look == .timer)
        }
        reconciler.stop()
        await watcher.stop()
        withExtendedLifetime(lock) {}
    }

    private func tell(_ hint: Hint) {
        if case .rearmed = hint { log.info("\(hint)") } else { log.warning("\(hint)") }
    }
}

/// SIGHUP: look at everything now, wherever the directories' paths lead by now.
private struct HangupService: Service {
    let watcher: DirectoryWatcher
    let reconciler: Reconciler
    let books: Books

    func run() async throws {
        let hangups = await UnixSignalsSequence(trapping: .sighup)
        // The others are expected since before the services began.
        OwnProcess.resendPostponed()
        for await _ in hangups.cancelOnGracefulShutdown() {
            books.reloading()
            watcher.lookAgain()
            reconciler.look(everything: true)
        }
    }
}
