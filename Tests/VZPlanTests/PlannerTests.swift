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

    @Test func whatOnlyAStartBringsIsHeldAndSaysHow() throws {
        let changes = Planner.changes(
            from: running([Self.weight, Self.ram, Self.hostname]),
            to: try desired(init: ["/bin/sh"], env: ["A": "b"], template: "debian"))
        #expect(changes.map(\.field) == ["init", "env", "template"])
        #expect(changes.map(\.disruption) == [.restart, .restart, .recreate])
        #expect(changes.allSatisfy { $0.action == .wait && $0.held != nil })
        #expect(changes.first?.held?.contains("vzctl stop web") == true)
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
