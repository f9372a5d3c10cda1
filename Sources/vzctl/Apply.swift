internal import ArgumentParser
internal import Glibc
internal import VZIsolation
internal import VZKernel
internal import VZManifest
internal import VZModel
internal import VZPlan
internal import VZReconciler

/// `vzctl apply`: one convergence, now.
struct Apply: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Converge every container once, with or without a daemon, under the same locks.",
        discussion: """
            With PATH, only the containers that these manifests declare; they must be among the node's own. With --confirm-within they \
            need not: the daemon puts them on trial, and goes back by itself unless vzctl confirm says that they stay.
            With --wait it comes back when all of them are converged, as vzctl wait NAME --for converged has it; what failed is tried \
            again meanwhile, where vzd runs. What waits for somebody's word (a hold, a restart that is not allowed) is not waited for.
            Exit codes: 0; 1 when a container failed; 65 when manifests are invalid: what is valid was applied; 69 a trial needs vzd; \
            75 locked, held, or not converged in time.
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

    @Flag(help: "Come back when every container is converged.")
    var wait = false

    @Option(help: "With --wait, seconds to wait at most; a change that is being made then is finished. For ever without.")
    var timeout: Double?

    func validate() throws {
        if wait && confirmWithin != nil { throw ValidationError("--wait: expected no --confirm-within, which waits by itself") }
        if let timeout {
            guard wait else { throw ValidationError("--timeout: expected --wait with it") }
            guard (0...1_000_000_000).contains(timeout) else {
                throw ValidationError("--timeout: expected 0 seconds or more, got \(timeout)")
            }
        }
        if plan != nil, !paths.isEmpty || confirmWithin != nil {
            throw ValidationError("--plan: expected neither PATH nor --confirm-within: the plan says what is done")
        }
    }

    func run() throws {
        try report {
            let patience = Patience(seconds: timeout)
            if let plan {
                let done = try ApplyPlan(path: plan, stopTimeout: stopTimeout).run()
                if wait { try Self.awaitConvergence(of: done.map { ($0.ctid, $0.name) }, until: patience) }
                return
            }
            let access = try NodeAccess(changing: true)
            let node = access.node
            guard !node.isShuttingDown else {
                throw Failure("the node is being shut down: vzctl shutdown --cancel to call it off", .temporary)
            }
            if let confirmWithin { return try Trial(node: node, paths: paths, reason: reason).run(confirmWithin) }
            var look = try access.look(remembering: true)
            var isSwapMissing = false
            // The daemon sees to it itself.
            if !node.isDaemonRunning {
                let known = look.warnings.count
                do {
                    try node.provideSwap(for: &look).forEach(say)
                } catch {
                    say("vzctl: provide swap space: \(error)")
                    isSwapMissing = true
                }
                look.warnings.dropFirst(known).forEach(say)
            }
            if !paths.isEmpty { look.targets = try Self.chosen(paths, in: look, of: node) }
            look.diagnostics.forEach(say)
            var done: [Plan.Container] = []
            var failed: Set<ContainerID> = []
            var starts = FreshStarts()
            let (books, manner) = (access.books, Node.Manner(stopTimeout: stopTimeout.map { .seconds($0) }))
            // What is not begun in time is left to vzd.
            for target in look.targets where !patience.isOver {
                do {
                    let (plan, process) = try node.converge(target, manner, in: books)
                    done.append(plan)
                    starts.note(plan, process)
                } catch {
                    say("vzctl: CT \(target.record.ctid) \(target.record.name): \(error)")
                    failed.insert(target.record.ctid)
                }
            }
            let isDaemonRunning = node.pokeDaemon()
            print(Plan(containers: done).text(verb: "Applied", generation: look.generation, notes: look.notes))
            failed.formUnion(starts.endedTooSoon())
            if wait, failed.isEmpty || isDaemonRunning {
                let removed = Set(look.targets.filter(\.record.retired).map(\.record.ctid))
                let staying = try Self.movable(look.targets, done).filter { !removed.contains($0.ctid) }
                try Self.awaitConvergence(of: staying, until: patience)
                failed.formIntersection(removed)
            }
            if let trouble = node.core.beancounterTrouble { throw Failure(trouble) }
            if isSwapMissing { throw Failure("the swap space that containers are promised is not there; see above") }
            if !failed.isEmpty { throw Failure("\(failed.count) container\(failed.count == 1 ? "" : "s") failed; see above") }
            if let lost = look.lost.keys.min() {
                throw Failure("nothing was done about CT \(lost), since its record cannot be read; see above")
            }
            if !look.diagnostics.isEmpty { throw Failure("there are invalid manifests; see above", .invalidData) }
            // By a hold that was found, or whose word could not be read; what waits for a restart is not held.
            let held = done.filter { $0.changes.contains { $0.held != nil && $0.action != .wait } }
            if !held.isEmpty { throw Failure("\(held.map(\.name).joined(separator: ", ")): held; see above", .temporary) }
        }
    }

    /// Those that time alone brings to where they shall be: what is held, in part or as a whole, waits for somebody's word.
    /// - Throws: `Failure` that names the first other one, but for a manifest that is not valid, which is told otherwise.
    private static func movable(_ targets: [Node.Target], _ plans: [Plan.Container]) throws -> [(ctid: ContainerID, name: String)] {
        let held = Dictionary(plans.map { ($0.ctid, $0.changes.lazy.compactMap(\.held).first) }) { first, _ in first }
        return try targets.filter { $0.lastKnownGood == nil }.map { target in
            if let reason = target.pruneHeld ?? held[target.record.ctid] ?? nil {
                throw Failure("CT \(target.record.ctid) \(target.record.name) is not converged: \(reason)", .temporary)
            }
            return (target.record.ctid, target.record.name)
        }
    }

    private static func awaitConvergence(of containers: [(ctid: ContainerID, name: String)], until patience: Patience) throws {
        // What was done is seen before it is waited.
        fflush(nil)
        for (ctid, name) in containers {
            var watch = StatusWatch(name: name, ctid: ctid, access: LookAccess())
            try watch.wait(for: .converged, until: patience)
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
