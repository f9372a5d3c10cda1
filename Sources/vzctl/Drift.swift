internal import ArgumentParser
internal import VZIsolation
internal import VZKernel
internal import VZManifest
internal import VZModel
internal import VZPlan
internal import VZReconciler

/// `vzctl drift`: what somebody else changed.
struct Drift: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what was changed outside of vz; open nothing for writing.",
        discussion: "Exit codes: 0 nothing, 1 something, 2 failed.")

    @Argument(help: "Name or CTID; all containers when left out.")
    var name: String?

    @Option(name: .shortAndLong, help: "text, json or yaml; the latter two in the form of vzctl plan --json.")
    var output = TextFormat.text

    func run() throws {
        try report(failing: .changes) {
            let access = try NodeAccess(changing: false)
            let (look, targets) = try access.chosen(name)
            let plan = Plan(
                containers: try targets.compactMap { target in
                    var container = try access.node.plan(target).0
                    container.changes = container.changes.filter { $0.reason == .drift }
                    (container.unsupported, container.problem) = ([], nil)
                    return container.changes.isEmpty ? nil : container
                })
            let document = PlanDocument(plan, generation: look.generation, created: Timestamp.text(Timestamp.now))
            switch output {
            case .text: print(plan.text(verb: "Drift"))
            case .json: print(try JSONDocument.json(document), terminator: "")
            case .yaml: print(try JSONDocument.yaml(document), terminator: "")
            }
            if !plan.containers.isEmpty { throw ExitCode(ExitStatus.failed.rawValue) }
        }
    }
}

/// `vzctl diff`: what is against what shall be.
struct Diff: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show how containers differ from what they shall be, whatever would be done about it.",
        discussion: "Exit codes: 0 not at all, 1 they differ, 2 failed.")

    @Argument(help: "Name or CTID; all containers when left out.")
    var name: String?

    func run() throws {
        try report(failing: .changes) {
            let access = try NodeAccess(changing: false)
            let texts = try access.chosen(name).targets.map { target in
                let seen = try access.node.plan(target).1
                let lastSet = try access.node.core.lastSet(seen.handle)
                let differences = Difference.between(seen.container, target.desired) { lastSet }
                return Difference.text(
                    differences, of: target.record.ctid, target.record.name,
                    source: target.desired.source)
            }
            print(texts.joined(), terminator: "")
            if texts.contains(where: { !$0.isEmpty }) { throw ExitCode(ExitStatus.failed.rawValue) }
        }
    }
}

extension NodeAccess {
    /// The container of that name or CTID, or all of them.
    fileprivate func chosen(_ name: String?) throws -> (look: Node.Look, targets: [Node.Target]) {
        let look = try look()
        look.diagnostics.forEach(say)
        return (look, try name.map { [try target($0, in: look)] } ?? look.targets)
    }
}
