import Testing
import VZModel

@testable import VZManifest

/// A container in beancounter mode that breaks no rule: OpenVZ's 256 MB sample, with 180 expected processes.
private let good: [Beancounter: BarrierLimit] = [
    .kmemsize: BarrierLimit(barrier: 11_055_923, limit: 11_377_049), .lockedpages: BarrierLimit(both: 256),
    .privvmpages: BarrierLimit(barrier: 65536, limit: 69632), .shmpages: BarrierLimit(both: 21504),
    .numproc: BarrierLimit(both: 240), .physpages: BarrierLimit(barrier: 0, limit: .max),
    .vmguarpages: BarrierLimit(barrier: 33792, limit: .max), .oomguarpages: BarrierLimit(barrier: 26112, limit: .max),
    .numtcpsock: BarrierLimit(both: 360), .numflock: BarrierLimit(barrier: 188, limit: 206), .numpty: BarrierLimit(both: 16),
    .numsiginfo: BarrierLimit(both: 256), .tcpsndbuf: BarrierLimit(barrier: 1_720_320, limit: 2_703_360),
    .tcprcvbuf: BarrierLimit(barrier: 1_720_320, limit: 2_703_360),
    .othersockbuf: BarrierLimit(barrier: 1_126_080, limit: 2_097_152),
    .dgramrcvbuf: BarrierLimit(both: 262_144), .numothersock: BarrierLimit(both: 360),
    .dcachesize: BarrierLimit(barrier: 3_409_920, limit: 3_624_960), .numfile: BarrierLimit(both: 9312),
    .numiptent: BarrierLimit(both: 128),
]

private func check(_ changes: [Beancounter: BarrierLimit], processes: Int64? = 180) -> [Finding] {
    var operands = RuleOperands(bounds: good.merging(changes) { $1 })
    operands.avnumproc = processes
    return ConsistencyRules.check(operands, [.manifest, .openVZ])
}

private func pair(_ barrier: Int64, _ limit: Int64) -> BarrierLimit { BarrierLimit(barrier: barrier, limit: limit) }

/// An edge: the last value that holds, the first that does not, and the rule that says so.
struct Edge: Sendable, CustomTestStringConvertible {
    var rule: String
    var severity: Severity
    var field: Beancounter
    var holds: BarrierLimit
    var breaks: BarrierLimit
    /// What else stands there.
    var beside: [Beancounter: BarrierLimit] = [:]
    var processes: Int64? = 180
    var testDescription: String { "\(rule) of \(field): \(holds) / \(breaks)" }

    init(
        _ rule: String, _ severity: Severity, _ field: Beancounter, _ holds: BarrierLimit, _ breaks: BarrierLimit,
        beside: [Beancounter: BarrierLimit] = [:], processes: Int64? = 180
    ) {
        self.rule = rule
        self.severity = severity
        self.field = field
        self.holds = holds
        self.breaks = breaks
        self.beside = beside
        self.processes = processes
    }

    static let equal: [Edge] = [
        (.numproc, 240), (.numtcpsock, 360), (.numothersock, 360), (.shmpages, 256), (.numfile, 9312), (.numpty, 16),
        (.numsiginfo, 256),
        (.numiptent, 128),
    ].flatMap { (beancounter: Beancounter, value: Int64) in
        [
            Edge("ubc-barrier-equals-limit", .error, beancounter, pair(value, value), pair(value, value + 1)),
            Edge("ubc-barrier-equals-limit", .error, beancounter, pair(value, value), pair(value, value - 1)),
        ]
    }

    static let ordered: [Edge] =
        [
            (.kmemsize, 11_055_923), (.dgramrcvbuf, 262_144), (.privvmpages, 65536), (.lockedpages, 256), (.numflock, 188),
            (.dcachesize, 3_624_960),
        ].map { (beancounter: Beancounter, value: Int64) in
            Edge("ubc-barrier-within-limit", .error, beancounter, pair(value, value), pair(value + 1, value))
        } + [
            // Buffers need a gap anyway; without sockets none.
            Edge(
                "ubc-barrier-within-limit", .error, .tcpsndbuf, pair(65536, 65536), pair(65537, 65536),
                beside: [.numtcpsock: pair(0, 0)]),
            Edge(
                "ubc-barrier-within-limit", .error, .tcprcvbuf, pair(65536, 65536), pair(65537, 65536),
                beside: [.numtcpsock: pair(0, 0)]),
            Edge(
                "ubc-barrier-within-limit", .error, .othersockbuf, pair(132_096, 132_096), pair(132_097, 132_096),
                beside: [.numothersock: pair(0, 0)]),
        ]

