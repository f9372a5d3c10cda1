import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// A node of a test's own: manifests, state and control groups apart from everything else on the machine.
final class TestNode {
    let directory: String
    let paths: NodePaths
    private let tree: ControlGroupTree
    private var opened: Node?
    private var programs: [TestProcess] = []
    private var serial = 0

    /// - Parameter sharedTemplates: with the one template `busybox`, which is made once in the life of this process.
    init(sharedTemplates: Bool = true) throws {
        let name = ControlGroupTestNames.next()
        directory = "\(TestPlace.directory)/\(name)"
        paths = NodePaths(
            manifests: ["\(directory)/config"], state: "\(directory)/state", run: "\(directory)/run", controlGroup: name,
            bpf: TestPlace.programsInKernel, lxcfs: "\(directory)/lxcfs")
        tree = try ControlGroupTree.discover(parent: name)
        for path in ["\(directory)/config", paths.state, paths.run] { try Descriptor.makeDirectories(path) }
        if sharedTemplates, symlink(try Self.templates.get(), paths.templates) != 0 {
            throw KernelError("link the templates", errno: errno)
        }
    }

    static let templates = Result {
        let store = TemplateStore(directory: "\(TestPlace.directory)/\(ControlGroupTestNames.next())")
        TestPlace.removeAtExit(store.directory)
        try store.createBusybox("busybox")
        return store.directory
    }

    // MARK: Manifests

    /// Writes a manifest: `spec` holds the lines below `spec:`, without their indentation.
    func declare(_ name: String, file: String? = nil, _ spec: String) throws {
        try TestFile.write(Self.manifest(name, spec), to: "\(paths.manifests[0])/\(file ?? name + ".yaml")")
    }

    static func manifest(_ name: String, _ spec: String) -> String {
        let lines = spec.split(separator: "\n").map { "  \($0)\n" }.joined()
        return "apiVersion: vz/v1\nkind: Container\nmetadata:\n  name: \(name)\nspec:\n\(lines)"
    }

    /// Says that what the manifests remove and restart is meant.
    func acknowledge() throws {
        try node().acknowledge(node().look(remembering: false).generation, owner: "test")
    }

    func removeManifest(_ file: String) throws {
        if unlink("\(paths.manifests[0])/\(file)") != 0 { throw KernelError("remove \(file)", errno: errno) }
    }

    // MARK: In this process

    /// The node as `vzctl` and `vzd` use it.
    func node() throws -> Node {
        if let opened { return opened }
        let node = try Node(paths: paths)
        opened = node
        return node
    }

    func plan() throws -> Plan {
        let node = try node()
        return Plan(containers: try node.look(remembering: false).targets.map { try node.plan($0).0 })
    }

    /// Converges everything once.
    @discardableResult func apply() throws -> Plan {
        let node = try node()
        let targets = try node.look(remembering: true).targets
        return Plan(containers: try targets.map { try node.converge($0, Node.Manner(stopTimeout: .seconds(10))).0 })
    }

    /// Declares a container that only sleeps, and starts it.
    @discardableResult func start(_ name: String = "web", ctid: Int = 101, _ spec: String = "") throws -> PidFD {
        let lines = spec.contains("init:") ? spec : spec + "\ninit: [/bin/sleep, \"1000000\"]"
        try declare(name, "ctid: \(ctid)\ntemplate: busybox\n" + lines)
        try apply()
        return try #require(try running(ctid))
    }

