import Testing
import VZModel
import VZPlan

@Suite struct PlannerTests {
    private static let weight = Setting(field: "cpuunits", value: "1000", kernelName: "cpu.weight", kernelValue: .number(100))
    private static let ram = Setting(field: "ram", value: "64M", kernelName: "memory.max", kernelValue: .number(64 << 20))
    private static let hostname = Setting(
        field: "hostname", value: "web", kernelName: "kernel.hostname", kernelValue: .text("web"), phase: .process)

    private func desired(
        _ state: RunState = .running, settings: [Setting] = [weight, ram, hostname], init argv: [String] = ["/sbin/init"],
        env: [String: String] = [:], template: String? = "busybox", reason: Reason = .wanted
    ) throws -> DesiredContainer {
        DesiredContainer(
            ctid: try #require(ContainerID(101)), name: "web", source: "web.yaml:1", state: state, stateReason: reason,
            template: template,
            start: StartParameters(init: argv, env: env), wish: Wish(settings: settings))
    }

    private func running(_ settings: [Setting]) -> ObservedContainer {
        ObservedContainer(
            isRunning: true, isPresent: true, settings: settings, startedWith: StartParameters(init: ["/sbin/init"], env: [:]),
            rootExists: true, rootTemplate: "busybox")
    }

    private func with(_ setting: Setting, _ value: String, _ kernel: Setting.Value) -> Setting {
        var other = setting
        (other.value, other.kernelValue) = (value, kernel)
        return other
    }

    @Test func agreementNeedsNoChange() throws {
        let changes = Planner.changes(from: running([Self.weight, Self.ram, Self.hostname]), to: try desired())
        #expect(changes.isEmpty)
    }

    @Test func aStartMakesTheRootThenTheLimitsThenTheProcess() throws {
        let changes = Planner.changes(from: ObservedContainer(), to: try desired())
        #expect(changes.map(\.action) == [.makeRoot(template: "busybox"), .set(Self.weight), .set(Self.ram), .start])
        #expect(changes.allSatisfy { $0.held == nil })
    }

    @Test func aRootThatIsThereIsNotMadeAgain() throws {
        let changes = Planner.changes(from: ObservedContainer(rootExists: true), to: try desired())
        #expect(changes.first?.action == .set(Self.weight))
    }

    @Test func leftOversAreClearedBeforeAStart() throws {
        let changes = Planner.changes(from: ObservedContainer(isPresent: true, rootExists: true), to: try desired())
        #expect(changes.first?.action == .stop)
        #expect(changes.last?.action == .start)
    }

    @Test func aStoppedContainerIsLeftAlone() throws {
        #expect(Planner.changes(from: ObservedContainer(rootExists: true), to: try desired(.stopped)).isEmpty)
    }

    @Test(arguments: [Reason.wanted, .removed, .override])
    func aStopTellsWhy(_ reason: Reason) throws {
        let changes = Planner.changes(from: running([]), to: try desired(.stopped, reason: reason))
        #expect(changes.map(\.action) == [.stop])
        #expect(changes.first?.reason == reason)
    }

    @Test func oneThatShallBeSuspendedIsStopped() throws {
        #expect(Planner.changes(from: ObservedContainer(rootExists: true), to: try desired(.suspended)).isEmpty)
        #expect(Planner.changes(from: running([]), to: try desired(.suspended)).map(\.action) == [.stop])
    }

