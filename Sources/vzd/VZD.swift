internal import ArgumentParser
internal import Glibc
internal import Logging
internal import ServiceLifecycle
internal import UnixSignals
internal import VZReconciler

/// The daemon: parses arguments, starts services, nothing more.
@main
struct VZD: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vzd",
        abstract: "Keeps the containers of this node as the manifests in /etc/vz.d say.",
        discussion: """
            Reads all manifests when one changes, every --interval seconds, and on SIGHUP; compares them with what the kernel holds; \
            and makes the difference. Containers outlive it: SIGTERM, SIGKILL and an upgrade leave them running.

            Environment: VZ_CONFIG_DIR (/usr/lib/vz.d:/etc/vz.d:/run/vz.d), VZ_STATE_DIR (/var/lib/vz), VZ_RUN_DIR (/run/vz), \
            VZ_CGROUP (vz).
            Exit codes: 0 stopped by a signal, 1 failed, 75 another vzd runs, 77 not root.
            """)

    @Option(help: "Seconds between two looks at everything.")
    var interval: Int = 30

    @Option(help: "Least level that is logged: trace, debug, info, notice, warning, error, critical.")
    var logLevel: String = "info"

    @Option(help: "Seconds that a container may take to stop before it is killed, instead of its stop_timeout.")
    var stopTimeout: Int?

    static func main() async {
        Daemon.postponeSignals()
        await main(nil)
    }

    func validate() throws {
        guard (1...3600).contains(interval) else { throw ValidationError("--interval: expected 1…3600 seconds, got \(interval)") }
        if let stopTimeout, !(0...3600).contains(stopTimeout) {
            throw ValidationError("--stop-timeout: expected 0…3600 seconds, got \(stopTimeout)")
        }
        guard Logger.Level(rawValue: logLevel) != nil else {
            throw ValidationError("--log-level: expected a level, got \"\(logLevel)\"")
        }
    }

    func run() async throws {
        LoggingSystem.bootstrap { DaemonLog.handler(label: $0) }
        var log = Logger(label: "vzd")
        log.logLevel = Logger.Level(rawValue: logLevel) ?? .info
        do {
            let daemon = try Daemon(
                options: Daemon.Options(interval: .seconds(interval), stopTimeout: stopTimeout.map { .seconds($0) }), log: log)
            let group = ServiceGroup(
                configuration: ServiceGroupConfiguration(
                    services: daemon.services.map { .init(service: $0) }, gracefulShutdownSignals: [.sigterm, .sigint], logger: log)
            )
            try await group.run()
        } catch let error as Daemon.Refusal {
            log.critical("\(error.message)")
            throw ExitCode(error.code)
        } catch {
            log.critical("\(error)")
            throw ExitCode(1)
        }
        // Threads that are in the middle of a change are left as they are: a crash must be survived as well.
        log.info("stopped; containers go on running")
    }
}