    func container(_ ctid: Int = 101) throws -> ContainerID { try #require(ContainerID(ctid)) }
    func observe(_ ctid: Int = 101) throws -> IsolationCore.Observation { try node().core.observe(container(ctid)) }
    func group(_ ctid: Int = 101) throws -> ControlGroup { try tree.group(String(ctid)) }
    func root(_ ctid: Int = 101) -> String { "\(paths.containers)/\(ctid)/root" }
    var controlGroups: ControlGroupTree { tree }

    /// The container's process 1, if it runs.
    func running(_ ctid: Int = 101) throws -> PidFD? { try observe(ctid).handle.process }

    /// A file of a container's control group.
    func controlGroupFile(_ file: String, of controller: ControlGroupTree.Controller, _ ctid: Int = 101) throws -> String {
        let hierarchy = try #require(tree.hierarchy(of: controller))
        return try KernelFile.read("\(tree.parent)/\(ctid)/\(file)", at: hierarchy.directory)
    }

    /// Runs a shell script in a container as `vzctl exec` would: how it ended, and all that it wrote.
    func sh(_ script: String, _ ctid: Int = 101, environment: [String: String] = [:]) throws -> (PidFD.Exit, String) {
        serial += 1
        let file = "/tmp/.out-\(serial)"
        let seen = try observe(ctid)
        let process = try #require(seen.handle.process)
        var entry = ContainerEntry(
            command: ["/bin/sh", "-c", "exec </dev/null >\(file) 2>&1\n" + script], environment: environment)
        entry.lockedPages = try seen.handle.keptPagesOfEntry()
        let child = try entry.run(in: process, group: seen.handle.group)
        if !child.waitForExit(milliseconds: TestPlace.patienceMilliseconds) {
            Issue.record("in CT \(ctid) this does not end: \(script)")
            try child.send(signal: SIGKILL)
        }
        return (try child.waitAsParent(), (try? TestFile.read(root(ctid) + file)) ?? "")
    }

    /// What a script in a container writes; the test fails when its exit code is not 0.
    func output(_ script: String, _ ctid: Int = 101, sourceLocation: SourceLocation = #_sourceLocation) throws -> String {
        let (exit, text) = try sh(script, ctid)
        #expect(exit == .code(0), "\(script): \(text)", sourceLocation: sourceLocation)
        return text.last == "\n" ? String(text.dropLast()) : text
    }

    // MARK: Programs

    var environment: [String: String] {
        var variables = Node.environment
        variables["VZ_CONFIG_DIR"] = paths.manifests[0]
        variables["VZ_STATE_DIR"] = paths.state
        variables["VZ_RUN_DIR"] = paths.run
        variables["VZ_CGROUP"] = paths.controlGroup
        variables["VZ_LXCFS"] = paths.lxcfs
        variables["VZ_BPF_DIR"] = paths.bpf
        return variables
    }

    /// Starts a program with this node's environment. It is ended with the node.
    /// - Parameter path: where it looks for programs first.
    func spawn(_ argv: [String], input: String = "", path: String? = nil) throws -> TestProcess {
        serial += 1
        var environment = environment
        if let path { environment["PATH"] = "\(path):\(environment["PATH"] ?? "")" }
        let program = try TestProcess(argv, environment: environment, input: input, prefix: "\(directory)/program-\(serial)")
        programs.append(program)
        return program
    }

    struct Finished {
        var exit: PidFD.Exit?
        var output: String
        var errors: String
    }

    /// Runs a program to its end.
    func run(_ argv: [String], input: String = "") throws -> Finished {
        let program = try spawn(argv, input: input)
        let exit = program.wait()
        return Finished(exit: exit, output: program.text, errors: program.log)
    }

    func vzctl(_ arguments: String..., input: String = "") throws -> Finished {
        try run(["\(TestPlace.programs)/vzctl"] + arguments, input: input)
    }

    /// Starts the daemon.
    func vzd(_ arguments: String..., path: String? = nil) throws -> TestProcess {
        try spawn(["\(TestPlace.programs)/vzd", "--interval", "3600", "--stop-timeout", "5"] + arguments, path: path)
    }

    // MARK: The end

    /// Ends and removes everything; the test fails when anything stays, or was left by what should have cleared it.
    func close() {
        for program in programs where program.isRunning { program.kill() }
        unmountLxcfs()
        for disk in opened?.core.host.storage?.stack.disks ?? [] {
            // The machine's, and it would stay.
            guard (try? tree.ioCostDevices())?.contains(disk.number) == true else { continue }
            #expect(throws: Never.self) { try tree.disableIOCost(on: disk) }
        }
        let core = opened?.core
        opened = nil
        cleanUpControlGroups(tree)
        #expect(throws: Never.self) { try core?.forgetEndedBeancounters() }
        let name = paths.controlGroup
        TestPlace.wait(
            "processes of \(name) end", until: { Self.processes(of: name).isEmpty }, note: { "\(Self.processes(of: name))" })
        #expect(throws: Never.self) { try VSwap(controlGroup: name).removeAll() }
        let mounts = ((try? KernelFile.read("/proc/self/mountinfo")) ?? "").split(separator: "\n")
        #expect(mounts.filter { $0.contains(name) } == [], "a mount is left")
        #expect(throws: Never.self) { try Command.run(["rm", "-rf", "--one-file-system", "--", directory]) }
        #expect(!TestFile.exists(directory))
    }

    /// Processes of the host that have to do with a node, but this one: by their arguments and their environment.
    static func processes(of name: String) -> [String] {
        guard let all = try? Descriptor.open("/proc", O_RDONLY | O_DIRECTORY).names() else { return [] }
        return all.compactMap { pid in
            guard let number = Int32(pid), number != getpid() else { return nil }
            let line = (try? TestFile.read("/proc/\(pid)/cmdline")) ?? ""
            let environment = (try? TestFile.read("/proc/\(pid)/environ")) ?? ""
            return line.contains(name) || environment.contains(name) ? "\(pid) \(line)" : nil
        }
    }
}

/// A node for one test.
func withNode(sharedTemplates: Bool = true, _ body: (TestNode) throws -> Void) throws {
    let node = try TestNode(sharedTemplates: sharedTemplates)
    defer { node.close() }
    try body(node)
}
