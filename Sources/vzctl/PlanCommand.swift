internal import ArgumentParser
internal import VZIsolation
internal import VZKernel
internal import VZManifest
internal import VZModel
internal import VZPlan
internal import VZReconciler

/// `vzctl plan`: what a convergence would do, how disruptive, and why.
struct PlanCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Show what would change, how disruptive it is, and why; change nothing.",
        discussion: """
            With --out the plan can be carried out later by vzctl apply --plan, if nothing of what it was made from has changed by then. \
            With --state it is made against a node that was saved by vzctl list -o json --full, without root, on any machine: from \
            PATH, or else from the manifests that the node had accepted.
            Exit codes: 0; 65 when manifests are invalid; with --detailed-exitcode 0 nothing to do, 1 failed, 2 something to do.
            """)

    @Argument(help: "Manifests, or directories of them, instead of the node's own.", completion: .file())
    var paths: [String] = []

    @Flag(help: "0: nothing to do, 1: failed, 2: something to do.")
    var detailedExitcode = false

    @Flag(help: "Print JSON, for other programs.")
    var json = false

    @Option(help: "Save the plan in a file, too, for vzctl apply --plan.", completion: .file())
    var out: String?

    @Option(help: "Plan against the node that this file holds: see vzctl list --full.", completion: .file())
    var state: String?

    func validate() throws {
        guard out == nil || (paths.isEmpty && state == nil) else {
            throw ValidationError("--out: expected neither PATH nor --state: what is applied are the node's own manifests, there")
        }
    }

    /// A plan, from wherever.
    private struct Made {
        var look: Node.Look
        var document: PlanDocument
        var plan: Plan
        var figures: HostFigures
    }

    func run() throws {
        try report(failing: detailedExitcode ? .failed : nil) {
            let made = try state.map(offNode) ?? onNode()
            let look = made.look
            (look.diagnostics + look.warnings).forEach(say)
            if let out { try KernelFile.replace(out, with: Array(JSONDocument.json(made.document).utf8), mode: 0o600) }
            if json {
                print(try JSONDocument.json(made.document), terminator: "")
            } else {
                print(made.plan.text(generation: look.generation, notes: look.notes))
            }
            for finding in Capacity.warnings(for: look.targets.map(\.record.accepted), host: made.figures) {
                say("vzctl: \(finding)")
            }
            if !look.diagnostics.isEmpty {
                throw Failure("there are invalid manifests; see above", .invalidData)
            }
            if detailedExitcode && !made.plan.isEmpty { throw ExitCode(ExitStatus.changes.rawValue) }
        }
    }

    private func onNode() throws -> Made {
        let access = try NodeAccess(changing: false)
        let look = try access.look(only: paths.isEmpty ? nil : paths)
        let plans = try look.targets.map { try access.node.plan($0) }
        let plan = Plan(containers: plans.map(\.0))
        let now = Timestamp.text(Timestamp.now)
        let document =
            out == nil
            ? PlanDocument(plan, generation: look.generation, created: now)
            : try access.node.document(of: plans, look, created: now)
        return Made(look: look, document: document, plan: plan, figures: try HostFigures.ofThisHost())
    }

    private func offNode(_ path: String) throws -> Made {
        let node = try SavedNode(DocumentFile.read(path), path: path)
        let look = node.look(only: paths.isEmpty ? nil : paths)
        let plan = Plan(containers: look.targets.map(node.plan))
        let document = PlanDocument(plan, generation: look.generation, created: Timestamp.text(Timestamp.now))
        return Made(look: look, document: document, plan: plan, figures: node.figures)
    }
}

/// The containers that a verb has started: whoever typed it wants to know when an init ends at once.
struct FreshStarts {
    private var list: [(plan: Plan.Container, process: PidFD)] = []

    mutating func note(_ plan: Plan.Container, _ process: PidFD?) {
        if let process, plan.changes.contains(where: { $0.action == .start }) { list.append((plan, process)) }
    }

    /// Watches them for 300 ms in all, tells those that ended, and answers how many.
    func endedTooSoon() -> Int {
        let deadline = ContinuousClock.now + .milliseconds(300)
        return list.count { plan, process in
            let left = (deadline - .now).components
            let milliseconds = max(0, left.seconds * 1000 + left.attoseconds / 1_000_000_000_000_000)
            guard process.waitForExit(milliseconds: Int32(milliseconds)) else { return false }
            let command = plan.changes.last?.after ?? ""
            say("vzctl: CT \(plan.ctid) \(plan.name): init (\(command)) ended too soon\(process.exit.map { ", \($0)" } ?? "")")
            return true
        }
    }
}

