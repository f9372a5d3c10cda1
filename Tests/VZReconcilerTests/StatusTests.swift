import Testing
import VZModel
import VZPlan

@testable import VZReconciler

/// The pure function from what was found to what is told.
@Suite struct StatusTests {
    static let start = WallTime(milliseconds: 1_772_366_400_000)

    static func facts(
        _ desired: RunState = .running, _ observed: RunState? = .running, changes: [Change] = [],
        _ outcome: StatusFacts.Outcome = .unchanged, with more: (inout StatusFacts) -> Void = { _ in }
    ) throws -> StatusFacts {
        var facts = StatusFacts(
            ctid: try #require(ContainerID(101)), name: "web", source: "/etc/vz.d/web.yaml:3", gitRevision: "c0ffee", digest: "d1",
            desired: desired, observed: observed, process: observed == .running ? 4711 : nil, changes: changes, outcome: outcome,
            reconcile: "r1")
        more(&facts)
        return facts
    }

    static func change(
        _ field: String = "cpuunits", _ reason: Reason = .wanted, held: String? = nil, disruption: Disruption = .live
    ) -> Change {
        let setting = Setting(field: field, value: "2000", kernelName: "cpu.weight", kernelValue: .number(200))
        return Change(
            action: held == nil ? .set(setting) : .wait, field: field, before: "1000", after: "2000",
            kernel: .init(name: "cpu.weight", before: .number(100), after: .number(200)), disruption: disruption, reason: reason,
            held: held)
    }

    private func next(_ previous: ContainerStatus? = nil, _ facts: StatusFacts, after seconds: Int = 0) -> ContainerStatus {
        ContainerStatus(after: previous, facts, at: Self.start + .seconds(seconds))
    }

    // MARK: Health and sync

    struct Row: Sendable {
        var desired: RunState
        var observed: RunState?
        var changes: [Change] = []
        var outcome = StatusFacts.Outcome.unchanged
        var more: @Sendable (inout StatusFacts) -> Void = { _ in }
        var health: Health
        var sync: Sync
        /// Ready's status.
        var ready: Condition.Status
        var reason: String
    }

    static let rows = [
        Row(desired: .running, observed: .running, health: .healthy, sync: .inSync, ready: .true, reason: "Running"),
        Row(desired: .stopped, observed: .stopped, health: .healthy, sync: .inSync, ready: .true, reason: "Stopped"),
        Row(desired: .suspended, observed: .suspended, health: .suspended, sync: .inSync, ready: .true, reason: "Suspended"),
        Row(desired: .running, observed: nil, health: .unknown, sync: .unknown, ready: .unknown, reason: "NotObserved"),
        Row(
            desired: .running, observed: nil, outcome: .failed("no"), health: .unknown, sync: .unknown, ready: .unknown,
            reason: "NotObserved"),
        Row(
            desired: .running, observed: .stopped, changes: [change("start")], outcome: .working, health: .progressing,
            sync: .outOfSync, ready: .false, reason: "Reconciling"),
        Row(
            desired: .stopped, observed: .running, changes: [change("stop")], outcome: .working, health: .progressing,
            sync: .outOfSync, ready: .false, reason: "Reconciling"),
        Row(
            desired: .running, observed: .running, changes: [change()], outcome: .made, health: .healthy, sync: .inSync,
            ready: .true, reason: "Running"),
        Row(
            desired: .running, observed: .stopped, changes: [change("start")], outcome: .failed("no root"), health: .degraded,
            sync: .outOfSync, ready: .false, reason: "Failed"),
        Row(
            desired: .running, observed: .running, changes: [change()], outcome: .failed("EIO"), health: .degraded,
            sync: .outOfSync, ready: .true, reason: "Running"),
        Row(
            desired: .running, observed: .stopped, changes: [change("start")], more: { ($0.exists, $0.hold) = (false, "by ann") },
            health: .missing, sync: .outOfSync, ready: .false, reason: "OnHold"),
        Row(
            desired: .running, observed: .stopped, changes: [change("start")], health: .degraded, sync: .outOfSync, ready: .false,
            reason: "NotRunning"),
        Row(
            desired: .suspended, observed: .stopped, health: .degraded, sync: .outOfSync, ready: .false, reason: "NotSuspended"),
        Row(
            desired: .running, observed: .running, more: { $0.crashes = 3 }, health: .degraded, sync: .inSync, ready: .false,
            reason: "CrashLooping"),
        Row(
            desired: .running, observed: .running, more: { $0.crashes = 2 }, health: .healthy, sync: .inSync, ready: .true,
            reason: "Running"),
        Row(
            desired: .running, observed: .stopped, outcome: .failed("no template"), more: { $0.stalled = "no template" },
            health: .degraded, sync: .outOfSync, ready: .false, reason: "Failed"),
        Row(
            desired: .running, observed: .running, more: { $0.manifestProblem = "web.yaml:7:1: …" }, health: .healthy,
            sync: .unknown, ready: .true, reason: "Running"),
        Row(
            desired: .running, observed: .running, changes: [change("init", held: "restart", disruption: .restart)],
            outcome: .made, health: .healthy, sync: .outOfSync, ready: .true, reason: "Running"),
        Row(
            desired: .stopped, observed: .running, more: { $0.pruneHeld = "4 of 5 would go" }, health: .healthy, sync: .outOfSync,
            ready: .false, reason: "NotStopped"),
    ]