    static let others: [Edge] = [
        Edge("ubc-guarantee-limit-unlimited", .error, .vmguarpages, pair(0, .max), pair(0, .max - 1)),
        Edge("ubc-guarantee-limit-unlimited", .error, .oomguarpages, pair(.max, .max), pair(0, 2_147_483_647)),
        Edge("ubc-physpages-unlimited", .error, .physpages, pair(0, .max), pair(1, .max)),
        Edge("ubc-physpages-unlimited", .error, .physpages, pair(0, .max), pair(.max, .max)),
        Edge("ubc-physpages-unlimited", .error, .physpages, pair(0, .max), pair(0, 2_147_483_647)),
        Edge("ubc-dcachesize-covers-files", .warning, .dcachesize, pair(3_409_920, 3_575_808), pair(3_409_920, 3_575_807)),
        Edge("ubc-kmemsize-covers-processes", .error, .kmemsize, pair(10_997_760, 11_377_049), pair(10_997_759, 11_377_049)),
        Edge(
            "ubc-kmemsize-covers-processes", .error, .kmemsize, pair(8_540_160, 11_377_049), pair(8_540_159, 11_377_049),
            processes: nil),
        Edge("ubc-privvmpages-covers-guarantee", .warning, .privvmpages, pair(33792, 69632), pair(33791, 69632)),
        Edge("ubc-tcpsndbuf-gap", .error, .tcpsndbuf, pair(1_720_320, 2_641_920), pair(1_720_320, 2_641_919)),
        Edge("ubc-tcprcvbuf-gap", .warning, .tcprcvbuf, pair(1_720_320, 2_641_920), pair(1_720_320, 2_641_919)),
        Edge("ubc-othersockbuf-gap", .error, .othersockbuf, pair(1_126_080, 2_047_680), pair(1_126_080, 2_047_679)),
        Edge("ubc-tcp-buffer-minimum", .warning, .tcpsndbuf, pair(65536, 2_703_360), pair(65535, 2_703_360)),
        Edge("ubc-tcp-buffer-minimum", .warning, .tcprcvbuf, pair(65536, 2_703_360), pair(65535, 2_703_360)),
        Edge("ubc-datagram-buffer-advised", .advice, .dgramrcvbuf, pair(132_096, 262_144), pair(132_095, 262_144)),
        Edge("ubc-datagram-buffer-advised", .advice, .othersockbuf, pair(132_096, 2_097_152), pair(132_095, 2_097_152)),
        Edge("ubc-datagram-buffer-minimum", .warning, .dgramrcvbuf, pair(262_144, 262_144), pair(32767, 262_144)),
        Edge("ubc-datagram-buffer-minimum", .warning, .othersockbuf, pair(132_096, 2_097_152), pair(32767, 2_097_152)),
        Edge("ubc-numfile-covers-use", .warning, .numfile, pair(5760, 5760), pair(5759, 5759)),
        Edge("ubc-numfile-covers-use", .warning, .numfile, pair(736, 736), pair(735, 735), processes: 1),
    ]

    static let all = equal + ordered + others
}

@Suite struct RulesTests {
    @Test func theSampleIsGood() { #expect(check([:]).isEmpty) }

    @Test(arguments: Edge.all)
    func hasTheMeasuredEdge(edge: Edge) throws {
        #expect(check(edge.beside.merging([edge.field: edge.holds]) { $1 }, processes: edge.processes).isEmpty)
        let findings = check(edge.beside.merging([edge.field: edge.breaks]) { $1 }, processes: edge.processes)
        let finding = try #require(findings.first { $0.rule == edge.rule })
        #expect(finding.severity == edge.severity)
        #expect(finding.field == "spec.beancounters.\(edge.field)")
        #expect(findings.count == 1, "\(findings)")
    }

    @Test func betweenTheTwoLeastDatagramBuffersIsOnlyAdvice() {
        let findings = check([.dgramrcvbuf: pair(32768, 262_144)])
        #expect(findings.map(\.rule) == ["ubc-datagram-buffer-advised"])
    }

    @Test func tellsTheNumbers() {
        let findings = check([.kmemsize: pair(10_997_759, 11_377_049)])
        #expect(
            findings.map(\.description) == [
                "error: spec.beancounters.kmemsize: expected a barrier of at least 10997760 (40960 for each of 180 expected processes, "
                    + "and the dcachesize limit of 3624960), got 10997759 [ubc-kmemsize-covers-processes]"
            ])
    }

