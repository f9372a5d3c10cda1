import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// A node with the daemon and containers that run, whose processes nothing that becomes of the directory may end.
final class SafetyScene {
    let node: TestNode
    private(set) var daemon: TestProcess
    private let ctids: [String: Int]
    private let arguments: [String]
    /// Process 1 of each container, as first seen.
    private var processes: [String: PidFD] = [:]
    private var places: [String: Int] = [:]
    /// What each was last declared with.
    private var numproc: [String: Int] = [:]
    /// How much of the log is of no interest any more.
    private var passed = 0

    var directory: String { node.paths.manifests[0] }

    /// Declares the containers, each in a file of its name, starts the daemon, and waits for them.
    init(_ node: TestNode, _ ctids: [String: Int], _ more: [String: String], arguments: [String]) throws {
        (self.node, self.ctids, self.arguments) = (node, ctids, arguments)
        for (name, ctid) in ctids {
            try TestFile.write(Self.manifest(name, ctid, 100, more[name] ?? ""), to: "\(node.paths.manifests[0])/\(name).yaml")
        }
        daemon = try node.spawn(Self.command(arguments))
        for name in ctids.keys.sorted() {
            try awaitRunning(name)
            numproc[name] = 100
        }
        try settle()
    }

    private static func command(_ arguments: [String]) -> [String] {
        ["\(TestPlace.programs)/vzd", "--interval", "3600", "--stop-timeout", "5"] + arguments
    }

    private func path(_ name: String) -> String { "\(directory)/\(name).yaml" }
    private func ctid(_ name: String) -> Int { ctids[name] ?? 0 }

    private static func manifest(_ name: String, _ ctid: Int?, _ numproc: Int, _ more: String) -> String {
        let lines = (ctid.map { "ctid: \($0)\n" } ?? "") + "template: busybox\ninit: [/bin/sleep, \"1000000\"]\n" + more
        return TestNode.manifest(name, lines + (more.isEmpty ? "" : "\n") + "beancounters: {numproc: \(numproc)}")
    }

    // MARK: Input

    /// A manifest of one of the containers; its last line holds the limit.
    func manifest(_ name: String, numproc: Int, _ more: String = "") -> String { Self.manifest(name, ctids[name], numproc, more) }

    func declare(_ name: String, numproc: Int = 100, _ more: String = "") throws {
        try TestFile.write(manifest(name, numproc: numproc, more), to: path(name))
    }

    /// Runs a script of the host, which must not fail, in the directory of manifests or another one.
    func host(_ script: String, in directory: String? = nil, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let done = try node.run(["sh", "-ec", "cd '\(directory ?? self.directory)'; umask 022; \(script)"])
        #expect(done.exit == .code(0), "\(script): \(done.output) \(done.errors)", sourceLocation: sourceLocation)
    }

    // MARK: What becomes of it

    var log: String { String(daemon.log.dropFirst(passed)) }

    /// Looks only at what is logged from now on.
    func forgetLog() { passed = daemon.log.count }

    func awaitLog(_ text: String, sourceLocation: SourceLocation = #_sourceLocation) {
        TestPlace.wait("the log says \"\(text)\"", until: { log.contains(text) }, note: { log }, sourceLocation: sourceLocation)
    }

    /// Waits for a container's status to tell something.
    func awaitStatus(_ name: String, _ text: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let file = "\(node.paths.run)/status/\(ctid(name)).json"
        TestPlace.wait(
            "the status of \(name) says \"\(text)\"", until: { (try? TestFile.read(file))?.contains(text) == true },
            note: { ((try? TestFile.read(file)) ?? "") + log }, sourceLocation: sourceLocation)
    }

    @discardableResult
    func awaitRunning(_ name: String, ctid: Int? = nil, sourceLocation: SourceLocation = #_sourceLocation) throws -> PidFD? {
        let ctid = ctid ?? self.ctid(name)
        var process: PidFD?
        try TestPlace.wait(
            "\(name) runs",
            until: {
                process = try node.running(ctid)
                return process != nil
            }, note: { daemon.log }, sourceLocation: sourceLocation)
        processes[name] = process
        places[name] = ctid
        return process
    }

    func awaitStopped(_ name: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        try TestPlace.wait(
            "\(name) is stopped", until: { try node.running(ctid(name)) == nil }, note: { daemon.log },
            sourceLocation: sourceLocation)
        processes[name] = nil
        numproc[name] = nil
    }

    /// Waits for a limit to be in force, and for all processes to be what they were.
    func awaitLimit(_ name: String, _ numproc: Int, sourceLocation: SourceLocation = #_sourceLocation) throws {
        try TestPlace.wait(
            "\(name) has the limit \(numproc)", until: { try node.group(ctid(name)).pidsMax() == Int64(numproc) },
            note: { daemon.log }, sourceLocation: sourceLocation)
        self.numproc[name] = numproc
        try sameProcesses(sourceLocation: sourceLocation)
    }

    /// Declares a limit and waits for it: this file counts.
    func edit(_ name: String, _ numproc: Int, sourceLocation: SourceLocation = #_sourceLocation) throws {
        try declare(name, numproc: numproc)
        try awaitLimit(name, numproc, sourceLocation: sourceLocation)
    }

    /// All containers have the processes and limits that they had.
    func untouched(sourceLocation: SourceLocation = #_sourceLocation) throws {
        try sameProcesses(sourceLocation: sourceLocation)
        for (name, limit) in numproc {
            #expect(try node.group(ctid(name)).pidsMax() == Int64(limit), "\(name): \(daemon.log)", sourceLocation: sourceLocation)
        }
    }

    private func sameProcesses(sourceLocation: SourceLocation) throws {
        for (name, process) in processes {
            let now = try node.observe(places[name] ?? ctid(name)).handle.process
            #expect(process.isRunning && now?.pid == process.pid, "\(name): \(daemon.log)", sourceLocation: sourceLocation)
        }
    }

    /// Has the daemon look, and waits until it did: what drifted before is put back after.
    func look(sourceLocation: SourceLocation = #_sourceLocation) throws {
        guard let (name, limit) = numproc.min(by: { $0.key < $1.key }) else { return }
        try node.group(ctid(name)).setPIDsMax(7)
        daemon.send(SIGHUP)
        try awaitLimit(name, limit, sourceLocation: sourceLocation)
    }

    /// Nothing is left to do.
    func settle() throws { try TestPlace.wait("all is settled", until: { try node.plan().isEmpty }, note: { daemon.log }) }

    /// The generation that a plan names.
    func generation(sourceLocation: SourceLocation = #_sourceLocation) throws -> String {
        let plan = try node.vzctl("plan").output
        let word = plan.firstRange(of: "vzctl ack ").map { plan[$0.upperBound...].prefix { $0.isHexDigit } }
        return String(try #require(word, "\(plan)", sourceLocation: sourceLocation))
    }

    func isRunning(_ name: String) throws -> Bool { try node.running(ctid(name)) != nil }

    // MARK: The daemon

    /// Has the daemon look at everything.
    func daemonLook() { daemon.send(SIGHUP) }

    func killDaemon() { daemon.kill() }

    func restartDaemon() throws {
        if daemon.isRunning { daemon.kill() }
        passed = 0
        daemon = try node.spawn(Self.command(arguments))
        awaitLog("watching")
    }
}

/// A scene for one test.
func withScene(
    _ ctids: [String: Int] = ["web": 101, "db": 102], _ more: [String: String] = [:], vzd arguments: String...,
    body: (SafetyScene) throws -> Void
) throws {
    try withNode { node in try body(SafetyScene(node, ctids, more, arguments: arguments)) }
}
