internal import VZKernel
internal import VZManifest
internal import VZModel
internal import VZPlan
internal import VZReconciler

/// `vzctl apply --plan`: what a plan says, and nothing else.
struct ApplyPlan {
    let path: String
    let stopTimeout: Int?

    /// - Returns: the containers that were changed.
    @discardableResult
    func run() throws -> [Plan.Container] {
        // Before the node is prepared for changes, which gives it an id.
        let id = try NodeAccess(changing: false).node.id
        let planned = try JSONDocument.read(
            PlanDocument.self, from: DocumentFile.read(path), path: path, what: "a plan", version: PlanDocument.formatVersion)
        let access = try NodeAccess(changing: true)
        let node = access.node
        guard !node.isShuttingDown else {
            throw Failure("the node is being shut down: vzctl shutdown --cancel to call it off", .temporary)
        }
        var done: [Plan.Container] = []
        var failed = 0
        var starts = FreshStarts()
        do {
            let manner = Node.Manner(stopTimeout: stopTimeout.map { .seconds($0) })
            try node.carryOut(planned, onceNode: id, manner, in: access.books) { plan, result in
                switch result {
                case .success(let process):
                    done.append(plan)
                    starts.note(plan, process)
                case .failure(let error):
                    say("vzctl: CT \(plan.ctid) \(plan.name): \(error)")
                    failed += 1
                }
            }
        } catch let error as StalePlan {
            throw Failure("\(path): \(error); nothing was done")
        }
        print(Plan(containers: done).text(verb: "Applied", generation: planned.generation))
        failed += starts.endedTooSoon().count
        if failed > 0 { throw Failure("\(failed) container\(failed == 1 ? "" : "s") failed; see above") }
        return done
    }
}