    // MARK: What is left out, and what is unlimited

    /// A manifest names what it limits; a rule about anything else is satisfied.
    @Test(arguments: Beancounter.allCases)
    func anAbsentOperandSatisfies(beancounter: Beancounter) {
        var spec = ContainerSpec(name: "c", beancounters: good)
        spec.beancounters[beancounter] = nil
        #expect(ConsistencyRules.check(spec).isEmpty)
    }

    @Test(arguments: Beancounter.allCases.filter { $0 != .swappages })
    func anOpenVZConfigurationMustHaveAllButSwap(beancounter: Beancounter) {
        var bounds = good
        bounds[beancounter] = nil
        let findings = ConsistencyRules.check(RuleOperands(bounds: bounds), [.openVZ])
        #expect(findings.map(\.rule) == ["ubc-parameters-present"])
        #expect(findings.map(\.field) == ["spec.beancounters.\(beancounter)"])
    }

    @Test(
        arguments: [
            ([.dcachesize: pair(.max, .max)], ["ubc-kmemsize-covers-processes"]),
            ([.numfile: pair(.max, .max)], ["ubc-dcachesize-covers-files"]),
            ([.numtcpsock: pair(.max, .max)], ["ubc-numfile-covers-use", "ubc-tcpsndbuf-gap", "ubc-tcprcvbuf-gap"]),
            ([.numothersock: pair(.max, .max)], ["ubc-numfile-covers-use", "ubc-othersockbuf-gap"]),
            // 2^51 sockets: 2560 times that wraps around to a small number.
            ([.numtcpsock: pair(1 << 53, 1 << 53)], ["ubc-numfile-covers-use", "ubc-tcpsndbuf-gap", "ubc-tcprcvbuf-gap"]),
            ([.tcpsndbuf: pair(1_720_320, .max)], []),
            ([.tcpsndbuf: pair(.max, .max), .numtcpsock: pair(.max, .max)], ["ubc-numfile-covers-use", "ubc-tcprcvbuf-gap"]),
        ] as [([Beancounter: BarrierLimit], [String])])
    func productsSaturate(changes: [Beancounter: BarrierLimit], rules: [String]) {
        #expect(check(changes).map(\.rule) == rules)
    }

    @Test func everythingUnlimitedIsGood() {
        var spec = ContainerSpec(name: "c")
        for beancounter in Beancounter.allCases { spec.beancounters[beancounter] = BarrierLimit(both: .max) }
        spec.beancounters[.physpages] = pair(0, .max)
        #expect(ConsistencyRules.check(spec).isEmpty)
    }

    // MARK: VSwap

    @Test func withRAMOnlyTheRulesOfVSwapHold() {
        var spec = ContainerSpec(name: "c", ram: 1 << 28, swap: 1 << 29)
        spec.beancounters = [.kmemsize: pair(2, 1), .tcpsndbuf: pair(1, 1), .numtcpsock: pair(100, 100)]
        #expect(ConsistencyRules.check(spec).isEmpty)
    }

    @Test(arguments: [
        (pair(0, 65536), ["vswap-parameters-present"]),
        (pair(65536, 65536), ["vswap-physpages-barrier-zero", "vswap-parameters-present"]),
        (pair(0, 2_147_483_646), ["vswap-parameters-present"]), (pair(0, 2_147_483_648), ["vswap-parameters-present"]),
    ])
    func physpagesDecidesTheMode(physpages: BarrierLimit, rules: [String]) {
        #expect(ConsistencyRules.check(RuleOperands(bounds: [.physpages: physpages]), [.manifest, .openVZ]).map(\.rule) == rules)
    }

