import Testing
import VZModel

@testable import VZPlan

@Suite struct DifferenceTests {
    private static let weight = Setting(field: "cpuunits", value: "1000", kernelName: "cpu.weight", kernelValue: .number(100))
    private static let ram = Setting(field: "ram", value: "64M", kernelName: "memory.max", kernelValue: .number(64 << 20))

    private func desired(_ state: RunState = .running, _ edit: (inout DesiredContainer) -> Void = { _ in }) throws
        -> DesiredContainer
    {
        var desired = DesiredContainer(
            ctid: try #require(ContainerID(101)), name: "web", source: "web.yaml:1", state: state, template: "busybox",
            start: StartParameters(init: ["/sbin/init"], env: [:]), wish: Wish(settings: [Self.weight, Self.ram]))
        edit(&desired)
        return desired
    }

    private func running(_ settings: [Setting] = [weight, ram]) -> ObservedContainer {
        ObservedContainer(
            isRunning: true, isPresent: true, settings: settings, startedWith: StartParameters(init: ["/sbin/init"], env: [:]),
            rootExists: true, rootTemplate: "busybox")
    }

    private func lines(_ observed: ObservedContainer, _ desired: DesiredContainer) -> [String] {
        Difference.between(observed, desired).flatMap(\.lines)
    }

    @Test func whatAgreesDoesNotDiffer() throws {
        #expect(try lines(running(), desired()) == [])
        #expect(try lines(ObservedContainer(rootExists: true, rootTemplate: "busybox"), desired(.stopped)) == [])
        #expect(Difference.text([], of: try #require(ContainerID(101)), "web", source: "web.yaml:1") == "")
    }

    @Test func aSettingDiffersInBothTerms() throws {
        var other = Self.weight
        (other.value, other.kernelValue) = ("770", .number(77))
        #expect(
            try lines(running([other, Self.ram]), desired()) == [
                "-cpuunits: 770   # cpu.weight 77", "+cpuunits: 1000   # cpu.weight 100",
            ])
        #expect(try lines(running([Self.ram]), desired()) == ["+cpuunits: 1000   # cpu.weight 100"])
        #expect(try lines(running([other, Self.ram]), desired { $0.ignoredDrift = ["cpuunits"] }) == [])
        // Whether it is done now is another matter.
        #expect(try lines(running([other, Self.ram]), desired { $0.hold = "held by somebody" }).count == 2)
    }

    @Test func whatOnlyAStartBringsDiffersWhetherItIsHeldOrNot() throws {
        for disruption in Disruption.allCases {
            let new = try desired {
                $0.disruption = disruption
                $0.start = StartParameters(init: ["/bin/sh", "-c"], env: ["A": "b"])
                $0.template = "debian"
            }
            #expect(
                lines(running(), new) == [
                    "-template: busybox", "+template: debian", "-init: /sbin/init", "+init: /bin/sh -c", "-env: ", "+env: A=b",
                ])
        }
    }

    @Test func whatDoesNotRunDiffersInItsState() throws {
        #expect(
            try lines(ObservedContainer(), desired()) == ["-state: stopped", "+state: running", "+root: from template busybox"])
        #expect(
            try lines(ObservedContainer(isPresent: true, rootExists: true, rootTemplate: "busybox"), desired()) == [
                "-state: ended", "+state: running",
            ])
        #expect(try lines(running(), desired(.stopped)) == ["-state: running", "+state: stopped"])
        #expect(try lines(running(), desired(.suspended)) == ["-state: running", "+state: stopped"])
    }

    @Test func aRemovedManifest() throws {
        #expect(try lines(running(), desired(.stopped) { $0.removal = .ignore }) == [])
        #expect(try lines(running(), desired(.stopped) { $0.removal = .retain }) == ["-state: running", "+state: stopped"])
        #expect(
            try lines(running(), desired(.stopped) { $0.removal = .trash }) == [
                "-state: running", "+state: stopped", "-root: there", "+root: in the trash",
            ])
    }

    @Test func theHeadNamesTheContainer() throws {
        let text = Difference.text(
            Difference.between(ObservedContainer(rootExists: true, rootTemplate: "busybox"), try desired()),
            of: try #require(ContainerID(101)), "web", source: "/etc/vz.d/web.yaml:3")
        #expect(text == "--- CT 101 web\n+++ /etc/vz.d/web.yaml:3\n-state: stopped\n+state: running\n")
    }
}