/// `vzctl apply`: one convergence, now.
struct Apply: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Converge every container once, with or without a daemon, under the same locks.",
        discussion: """
            With PATH, only the containers that these manifests declare; they must be among the node's own. With --confirm-within they \
            need not: the daemon puts them on trial, and goes back by itself unless vzctl confirm says that they stay.
            Exit codes: 0; 1 when a container failed; 65 when manifests are invalid: what is valid was applied; 69 a trial needs vzd; \
            75 locked or held.
            """)

    @Argument(help: "Manifests, or directories of them.", completion: .file())
    var paths: [String] = []

    @Option(
        help: "Do exactly what a plan says that vzctl plan --out saved; refused when anything has changed since.",
        completion: .file())
    var plan: String?

    @Option(help: "Put PATH on trial for so long (90s, 15m, 2h): without vzctl confirm what is now comes back by itself.")
    var confirmWithin: TimeSpan?

    @Option(help: "Why, for whoever finds the trial.")
    var reason = ""

    @Option(help: "Seconds that a container may take to stop before it is killed; otherwise as its manifest says.")
    var stopTimeout: Int?

    func validate() throws {
        if plan != nil, !paths.isEmpty || confirmWithin != nil {
            throw ValidationError("--plan: expected neither PATH nor --confirm-within: the plan says what is done")
        }
    }

    func run() throws {
        try report {
            if let plan { return try ApplyPlan(path: plan, stopTimeout: stopTimeout).run() }
            let access = try NodeAccess(changing: true)
            let node = access.node
            guard !node.isShuttingDown else {
                throw Failure("the node is being shut down: vzctl shutdown --cancel to call it off", .temporary)
            }
            if let confirmWithin { return try Trial(node: node, paths: paths, reason: reason).run(confirmWithin) }
            var look = try access.look(remembering: true)
            var failed = 0
            // The daemon sees to it itself.
            if !node.isDaemonRunning {
                let known = look.warnings.count
                do {
                    try node.provideSwap(for: &look).forEach(say)
                } catch {
                    say("vzctl: provide swap space: \(error)")
                    failed += 1
                }
                look.warnings.dropFirst(known).forEach(say)
            }
            if !paths.isEmpty { look.targets = try Self.chosen(paths, in: look, of: node) }
            look.diagnostics.forEach(say)
            var done: [Plan.Container] = []
            var starts = FreshStarts()
            let (books, manner) = (access.books, Node.Manner(stopTimeout: stopTimeout.map { .seconds($0) }))
            for target in look.targets {
                do {
                    let (plan, process) = try node.converge(target, manner, in: books)
                    done.append(plan)
                    starts.note(plan, process)
                } catch {
                    say("vzctl: CT \(target.record.ctid) \(target.record.name): \(error)")
                    failed += 1
                }
            }
            node.pokeDaemon()
            print(Plan(containers: done).text(verb: "Applied", generation: look.generation, notes: look.notes))
            failed += starts.endedTooSoon()
            if failed > 0 { throw Failure("\(failed) container\(failed == 1 ? "" : "s") failed; see above") }
            if !look.diagnostics.isEmpty { throw Failure("there are invalid manifests; see above", .invalidData) }
            let held = done.filter { plan in
                !plan.changes.isEmpty && look.targets.contains { $0.record.ctid == plan.ctid && $0.desired.hold != nil }
            }
            if !held.isEmpty { throw Failure("\(held.map(\.name).joined(separator: ", ")): held; see above", .temporary) }
        }
    }

    /// Those that some manifests declare, as long as these are what is in force.
    private static func chosen(_ paths: [String], in look: Node.Look, of node: Node) throws -> [Node.Target] {
        let asked = try node.look(only: paths, remembering: false)
        if let mistake = asked.diagnostics.first { throw Failure(mistake, .invalidData) }
        return try asked.documents.values.sorted { $0.spec.name < $1.spec.name }.map { document in
            guard let target = look.targets.first(where: { $0.record.name == document.spec.name }),
                target.record.accepted == document.spec
            else {
                throw Failure(
                    "\(document.location): the node's own manifests do not say this of \(document.spec.name): put it into "
                        + "\(node.paths.manifests.last ?? ""), or on trial with --confirm-within")
            }
            return target
        }
    }
}