    @Test(arguments: [pair(0, .max), pair(0, 2_147_483_647)])
    func anUnlimitedPhyspagesIsNoVSwap(physpages: BarrierLimit) {
        #expect(RuleOperands(bounds: [.physpages: physpages]).mode == .beancounters)
    }

    @Test func vswapWantsSwapWithoutABarrier() {
        let bounds: [Beancounter: BarrierLimit] = [.physpages: pair(0, 65536), .swappages: pair(1, 65536)]
        #expect(
            ConsistencyRules.check(RuleOperands(bounds: bounds), [.manifest, .openVZ]).map(\.rule) == [
                "vswap-swappages-barrier-zero"
            ])
    }

    // MARK: Disk

    @Test func theSoftLimitIsWithinTheHardOne() {
        var spec = ContainerSpec(name: "c")
        spec.diskspace = pair(1 << 31, 1 << 31)
        spec.diskinodes = pair(100, 100)
        #expect(ConsistencyRules.check(spec).isEmpty)
        spec.diskspace = pair((1 << 31) + 1, 1 << 31)
        spec.diskinodes = pair(101, 100)
        #expect(ConsistencyRules.check(spec).map(\.field) == ["spec.diskspace", "spec.diskinodes"])
        #expect(ConsistencyRules.check(spec).allSatisfy { $0.severity == .error && $0.rule == "disk-soft-within-hard" })
    }

    // MARK: The table

    @Test func idsAreUniqueAndDocumented() throws {
        let rules = ConsistencyRules.all
        #expect(Set(rules.map(\.id)).count == rules.count)
        for rule in rules {
            #expect(rule.id.utf8.allSatisfy { (97...122).contains($0) || $0 == UInt8(ascii: "-") }, "\(rule.id)")
            #expect(rule.summary.hasSuffix(".") && rule.explanation.hasSuffix("."), "\(rule.id)")
            let text = try #require(ConsistencyRules.explanation(of: rule.id))
            #expect(text.hasPrefix("\(rule.id)\n  severity  \(rule.severity.rawValue)\n"))
        }
        #expect(ConsistencyRules.explanation(of: "no-such-rule") == nil)
        #expect(ConsistencyRules.suggestion(for: "ubc-tcpsndbuff-gap") == "ubc-tcpsndbuf-gap")
    }

    @Test func findingsStandAtTheirFields() throws {
        let parsed = parse(document("web", "hostname: a, beancounters: {tcpsndbuf: 4096}"))
        #expect(
            parsed.diagnostics.map(\.description) == [
                "test.yaml:4:47: warning: spec.beancounters.tcpsndbuf: expected a barrier of at least 65536 (64 KiB), got 4096 "
                    + "[ubc-tcp-buffer-minimum]"
            ])
        #expect(parsed.documents.count == 1)
    }
}

@Suite struct RulesCapacityTests {
    /// The host and the container of the measured `vzcalc -v`: promised 0.64 %, at most 1.22 %.
    private static let host = HostFigures(ram: 24105 << 20, swap: 0, cpus: 2, bogomips: 8000, threadsMax: 192_000)
    private static let basic: ContainerSpec = {
        var spec = ContainerSpec(name: "basic", beancounters: good)
        spec.beancounters[.kmemsize] = pair(14_372_700, 14_790_164)
        return spec
    }()

    @Test func agreesWithVzcalc() {
        let memory = Capacity.memory(of: Self.basic)
        #expect(Capacity.percent(memory.promised, of: Self.host.ram) == "0.64")
        #expect(Capacity.percent(memory.allocatable.amount, of: Self.host.ram) == "1.22")
        #expect(memory.kernel.amount == 22_556_180)
        #expect(memory.survivable == 26112 * 4096 + 22_556_180)
        #expect(memory.ram.isUnlimited && !memory.allocatable.isUnlimited)
    }

