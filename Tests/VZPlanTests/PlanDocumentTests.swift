import FoundationEssentials
import Testing
import VZModel

@testable import VZPlan

@Suite struct PlanDocumentTests {
    private static let weight = Setting(field: "cpuunits", value: "2000", kernelName: "cpu.weight", kernelValue: .number(200))
    private static let ram = Setting(field: "ram", value: "unlimited", kernelName: "memory.max", kernelValue: .unlimited)

    private func plan() throws -> Plan {
        func change(_ setting: Setting, before: String?, _ kernel: Setting.Value?, _ reason: Reason = .wanted) -> Change {
            Change(
                action: .set(setting), field: setting.field, before: before, after: setting.value,
                kernel: .init(name: setting.kernelName, before: kernel, after: setting.kernelValue), reason: reason)
        }
        return Plan(containers: [
            Plan.Container(
                ctid: try #require(ContainerID(102)), name: "new", source: "new.yaml:1",
                changes: [
                    Change(action: .makeRoot(template: "busybox"), field: "template", after: "busybox"),
                    change(Self.weight, before: nil, nil), Change(action: .start, before: "stopped", after: "/sbin/init"),
                ], unsupported: [Unsupported(field: "ioprio", value: "7", reason: "no disk")]),
            Plan.Container(
                ctid: try #require(ContainerID(101)), name: "web", source: "web.yaml:3",
                changes: [
                    change(Self.weight, before: "770", .number(77), .drift), change(Self.ram, before: "64M", .number(64 << 20)),
                    Change(action: .wait, field: "init", before: "a", after: "b", disruption: .restart, held: "later"),
                ]),
            Plan.Container(
                ctid: try #require(ContainerID(103)), name: "old", source: "file removed",
                changes: [Change(action: .stop, before: "running", after: "stopped", disruption: .restart, reason: .removed)]),
            Plan.Container(
                ctid: try #require(ContainerID(104)), name: "same", source: "same.yaml:1", changes: [],
                problem: "same.yaml:1:1: broken"),
        ])
    }

