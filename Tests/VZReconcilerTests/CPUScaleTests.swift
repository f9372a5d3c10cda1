import FoundationEssentials
import Testing
import VZKernel
import VZModel
import VZPlan

@testable import VZIsolation

/// cpuunits of all the containers of a node as weights of the kernel's: what counts is their ratio.
@Suite struct CPUScaleTests {
    static let v1 = ControlGroupTree.WeightScale(range: 2...262_144, default: 1024)
    static let v2 = ControlGroupTree.WeightScale(range: 1...10_000, default: 100)

    /// The units of a node's containers, whether the standard scale holds them, and their weights.
    struct Row: Sendable {
        var kernel: ControlGroupTree.WeightScale
        var units: [Int]
        var isStandard: Bool
        var weights: [Int64]
    }

    @Test(arguments: [
        Row(kernel: v1, units: [], isStandard: true, weights: []),
        Row(kernel: v1, units: [1000], isStandard: true, weights: [1024]),
        Row(kernel: v1, units: [8], isStandard: true, weights: [8]),
        Row(kernel: v1, units: [500_000], isStandard: true, weights: [262_144]),
        Row(kernel: v1, units: [500_000, 500_000], isStandard: true, weights: [262_144, 262_144]),
        Row(kernel: v1, units: [8, 1000, 256_000], isStandard: true, weights: [8, 1024, 262_144]),
        Row(kernel: v1, units: [1000, 256_001], isStandard: false, weights: [1024, 262_144]),
        Row(kernel: v1, units: [8, 1000, 500_000], isStandard: false, weights: [4, 524, 262_144]),
        Row(kernel: v2, units: [1000], isStandard: true, weights: [100]),
        Row(kernel: v2, units: [8], isStandard: true, weights: [1]),
        Row(kernel: v2, units: [500_000], isStandard: true, weights: [10_000]),
        Row(kernel: v2, units: [8, 8], isStandard: true, weights: [1, 1]),
        Row(kernel: v2, units: [80, 1000, 100_000], isStandard: true, weights: [8, 100, 10_000]),
        Row(kernel: v2, units: [79, 1000], isStandard: false, weights: [790, 10_000]),
        Row(kernel: v2, units: [8, 1000], isStandard: false, weights: [80, 10_000]),
        Row(kernel: v2, units: [1000, 500_000], isStandard: false, weights: [20, 10_000]),
        Row(kernel: v2, units: [8, 1000, 500_000], isStandard: false, weights: [1, 20, 10_000]),
    ])
    func weights(_ row: Row) {
        let scale = CPUScale(for: row.units, on: row.kernel)
        #expect(scale.isStandard == row.isStandard)
        #expect((scale.note("cpu.weight") == nil) == row.isStandard)
        #expect(row.units.map { scale.weight(of: $0) } == row.weights)
    }