    @Test(arguments: rows) func healthAndSync(_ row: Row) throws {
        let facts = try Self.facts(row.desired, row.observed, changes: row.changes, row.outcome, with: row.more)
        let status = next(nil, facts)
        #expect(status.health == row.health)
        #expect(status.sync == row.sync)
        #expect(status[.ready]?.status == row.ready)
        #expect(status[.ready]?.reason == row.reason)
        #expect(status.conditions.map(\.kind) == Condition.Kind.allCases)
        for condition in status.conditions {
            #expect(condition.reason.wholeMatch(of: /[A-Z][A-Za-z]+/) != nil, "\(condition)")
        }
        // Nothing else than this is converged.
        #expect(
            status.isConverged
                == (row.sync == .inSync && row.ready == .true && !status.isTrue(.reconciling)))
    }

    // MARK: Conditions

    @Test func eachConditionHasItsText() throws {
        let status = next(
            nil,
            try Self.facts(
                changes: [
                    Self.change("cpuunits", .drift), Self.change("init", held: "vzctl restart web", disruption: .restart),
                    Self.change("ram", held: "owned by another", disruption: .live),
                ], .failed("write cpu.weight: EIO")
            ) {
                $0.manifestProblem = "web.yaml:7:1: tab"
                $0.override = "stopped by ann"
                $0.hold = "by bob: debugging"
                $0.pruneHeld = "vzctl ack 9c1e"
                $0.stalled = "no template nosuch"
                $0.crashes = 4
                $0.failures = ["numproc": 3, "ram": 0]
            })
        let told = status.conditions.map { "\($0.kind.rawValue)=\($0.status.rawValue) \($0.reason): \($0.message)" }
        #expect(
            told == [
                "Ready=False CrashLooping: write cpu.weight: EIO",
                "Reconciling=False Stalled: ",
                "Stalled=True NeedsInput: no template nosuch",
                "ManifestValid=False LastAcceptedInForce: web.yaml:7:1: tab",
                "Drifted=True ChangedOutside: cpuunits 1000 → 2000 (cpu.weight 100 → 200, drift)",
                "Overridden=True LocalOverride: stopped by ann",
                "Held=True OnHold: by bob: debugging",
                "RestartRequired=True ChangesWait: init: vzctl restart web",
                "PruneHeld=True TooManyAtOnce: vzctl ack 9c1e",
                "CrashLooping=True EndsTooSoon: process 1 ended too soon 4 times in a row",
                "LimitHit=True FailuresCounted: numproc: 3 failures",
            ])
        let calm = next(status, try Self.facts { $0.failures = ["numproc": 3, "ram": 0] })
        #expect(calm.conditions.filter { $0.status == .true }.map(\.kind) == [.ready, .manifestValid, .limitHit])
    }

    @Test func reconcilingTellsWhatIsDoneAndWhatIsTriedAgain() throws {
        let working = next(nil, try Self.facts(.running, .stopped, changes: [Self.change(), Self.change("ram")], .working))
        #expect(working[.reconciling]?.reason == "Converging")
        #expect(working[.reconciling]?.message == "at work on cpuunits, ram")
        let retrying = next(working, try Self.facts(.running, .stopped, changes: [Self.change()], .failed("EIO")))
        #expect(retrying.isTrue(.reconciling) && retrying[.reconciling]?.reason == "Retrying")
        #expect(retrying[.reconciling]?.message == "EIO")
        let done = next(retrying, try Self.facts(changes: [Self.change()], .made))
        #expect(done[.reconciling]?.status == .false && done[.reconciling]?.reason == "Settled")
    }

    @Test func theTimeIsThatOfTheTransition() throws {
        let first = next(nil, try Self.facts())
        let failed = next(first, try Self.facts(changes: [Self.change()], .failed("EIO")), after: 10)
        let again = next(failed, try Self.facts(changes: [Self.change()], .failed("ENOSPC")), after: 20)
        #expect(failed[.reconciling]?.lastTransition == Self.start + .seconds(10))
        #expect(again[.reconciling]?.lastTransition == Self.start + .seconds(10))
        #expect(again[.reconciling]?.message == "ENOSPC")
        #expect(again[.ready]?.lastTransition == Self.start)
        let mended = next(again, try Self.facts(), after: 30)
        #expect(mended[.reconciling]?.lastTransition == Self.start + .seconds(30))
    }

    // MARK: Nothing new

    @Test(arguments: rows) func theSameAgainIsTheSame(_ row: Row) throws {
        var facts = try Self.facts(row.desired, row.observed, changes: row.changes, row.outcome, with: row.more)
        facts.failures = ["numproc": 2]
        var status = next(nil, facts)
        // What was made or failed is a result; a look that finds it so is none.
        if row.outcome == .made { (facts.outcome, facts.changes) = (.unchanged, facts.remaining) }
        if case .failed = row.outcome { return }
        status = next(status, facts)
        for second in 1...5 {
            let same = next(status, facts, after: second)
            #expect(same == status)
            status = same
        }
    }

    @Test func resultsAreTheLastFive() throws {
        var status = next(nil, try Self.facts())
        #expect(status.results == [])
        for number in 1...7 {
            status = next(
                status,
                try Self.facts(changes: [Self.change(), Self.change("init", held: "later", disruption: .restart)], .made) {
                    $0.reconcile = "r\(number)"
                }, after: number)
            status = next(status, try Self.facts(), after: number)
        }
        status = next(status, try Self.facts(changes: [Self.change()], .failed("write: EIO")) { $0.reconcile = "r8" }, after: 8)
        #expect(status.results.map(\.reconcile) == ["r4", "r5", "r6", "r7", "r8"])
        #expect(status.results[0].outcome == .changed)
        #expect(status.results[0].message == "cpuunits 1000 → 2000 (cpu.weight 100 → 200)")
        #expect(status.results[0].time == Self.start + .seconds(4))
        #expect(status.results[4].outcome == .failed && status.results[4].message == "write: EIO")
    }

    @Test func aResultOfManyChangesIsOfBoundedLength() throws {
        let status = next(nil, try Self.facts(changes: (1...50).map { Self.change("f\($0)") }, .made))
        #expect(status.results.first?.message.hasSuffix("f8 1000 → 2000 (cpu.weight 100 → 200); and 42 more") == true)
    }

    // MARK: Counting

    @Test func generationsFollowTheDigest() throws {
        var status = next(nil, try Self.facts(.running, .stopped, changes: [Self.change()], .working))
        #expect(status.generation == .init(attempted: 1, applied: 0))
        status = next(status, try Self.facts(changes: [Self.change()], .made))
        #expect(status.generation == .init(attempted: 1, applied: 1))
        #expect(status.isConverged)
        let held = Self.change("init", held: "restart", disruption: .restart)
        status = next(status, try Self.facts(changes: [held]) { $0.digest = "d2" })
        #expect(status.generation == .init(attempted: 2, applied: 1))
        status = next(status, try Self.facts(changes: [Self.change()], .failed("EIO")) { $0.digest = "d2" })
        #expect(status.generation == .init(attempted: 2, applied: 1))
        status = next(status, try Self.facts { $0.digest = "d2" })
        #expect(status.generation == .init(attempted: 2, applied: 2))
        status = next(status, try Self.facts { $0.digest = "d1" })
        #expect(status.generation == .init(attempted: 3, applied: 3))
    }

    @Test func driftIsCountedWhenItIsPutBack() throws {
        let drift = Self.change("cpuunits", .drift)
        var status = next(nil, try Self.facts(changes: [drift, Self.change("ram", .drift), Self.change()], .made))
        #expect(status.driftCount == 2 && status.isTrue(.drifted))
        status = next(status, try Self.facts(changes: [drift], .failed("EIO")))
        #expect(status.driftCount == 2 && status.isTrue(.drifted))
        status = next(status, try Self.facts(changes: [Self.change("cpuunits", .drift, held: "on hold")]))
        #expect(status.driftCount == 2 && status.isTrue(.drifted) && status.sync == .outOfSync)
        status = next(status, try Self.facts())
        #expect(status.driftCount == 2 && !status.isTrue(.drifted))
    }

    @Test func aRestartIsAnotherProcess() throws {
        var status = next(nil, try Self.facts())
        #expect((status.restarts, status.process) == (0, 4711))
        status = next(status, try Self.facts(.running, .stopped))
        #expect((status.restarts, status.process, status.lastProcess) == (0, nil, 4711))
        status = next(status, try Self.facts { $0.process = 4712 })
        #expect((status.restarts, status.process) == (1, 4712))
        status = next(status, try Self.facts { $0.process = 4712 })
        #expect(status.restarts == 1)
        status = next(status, try Self.facts { $0.process = 4713 })
        #expect(status.restarts == 2)
    }

    @Test func aLimitCountsAsHitForTenMinutes() throws {
        func look(_ before: ContainerStatus?, _ count: Int64?, _ seconds: Int) throws -> ContainerStatus {
            next(before, try Self.facts { $0.failures = count.map { ["numproc": $0] } ?? [:] }, after: seconds)
        }
        var status = try look(nil, 0, 0)
        #expect(!status.isTrue(.limitHit))
        status = try look(status, 5, 60)
        #expect(status.isTrue(.limitHit) && status[.limitHit]?.message == "numproc: 5 failures")
        status = try look(status, 5, 659)
        #expect(status.isTrue(.limitHit))
        status = try look(status, 5, 660)
        #expect(!status.isTrue(.limitHit) && status.limits["numproc"]?.failures == 5)
        // A restart begins to count anew.
        status = try look(status, 0, 700)
        #expect(!status.isTrue(.limitHit))
        status = try look(status, 2, 710)
        #expect(status.isTrue(.limitHit) && status[.limitHit]?.lastTransition == Self.start + .seconds(710))
        status = try look(status, nil, 720)
        #expect(!status.isTrue(.limitHit) && status.limits.isEmpty)
    }

    @Test func anotherContainerBeginsAnew() throws {
        let old = next(nil, try Self.facts(changes: [Self.change("ram", .drift)], .made))
        let ctid = try #require(ContainerID(102))
        let new = next(old, try Self.facts { $0.ctid = ctid }, after: 9)
        #expect(new.driftCount == 0 && new.results == [] && new[.ready]?.lastTransition == Self.start + .seconds(9))
    }
}