    /// Every member as it is written down for others: a change of this text is a change of the format.
    @Test func theForm() throws {
        let document = PlanDocument(try plan(), generation: "9c1e", created: "2026-02-03T04:05:06Z")
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let text = String(decoding: try encoder.encode(document), as: UTF8.self)
        #expect(
            text == """
                {"containers":[\
                {"changes":[\
                {"action":"set","after":"2000","before":"770","disruption":"live","field":"cpuunits",\
                "kernel":{"after":200,"before":77,"name":"cpu.weight"},"reason":"drift"},\
                {"action":"set","after":"unlimited","before":"64M","disruption":"live","field":"ram",\
                "kernel":{"after":"max","before":67108864,"name":"memory.max"},"reason":"wanted"},\
                {"action":"wait","after":"b","before":"a","disruption":"restart","field":"init","held":"later","reason":"wanted"}],\
                "ctid":101,"name":"web","source":"web.yaml:3","unsupported":[]},\
                {"changes":[\
                {"action":"make_root","after":"busybox","disruption":"live","field":"template","reason":"wanted"},\
                {"action":"set","after":"2000","disruption":"live","field":"cpuunits",\
                "kernel":{"after":200,"name":"cpu.weight"},"reason":"wanted"},\
                {"action":"start","after":"/sbin/init","before":"stopped","disruption":"live","field":"","reason":"wanted"}],\
                "ctid":102,"name":"new","source":"new.yaml:1",\
                "unsupported":[{"field":"ioprio","reason":"no disk","value":"7"}]},\
                {"changes":[\
                {"action":"stop","after":"stopped","before":"running","disruption":"restart","field":"","reason":"removed"}],\
                "ctid":103,"name":"old","source":"file removed","unsupported":[]},\
                {"changes":[],"ctid":104,"name":"same","problem":"same.yaml:1:1: broken","source":"same.yaml:1","unsupported":[]}],\
                "created":"2026-02-03T04:05:06Z","format_version":"1.0","generation":"9c1e",\
                "summary":{"drifted":1,"held":1,"live":2,"problems":1,"restarts":0,"starts":1,"stops":1,"trashed":0,"unsupported":1}}
                """)
        #expect(try JSONDecoder().decode(PlanDocument.self, from: Data(text.utf8)) == document)
    }

    @Test func aBoundPlanKeepsItsBasis() throws {
        let basis = PlanDocument.Basis(
            node: "abc",
            inputs: [
                .init(kind: "record", name: "101", digest: "2"), .init(kind: "manifest", name: "/etc/vz.d/web.yaml", digest: "1"),
            ])
        let ctid = try #require(ContainerID(101))
        let document = PlanDocument(try plan(), generation: "9c1e", created: "now", basis: basis, observed: [ctid: "5"])
        let read = try JSONDecoder().decode(PlanDocument.self, from: JSONEncoder().encode(document))
        #expect(read == document && read.basis?.inputs.first?.kind == "manifest")
        #expect(read.containers.map(\.observedDigest) == ["5", nil, nil, nil])
    }

    @Test func theDifferenceOfTwoBasesIsNamed() {
        typealias Input = PlanDocument.Input
        let inputs = [
            Input(kind: "manifest", name: "/a.yaml", digest: "1"), Input(kind: "record", name: "101", digest: "2"),
            Input(kind: "override", name: "101", digest: "3"),
        ]
        func basis(_ inputs: [Input]) -> PlanDocument.Basis { PlanDocument.Basis(node: nil, inputs: inputs) }
        let all = basis(inputs)
        #expect(basis(inputs.reversed()) == all, "the order of looking is nothing to tell")
        #expect(all.difference(from: all) == [])
        let other = basis([
            Input(kind: "manifest", name: "/a.yaml", digest: "9"), inputs[1], Input(kind: "manifest", name: "/b.yaml", digest: "1"),
        ])
        #expect(all.difference(from: other) == ["manifest /a.yaml", "manifest /b.yaml", "override 101"])
        #expect(other.difference(from: all) == all.difference(from: other))
        #expect(other.inputsDigest != all.inputsDigest)
    }
}

@Suite struct ObservedDigestTests {
    private static let seen = ObservedContainer(
        isRunning: true, isPresent: true,
        settings: [
            Setting(field: "cpuunits", value: "1000", kernelName: "cpu.weight", kernelValue: .number(100)),
            Setting(field: "ram", value: "unlimited", kernelName: "memory.max", kernelValue: .unlimited),
        ],
        startedWith: StartParameters(init: ["/sbin/init", "x"], env: ["A": "b", "C": "d"]), rootExists: true,
        rootTemplate: "busybox")

    /// Each thing that decides makes a difference.
    @Test(
        arguments: [
            { $0.isRunning = false }, { $0.isPresent = false }, { $0.rootExists = false }, { $0.rootTemplate = nil },
            { $0.rootTemplate = "debian" }, { $0.settings.removeLast() }, { $0.settings[0].kernelName = "cpu.shares" },
            { $0.settings[0].kernelValue = .number(101) }, { $0.settings[0].kernelValue = .text("100") },
            { $0.settings[1].kernelValue = .text("max") }, { $0.startedWith = nil }, { $0.startedWith?.`init` = ["/sbin/init x"] },
            { $0.startedWith?.env["A"] = "c" }, { $0.startedWith?.env = ["A": "b"] },
            { $0.startedWith = StartParameters(init: ["/sbin/init"], env: ["x": "A", "b": "C"]) },
        ] as [@Sendable (inout ObservedContainer) -> Void])
    func whatDecidesMakesADifference(_ edit: @Sendable (inout ObservedContainer) -> Void) {
        var other = Self.seen
        edit(&other)
        #expect(other.digest != Self.seen.digest)
    }

    @Test func whatIsOnlyShownOrOrderedMakesNone() {
        var other = Self.seen
        other.settings.reverse()
        other.settings[0].value = "shown otherwise"
        #expect(other.digest == Self.seen.digest)
    }
}