    /// Over the whole range of units: each ratio holds as well as whole weights can, or its loss is told.
    @Test(arguments: [v1, v2]) func ratiosAreKeptOrToldNotToBe(_ kernel: ControlGroupTree.WeightScale) {
        let some = [8, 9, 20, 79, 80, 81, 500, 1000, 3000, 99_999, 100_000, 256_000, 300_000, 500_000]
        for least in some {
            for greatest in some where greatest > least {
                let scale = CPUScale(for: [least, greatest], on: kernel)
                let weights = [least, greatest].map { scale.weight(of: $0) }
                #expect(weights.allSatisfy(kernel.range.contains))
                let ratio = Double(weights[1]) / Double(weights[0])
                let wanted = Double(greatest) / Double(least)
                if let counted = scale.least(above: least) {
                    #expect(counted > least && weights[0] == kernel.range.lowerBound)
                    #expect(wanted > Double(kernel.range.upperBound / kernel.range.lowerBound))
                    #expect(scale.least(above: Int(counted)) == nil)
                } else {
                    // Half a weight at either end.
                    let error = 0.5 / Double(weights[0]) + 0.5 / Double(weights[1])
                    #expect(abs(ratio / wanted - 1) <= error * 1.01, "\(least) \(greatest): \(weights)")
                }
                if !scale.isStandard { #expect(scale.cpuunits(of: weights[1]) == Int64(greatest)) }
            }
        }
    }

    private func host(_ more: String = "") throws -> HostCapabilities {
        let text = """
            {"cpu_weight":{"default":100,"max":10000,"min":1},"pids_max":{"max":4194304,"min":0},\(more)"settings":{\
            "cpuWeight":{"name":"cpu.weight"},"cpuQuota":{"name":"cpu.max"},"cpus":{"name":"cpuset.cpus"},\
            "memoryNodes":{"name":"cpuset.mems"}}}
            """
        return try JSONDecoder().decode(HostCapabilities.self, from: Data(text.utf8))
    }

    @Test func whatIsClippedIsTold() throws {
        let host = try host()
        let scaled = host.scaled(for: [8, 1000, 500_000])
        #expect(host.cpuScaleNote == nil)
        #expect(scaled.cpuScaleNote?.contains("cpu.weight is units × 10000 / 500000") == true)
        let wish = Facets.wish(for: ContainerSpec(name: "small", cpuunits: 8), on: scaled)
        #expect(wish.settings.first.map { "\($0.value) \($0.kernelValue)" } == "8 1")
        #expect(wish.unsupported.first?.reason.contains("it counts as 50") == true)
        #expect(Facets.wish(for: ContainerSpec(name: "web"), on: scaled).unsupported.isEmpty)
        // Alone it needs no ratio to anybody.
        #expect(Facets.wish(for: ContainerSpec(name: "small", cpuunits: 8), on: host.scaled(for: [8])).unsupported.isEmpty)
    }

    @Test(arguments: [
        (0, 0, "cpulimit 0 max"), (25, 0, "cpulimit 25 25000/100000"), (0, 2, "cpus 200, of cpus 2 200000/100000"),
        (150, 2, "cpulimit 150 150000/100000"), (300, 2, "cpulimit 200, of cpus 2 200000/100000"),
        (200, 2, "cpulimit 200 200000/100000"), (6400, 0, "cpulimit 6400 6400000/100000"),
    ])
    func theHardLimitIsTheLesserOfTwo(_ cpulimit: Int, _ cpus: Int, _ expected: String) throws {
        var spec = ContainerSpec(name: "web", cpulimit: cpulimit)
        spec.cpus = cpus
        let setting = try #require(Facets.wish(for: spec, on: host()).settings.first { $0.kernelName == "cpu.max" })
        #expect("\(setting.field) \(setting.value) \(setting.kernelValue)" == expected)
    }

    @Test(
        arguments: [
            ("all", "all"), ("0", "0"), ("0-1,4", "all"), ("1,0", "0-1"), ("2", nil), ("0-2", nil), ("0,4095", nil),
        ] as [(String, String?)])
    func masksNameWhatTheHostHas(_ mask: String, _ kernel: String?) throws {
        let host = try host(#""cpus":"0-1,4","memory_nodes":"0","#)
        var spec = ContainerSpec(name: "web")
        spec.cpumask = try #require(NumberSet(text: mask))
        let wish = Facets.wish(for: spec, on: host)
        #expect(wish.settings.first { $0.field == "cpumask" }?.kernelValue == kernel.map(Setting.Value.text))
        #expect(wish.unsupported.map(\.field) == (kernel == nil ? ["cpumask"] : []))
        #expect(wish.unsupported.allSatisfy { $0.reason.contains("this host has the CPUs 0-1,4") })
        (spec.cpumask, spec.nodemask) = (.all, try #require(NumberSet(text: "0,1")))
        #expect(Facets.wish(for: spec, on: host).unsupported.map(\.field) == ["nodemask"])
    }

    @Test func aWeightOfOursIsToldAsWhatWasAskedFor() throws {
        let scale = CPUScale(for: [8, 1000], on: Self.v2)
        func told(_ weight: Int64, _ last: [String: Setting.Value]) -> String? {
            let seen = Setting(field: "cpuunits", value: "?", kernelName: "cpu.weight", kernelValue: .number(weight))
            return Facets.told([seen], by: scale) { last }.first?.value
        }
        #expect(told(100, ["cpu.weight": .number(100), "cpuunits": .number(1000)]) == "1000")
        #expect(told(100, ["cpu.weight": .number(7), "cpuunits": .number(70)]) == "10")
        #expect(told(100, [:]) == "10")
    }
}