    @Test func aNewWishIsOneChangeInBothTerms() throws {
        let wanted = with(Self.weight, "2000", .number(200))
        let changes = Planner.changes(
            from: running([Self.weight, Self.ram, Self.hostname]), to: try desired(settings: [wanted, Self.ram, Self.hostname])
        ) { ["cpu.weight": .number(100)] }
        #expect(
            changes == [
                Change(
                    action: .set(wanted), field: "cpuunits", before: "1000", after: "2000",
                    kernel: .init(name: "cpu.weight", before: .number(100), after: .number(200)))
            ])
    }

    @Test func whatSomebodyElseChangedIsDrift() throws {
        let changes = Planner.changes(
            from: running([with(Self.weight, "770", .number(77)), Self.ram, Self.hostname]), to: try desired()
        ) { ["cpu.weight": .number(100)] }
        #expect(changes.map(\.reason) == [.drift])
    }

    /// What was written last explains a change; it never decides whether there is one.
    @Test func memoryOfTheLastWriteDecidesNothing() throws {
        let same = Planner.changes(from: running([Self.weight, Self.ram, Self.hostname]), to: try desired()) {
            ["cpu.weight": .number(5), "memory.max": .unlimited]
        }
        #expect(same.isEmpty)
        let other = Planner.changes(
            from: running([with(Self.weight, "1", .number(1)), Self.ram, Self.hostname]), to: try desired()
        ) {
            ["cpu.weight": .number(100)]
        }
        #expect(other.count == 1)
    }

    @Test func aSettingThatTheKernelDoesNotShowIsWritten() throws {
        let changes = Planner.changes(from: running([Self.ram, Self.hostname]), to: try desired())
        #expect(changes.map(\.action) == [.set(Self.weight)])
        #expect(changes.first?.before == nil)
    }

    @Test func whatIsAllowedRestartsInOneGo() throws {
        var other = try desired(settings: [Self.weight], init: ["/bin/other"])
        other.disruption = .restart
        let plan = Planner.changes(from: running([Self.weight]), to: other)
        #expect(plan.map(\.action) == [.wait, .stop, .set(Self.weight), .start])
        #expect(plan.allSatisfy { $0.held == nil })
        let container = Plan.Container(ctid: other.ctid, name: "web", source: "web.yaml:1", changes: plan)
        #expect(container.isRestart)
        #expect(Plan(containers: [container]).text().hasSuffix("Plan: 1 restart"))
        other.brake = "too many"
        #expect(Planner.changes(from: running([Self.weight]), to: other).map(\.held) == ["too many"])
    }

    @Test func anotherTemplateSendsTheOldRootToTheTrashWhereThatIsAllowed() throws {
        var other = try desired(settings: [], template: "debian")
        for allowed in [Disruption.live, .restart] {
            other.disruption = allowed
            let held = Planner.changes(from: running([]), to: other)
            #expect(held.map(\.action) == [.wait] && held[0].held?.contains("recreate") == true)
        }
        other.disruption = .recreate
        #expect(
            Planner.changes(from: running([]), to: other).map(\.action)
                == [.wait, .stop, .discardRoot, .makeRoot(template: "debian"), .start])
        // Ended half-way, after the stop: what is there of the former root is not started once more.
        var stopped = ObservedContainer(rootExists: true, rootTemplate: running([]).rootTemplate)
        let renewing: [Change.Action] = [.wait, .discardRoot, .makeRoot(template: "debian"), .start]
        #expect(Planner.changes(from: stopped, to: other).map(\.action) == renewing)
        stopped.isPresent = true
        #expect(Planner.changes(from: stopped, to: other).map(\.action) == [.stop] + renewing)
        other.brake = "many at once"
        #expect(Planner.changes(from: stopped, to: other).map(\.action) == [.stop, .start])
        other.disruption = .restart
        #expect(Planner.changes(from: stopped, to: other).map(\.action) == [.stop, .start])
        // Put into the trash already.
        stopped.rootExists = false
        #expect(Planner.changes(from: stopped, to: other).map(\.action) == [.stop, .makeRoot(template: "debian"), .start])
    }

    @Test func aHoldHoldsEverything() throws {
        var held = try desired(settings: [with(Self.weight, "2000", .number(200))])
        held.hold = "held by somebody"
        for observed in [running([Self.weight]), ObservedContainer()] {
            let changes = Planner.changes(from: observed, to: held)
            #expect(!changes.isEmpty && changes.allSatisfy { $0.held == "held by somebody" })
            #expect(Plan(containers: [.init(ctid: held.ctid, name: "web", source: "", changes: changes)]).isEmpty)
        }
        held.state = .stopped
        #expect(Planner.changes(from: running([]), to: held).map(\.held) == ["held by somebody"])
    }

    @Test func driftInAFieldOfAnotherActorIsLeftAlone() throws {
        let numproc = Setting(
            field: "beancounters.numproc", value: "100", kernelName: "pids.max", kernelValue: .number(100))
        let seen = running([with(Self.weight, "500", .number(50)), with(numproc, "7", .number(7))])
        for (ignored, left) in [
            ([], ["cpuunits", "beancounters.numproc"]), (["cpuunits"], ["beancounters.numproc"]), (["beancounters"], ["cpuunits"]),
            (["beancounters.numproc", "cpuunits"], []), (["cpu", "beancounters.num"], ["cpuunits", "beancounters.numproc"]),
        ] {
            var owned = try desired(settings: [Self.weight, numproc])
            owned.ignoredDrift = ignored
            let last: [String: Setting.Value] = ["cpu.weight": .number(100), "pids.max": .number(100)]
            #expect(Planner.changes(from: seen, to: owned) { last }.map(\.field) == left, "\(ignored)")
            // What we ourselves wrote last and what the manifest says anew is no drift.
            let ours: [String: Setting.Value] = ["cpu.weight": .number(50), "pids.max": .number(7)]
            #expect(Planner.changes(from: seen, to: owned) { ours }.count == 2)
        }
    }

    @Test func whatIsRemovedGoesWhereItsManifestSaid() throws {
        var gone = try desired(.stopped, reason: .removed)
        gone.removal = .ignore
        #expect(Planner.changes(from: running([]), to: gone).isEmpty)
        gone.removal = .retain
        #expect(Planner.changes(from: running([]), to: gone).map(\.action) == [.stop])
        gone.removal = .trash
        #expect(Planner.changes(from: running([]), to: gone).map(\.action) == [.stop, .discardRoot])
        #expect(Planner.changes(from: ObservedContainer(rootExists: true), to: gone).map(\.action) == [.discardRoot])
        #expect(Planner.changes(from: ObservedContainer(), to: gone).isEmpty)
    }

    @Test func aRestartIsOneWhateverAgrees() throws {
        var again = try desired(settings: [Self.weight])
        again.mustRestart = true
        #expect(Planner.changes(from: running([Self.weight]), to: again).map(\.action) == [.stop, .set(Self.weight), .start])
    }

    @Test func whatOnlyAStartBringsIsHeldAndSaysHow() throws {
        let changes = Planner.changes(
            from: running([Self.weight, Self.ram, Self.hostname]),
            to: try desired(init: ["/bin/sh"], env: ["A": "b"], template: "debian"))
        #expect(changes.map(\.field) == ["init", "env", "template"])
        #expect(changes.map(\.disruption) == [.restart, .restart, .recreate])
        #expect(changes.allSatisfy { $0.action == .wait && $0.held != nil })
        #expect(changes.first?.held?.contains("vzctl restart web") == true)
    }

    @Test func applyingTheChangesLeavesNone() throws {
        let wish = [with(Self.weight, "500", .number(50)), with(Self.ram, "1G", .number(1 << 30)), Self.hostname]
        var seen = running([Self.weight, Self.ram, Self.hostname])
        for case .set(let setting) in Planner.changes(from: seen, to: try desired(settings: wish)).map(\.action) {
            seen.settings = seen.settings.map { $0.kernelName == setting.kernelName ? setting : $0 }
        }
        #expect(Planner.changes(from: seen, to: try desired(settings: wish)).isEmpty)
    }
}

