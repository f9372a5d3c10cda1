internal import ArgumentParser
internal import Glibc
internal import Logging
internal import VZIsolation
internal import VZKernel
internal import VZManifest
internal import VZModel
internal import VZReconciler

/// The command line: one file per verb.
@main
struct VZCtl: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vzctl",
        abstract: "Containers as their manifests say: check, plan, apply, look, and get in.",
        discussion: """
            Environment: VZ_CONFIG_DIR (/usr/lib/vz.d:/etc/vz.d:/run/vz.d), VZ_STATE_DIR (/var/lib/vz), VZ_RUN_DIR (/run/vz), \
            VZ_CGROUP (vz), VZ_GROUP (vz): who may look without being root.
            Exit codes: 0 done, 1 failed, 64 usage, 65 invalid manifests, 66 cannot read, 68 no such container, \
            75 locked or not in time: try again, 77 not root; \
            OpenVZ's verbs answer OpenVZ's numbers: 31 not running, 91 no such template; drift and diff those of diff(1): 1 different, \
            2 failed.
            """,
        subcommands: [
            Validate.self, Fmt.self, Schema.self, Explain.self, PlanCommand.self, Apply.self, Drift.self, Diff.self, List.self,
            Show.self, Status.self, UBC.self, Events.self, History.self, Wait.self,
            Start.self, Stop.self, Restart.self, Hold.self, Release.self, Acknowledge.self, SetCommand.self, Confirm.self,
            Shutdown.self, TrashCommand.self,
            Exec.self, Enter.self, TemplateCommand.self, Import.self, Export.self, CapacityCommand.self, DoctorCommand.self,
        ])
}

/// Why a verb ended without its result: a message for people and an exit code.
struct Failure: Error, CustomStringConvertible {
    var description: String
    var code: ExitStatus

    init(_ description: String, _ code: ExitStatus = .failed) {
        self.description = description
        self.code = code
    }
}

/// Exit codes: sysexits(3), and OpenVZ's for OpenVZ's verbs (`openvz.md` section 7).
enum ExitStatus: Int32 {
    case failed = 1
    case changes = 2
    case notRunning = 31
    case noTemplate = 91
    case usage = 64
    case invalidData = 65
    case unknownContainer = 68
    case noDaemon = 69
    case temporary = 75
    case notRoot = 77
}

/// What every verb on the node begins with.
struct NodeAccess {
    let node: Node

    /// - Parameter changing: the verb makes changes, for which our control group must be there. One that only looks opens nothing for
    ///   writing.
    init(changing: Bool) throws {
        guard geteuid() == 0 else { throw Failure("this verb needs root: run it as root", .notRoot) }
        node = try Node(paths: NodePaths(environment: Node.environment), preparing: changing)
    }

    /// What is done by hand is put down as such. The status files are the daemon's, when there is one.
    var books: Books {
        Books(
            paths: node.paths, actor: "vzctl \(owner())", log: Logger(label: "vzctl") { _ in SwiftLogNoOpLogHandler() },
            troubles: Logger(label: "vzctl") { _ in TroubleHandler() }, keepsStatus: !node.isDaemonRunning)
    }

    /// What the manifests and records say. What cannot be read of the records is told.
    func look(only: [String]? = nil, remembering: Bool = false, removing: Bool = true) throws -> Node.Look {
        let look = try node.look(only: only, remembering: remembering, removing: removing)
        for damage in look.damaged { say("vzctl: \(damage)") }
        return look
    }

    /// The container of that name or CTID, by the manifests and records as they stand.
    func target(_ name: String, remembering: Bool = false) throws -> Node.Target {
        // Whether others were removed is for those to say who look at everything.
        try target(name, in: look(remembering: remembering, removing: !remembering))
    }

    func target(_ name: String, in look: Node.Look) throws -> Node.Target {
        if let target = look.targets.first(where: { $0.record.name == name || String($0.record.ctid.number) == name }) {
            return target
        }
        let known = look.targets.map { "\($0.record.name) (\($0.record.ctid))" }.joined(separator: ", ")
        throw Failure(
            "no container \"\(name)\": no manifest in \(node.paths.manifests.joined(separator: ", ")) declares it"
                + (known.isEmpty ? "" : "; there are \(known)"), .unknownContainer)
    }

    /// The container, which must be running.
    func running(_ name: String) throws -> (Node.Target, ContainerHandle, PidFD) {
        let target = try target(name)
        let handle = try node.core.observe(target.record.ctid).handle
        guard let process = handle.process else {
            throw Failure("CT \(target.record.ctid) \(target.record.name) is not running", .notRunning)
        }
        return (target, handle, process)
    }
}

/// Tells on standard error what could not be written down of what was done. What was done a verb tells itself.
struct TroubleHandler: LogHandler {
    var logLevel = Logger.Level.warning
    var metadata = Logger.Metadata()
    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) { say("vzctl: \(event.message)") }
}

/// Runs a verb, and tells its failure on standard error.
/// - Parameter code: the exit code of every failure; `nil`: its own.
func report(failing code: ExitStatus? = nil, _ body: () throws -> Void) throws {
    func fail(_ message: String, _ own: ExitStatus) -> ExitCode {
        say("vzctl: \(message)")
        return ExitCode((code ?? own).rawValue)
    }
    do {
        try body()
    } catch let failure as Failure {
        throw fail("\(failure)", failure.code)
    } catch let error as KernelError {
        throw fail("\(error)", .failed)
    } catch let error as StoreError {
        throw fail("\(error)", .failed)
    } catch let error as JSONDocument.Fault {
        throw fail("\(error)", .failed)
    }
}

/// A line for people, on standard error.
func say(_ line: String) {
    // There is nobody left to tell when standard error itself fails.
    _ = Array((line + "\n").utf8).withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
}