    @Test func printsBothTables() {
        var vswap = ContainerSpec(name: "vswap", cpuunits: 2000, ram: 1 << 30, swap: 2 << 30)
        vswap.vmOvercommit = 2
        let head = """
            name                  kernel    kernel        ram        ram   ram+swap        oom      alloc      alloc      alloc  numproc    numproc
                                    held     limit       held      limit       held    promise       held    promise      limit     held      limit

            """
        let host = """

            host                9642 MiB  9642 MiB  24105 MiB  24105 MiB  24105 MiB  24105 MiB  24105 MiB  24105 MiB  24105 MiB   192000     192000
            """
        #expect(
            Capacity.memoryTable([Self.basic, vswap], host: Self.host) == head + """
                basic                      -      0.22          -  unlimited          -       0.51          -       0.64       1.22        -       0.13
                vswap                      -      0.00          -       4.25          -       4.25          -      12.74      25.49        -  unlimited
                all, % of the host         -      0.22          -  unlimited          -       4.76          -      13.38      26.71        -  unlimited
                """ + host)
        // What is not known is no part of a sum, nor is one who is not asked for.
        let held = [
            "vswap": Capacity.Held(kernel: 96 << 20, ram: 512 << 20, swap: 1 << 30, allocations: 2 << 30, processes: 96),
            "basic": Capacity.Held(ram: 1 << 30, processes: 96), "another": Capacity.Held(ram: 1 << 40),
        ]
        #expect(
            Capacity.memoryTable([Self.basic, vswap], held: held, host: Self.host) == head + """
                basic                      -      0.22       4.25  unlimited          -       0.51          -       0.64       1.22     0.05       0.13
                vswap                   1.00      0.00       2.12       4.25       6.37       4.25       8.89      12.74      25.49     0.05  unlimited
                all, % of the host      1.00      0.22       6.37  unlimited       6.37       4.76       8.89      13.38      26.71     0.10  unlimited
                """ + host)
        #expect(
            Capacity.cpuTable([Self.basic, vswap], host: Self.host) == """
                name               cpuunits  of the host's power
                basic                  1000               0.50 %
                vswap                  2000               1.00 %
                host itself            1000               0.50 %
                all                    4000               2.00 %
                power of the host    200000               2 CPUs
                """)
    }

    @Test func warnsOfWhatTheHostCannotHold() {
        var host = Self.host
        host.ram = 3 << 30
        host.swap = 1 << 30
        let fits = ContainerSpec(name: "a", ram: 3 << 30, swap: 1 << 30)
        #expect(Capacity.warnings(for: [fits], host: host).isEmpty)
        let larger = ContainerSpec(name: "b", ram: (3 << 30) + 4096, swap: (1 << 30) + 4096)
        let warnings = Capacity.warnings(for: [larger], host: host)
        #expect(warnings.map(\.rule) == ["host-ram-holds-container", "host-swap-holds-container", "host-holds-guarantees"])
        #expect(
            Capacity.warnings(for: [fits, fits], host: host).map(\.message) == [
                "2 containers: expected guaranteed allocations of at most RAM and swap together, 4096 MiB, got 8192 MiB (200.00 %)",
                "2 containers: expected memory that is safe from the OOM killer of at most RAM and swap together, 4096 MiB, "
                    + "got 6144 MiB (150.00 %)",
            ])
        #expect(warnings.allSatisfy { $0.severity == .warning && ConsistencyRules.rule($0.rule)?.scope == .host })
    }

    @Test func sumsSaturate() {
        let huge = ContainerSpec(name: "h", ram: Size.largest, swap: Size.largest)
        #expect(Capacity.memory(of: [huge, huge]).promised == .max)
        #expect(Capacity.warnings(for: [huge, huge], host: Self.host).count == 6)
        let held = Capacity.Held(kernel: .max, ram: .max, swap: .max, allocations: .max, processes: .max)
        #expect(Capacity.memoryTable([huge, huge], held: ["h": held], host: Self.host).contains("many"))
    }

    @Test func readsTheKernelsFiles() {
        let host = HostFigures(
            meminfo: "MemTotal:       24683900 kB\nMemFree: 1 kB\nHugePages_Total:       0\nSwapTotal:          1024 kB\n",
            cpuinfo: "processor\t: 0\nbogomips\t: 5200.25\n\nprocessor\t: 1\nbogomips\t: 5200.50\n", threadsMax: "192000\n")
        #expect(host == HostFigures(ram: 24_683_900 << 10, swap: 1 << 20, cpus: 2, bogomips: 10400.75, threadsMax: 192_000))
    }
}