@Suite struct PlanTextTests {
    private func container(_ changes: [Change], unsupported: [Unsupported] = [], problem: String? = nil) throws -> Plan.Container {
        Plan.Container(
            ctid: try #require(ContainerID(101)), name: "web", source: "/etc/vz.d/web.yaml:1", changes: changes,
            unsupported: unsupported,
            problem: problem)
    }

    private let edit = Change(
        action: .set(Setting(field: "cpuunits", value: "2000", kernelName: "cpu.weight", kernelValue: .number(200))),
        field: "cpuunits",
        before: "1000", after: "2000", kernel: .init(name: "cpu.weight", before: .number(100), after: .number(200)))

    @Test func aLiveChangeShowsBothTerms() throws {
        let text = Plan(containers: [try container([edit])]).text()
        #expect(
            text == """
                CT 101 web                      /etc/vz.d/web.yaml:1
                  ~ cpuunits               1000 → 2000              live      cpu.weight 100 → 200
                Plan: 1 change live
                """)
    }

    @Test func nothingToDoSaysSo() throws {
        let plan = Plan(containers: [try container([])])
        #expect(plan.isEmpty)
        #expect(plan.text() == "Plan: nothing to do")
    }

    @Test func whatIsHeldIsShownAndIsNothingToDo() throws {
        let held = Change(action: .wait, field: "init", before: "a", after: "b", disruption: .restart, held: "later")
        let plan = Plan(containers: [try container([held])])
        #expect(plan.isEmpty)
        #expect(plan.text().contains("held: later"))
        #expect(plan.text().hasSuffix("Plan: 1 held"))
    }

    @Test func unsupportedIsSaidWithItsReason() throws {
        let missing = Unsupported(field: "ioprio", value: "7", reason: "no controller io; mount it")
        let plan = Plan(containers: [try container([], unsupported: [missing], problem: "web.yaml:3:1: broken")])
        #expect(plan.text().contains("ioprio                 7: unsupported here: no controller io; mount it"))
        #expect(plan.text().contains("! web.yaml:3:1: broken"))
    }

    @Test func driftIsCalledDrift() throws {
        var drifted = edit
        drifted.reason = .drift
        #expect(Plan(containers: [try container([drifted])]).text().contains("drifted 1000 → 2000"))
        #expect(drifted.summary == "cpuunits 1000 → 2000 (cpu.weight 100 → 200, drift)")
    }

    @Test func containersStandInOrderOfTheirNumbers() throws {
        var other = try container([edit])
        other.ctid = try #require(ContainerID(102))
        #expect(Plan(containers: [other, try container([edit])]).containers.map(\.ctid.number) == [101, 102])
    }
}
