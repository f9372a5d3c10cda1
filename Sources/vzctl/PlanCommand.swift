internal import ArgumentParser
internal import VZKernel
internal import VZManifest
internal import VZPlan
internal import VZReconciler

/// `vzctl plan`: what a convergence would do, how disruptive, and why.
struct PlanCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Show what would change, how disruptive it is, and why; change nothing.",
        discussion: "Exit codes: 0; 65 when manifests are invalid; with --detailed-exitcode 2 when there is something to do.")

    @Argument(help: "Manifests, or directories of them, instead of the node's own.", completion: .file())
    var paths: [String] = []

    @Flag(help: "0: nothing to do, 1: failed, 2: something to do.")
    var detailedExitcode = false

    func run() throws {
        try report {
            let access = try NodeAccess(changing: false)
            let node = access.node
            let look = try access.look(only: paths.isEmpty ? nil : paths)
            (look.diagnostics + look.warnings).forEach(say)
            let plan = Plan(containers: try look.targets.map { try node.plan($0).0 })
            print(plan.text(generation: look.generation))
            let specs = look.targets.map(\.record.accepted)
            for finding in Capacity.warnings(for: specs, host: try HostFigures.ofThisHost()) { say("vzctl: \(finding)") }
            if !look.diagnostics.isEmpty {
                throw Failure("there are invalid manifests; see above", detailedExitcode ? .failed : .invalidData)
            }
            if detailedExitcode && !plan.isEmpty { throw ExitCode(ExitStatus.changes.rawValue) }
        }
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
        discussion: "Exit codes: 0; 1 when a container failed; 65 when manifests are invalid: what is valid was applied.")

    @Option(help: "Seconds that a container may take to stop before it is killed; otherwise as its manifest says.")
    var stopTimeout: Int?

    func run() throws {
        try report {
            let access = try NodeAccess(changing: true)
            let node = access.node
            let look = try access.look(remembering: true)
            look.diagnostics.forEach(say)
            var done: [Plan.Container] = []
            var failed = 0
            var starts = FreshStarts()
            for target in look.targets {
                do {
                    let (plan, process) = try node.converge(target, Node.Manner(stopTimeout: stopTimeout.map { .seconds($0) }))
                    done.append(plan)
                    starts.note(plan, process)
                } catch {
                    say("vzctl: CT \(target.record.ctid) \(target.record.name): \(error)")
                    failed += 1
                }
            }
            print(Plan(containers: done).text(verb: "Applied", generation: look.generation))
            failed += starts.endedTooSoon()
            if failed > 0 { throw Failure("\(failed) container\(failed == 1 ? "" : "s") failed; see above") }
            if !look.diagnostics.isEmpty { throw Failure("there are invalid manifests; see above", .invalidData) }
        }
    }
}
