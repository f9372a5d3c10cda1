internal import VZModel

extension ConsistencyRules {
    static let vswapRules: [ConsistencyRule] = [
        ConsistencyRule(
            "vswap-physpages-barrier-zero", .error,
            summary: "With VSwap, the barrier of physpages is 0.",
            explanation: """
                Only the limit of physpages means anything: it is the container's RAM. Write spec.ram, or "0:LIMIT".
                """,
            violations: ConsistencyRule.each([.physpages], in: .vswap, expected: "a barrier of 0") { $0.barrier == 0 }),
        ConsistencyRule(
            "vswap-swappages-barrier-zero", .error,
            summary: "With VSwap, the barrier of swappages is 0.",
            explanation: """
                Only the limit of swappages means anything: it is the container's swap. Write spec.swap, or "0:LIMIT".
                """,
            violations: ConsistencyRule.each([.swappages], in: .vswap, expected: "a barrier of 0") { $0.barrier == 0 }),
    ]

    static let beancounterRules: [ConsistencyRule] = shapeRules + memoryRules + bufferRules

    private static let shapeRules: [ConsistencyRule] = [
        ConsistencyRule(
            "ubc-barrier-equals-limit", .error,
            summary:
                "numproc, numtcpsock, numothersock, shmpages, numfile, numpty, numsiginfo and numiptent have a barrier that equals the limit.",
            explanation: """
                These are refused at one bound; there is nothing between the two that a second bound could mean. Write one number.
                """,
            violations: ConsistencyRule.each(
                Beancounter.allCases.filter { $0.shape == .equal }, in: .beancounters, expected: "a barrier that equals the limit"
            ) {
                $0.barrier == $0.limit
            }),
        ConsistencyRule(
            "ubc-barrier-within-limit", .error,
            summary: """
                kmemsize, tcpsndbuf, tcprcvbuf, othersockbuf, dgramrcvbuf, privvmpages, lockedpages, numflock and dcachesize have \
                a barrier of at most the limit.
                """,
            explanation: """
                Ordinary requests are refused at the barrier, the few that must not fail at the limit. A limit below the barrier \
                leaves those nothing.
                """,
            violations: ConsistencyRule.each(
                Beancounter.allCases.filter { $0.shape == .ordered }, in: .beancounters, expected: "a barrier of at most the limit"
            ) {
                $0.barrier <= $0.limit
            }),
        ConsistencyRule(
            "ubc-guarantee-limit-unlimited", .error,
            summary: "vmguarpages and oomguarpages have an unlimited limit.",
            explanation: """
                They are guarantees: the barrier is what the container may always have, and nothing is ever refused at the limit. \
                Write "BARRIER:unlimited".
                """,
            violations: ConsistencyRule.each([.vmguarpages, .oomguarpages], in: .beancounters, expected: "an unlimited limit") {
                $0.limit == BarrierLimit.unlimited
            }),
        ConsistencyRule(
            "ubc-physpages-unlimited", .error,
            summary: "Without VSwap, physpages is \"0:unlimited\".",
            explanation: """
                In beancounter mode physpages is only counted, never limited. To limit RAM write spec.ram, which is VSwap.
                """,
            violations: ConsistencyRule.each([.physpages], in: .beancounters, expected: "0:unlimited") {
                $0 == BarrierLimit(barrier: 0, limit: BarrierLimit.unlimited)
            }),
    ]

    private static let memoryRules: [ConsistencyRule] = [
        ConsistencyRule(
            "ubc-dcachesize-covers-files", .warning,
            summary: "The limit of dcachesize is at least 384 bytes for each of numfile.",
            explanation: """
                Every open file holds a directory entry and an inode in memory. With less, open(2) fails before numfile is reached.
                """,
            violations: ConsistencyRule.atLeast([.dcachesize], \.limit, "limit") { operands in
                operands.barrier(.numfile).map { ($0.times(384), "384 for each of \(RuleOperands.text($0)) numfile") }
            }),
        ConsistencyRule(
            "ubc-kmemsize-covers-processes", .error,
            summary: "The barrier of kmemsize is at least 40960 bytes for each expected process, and the limit of dcachesize.",
            explanation: """
                A process needs about 40 KiB of kernel memory, and directory entries are kernel memory too. With less, fork(2) \
                fails before numproc is reached. The expected processes are half of numproc; in an imported OpenVZ configuration \
                AVNUMPROC.
                """,
            violations: ConsistencyRule.atLeast([.kmemsize], \.barrier, "barrier") { operands in
                guard let processes = operands.processes, let dcache = operands.limit(.dcachesize) else { return nil }
                return (
                    processes.times(40960).plus(dcache),
                    "40960 for each of \(RuleOperands.text(processes)) expected processes, and the dcachesize limit of "
                        + RuleOperands.text(dcache)
                )
            }),
        ConsistencyRule(
            "ubc-privvmpages-covers-guarantee", .warning,
            summary: "The barrier of privvmpages is at least that of vmguarpages.",
            explanation: """
                vmguarpages promises allocations that privvmpages would refuse: the promise cannot be kept.
                """,
            violations: ConsistencyRule.atLeast([.privvmpages], \.barrier, "barrier") { operands in
                operands.barrier(.vmguarpages).map { ($0, "the barrier of vmguarpages") }
            }),
        ConsistencyRule(
            "ubc-numfile-covers-use", .warning,
            summary: "numfile is at least 32 for each expected process, and at least numtcpsock + numothersock + numpty.",
            explanation: """
                Every socket and every terminal is an open file, and a process has about 32 of them. With less, files run out \
                before the things that they stand for. The expected processes are half of numproc; in an imported OpenVZ \
                configuration AVNUMPROC.
                """,
            violations: ConsistencyRule.atLeast([.numfile], \.barrier, "number") { operands in
                var needed: [(value: Int64, why: String)] = []
                if let processes = operands.processes {
                    needed.append((processes.times(32), "32 for each of \(RuleOperands.text(processes)) expected processes"))
                }
                if let tcp = operands.barrier(.numtcpsock), let other = operands.barrier(.numothersock),
                    let terminals = operands.barrier(.numpty)
                {
                    needed.append((tcp.plus(other).plus(terminals), "numtcpsock + numothersock + numpty"))
                }
                return needed.max { $0.value < $1.value }
            }),
    ]

    private static let bufferRules: [ConsistencyRule] = [
        ConsistencyRule(
            "ubc-tcpsndbuf-gap", .error,
            summary: "The limit of tcpsndbuf is at least 2560 bytes for each of numtcpsock above the barrier.",
            explanation: """
                Above the barrier every socket keeps its fair share of what is left up to the limit. With less than 2560 bytes \
                each, connections hang for ever.
                """,
            violations: ConsistencyRule.gap(of: .tcpsndbuf, for: .numtcpsock)),
        ConsistencyRule(
            "ubc-othersockbuf-gap", .error,
            summary: "The limit of othersockbuf is at least 2560 bytes for each of numothersock above the barrier.",
            explanation: """
                Above the barrier every socket keeps its fair share of what is left up to the limit. With less than 2560 bytes \
                each, programs that talk over UNIX sockets hang.
                """,
            violations: ConsistencyRule.gap(of: .othersockbuf, for: .numothersock)),
        ConsistencyRule(
            "ubc-tcprcvbuf-gap", .warning,
            summary: "The limit of tcprcvbuf is at least 2560 bytes for each of numtcpsock above the barrier.",
            explanation: """
                Above the barrier the window shrinks; with less than 2560 bytes for each socket, segments are dropped and \
                connections crawl.
                """,
            violations: ConsistencyRule.gap(of: .tcprcvbuf, for: .numtcpsock)),
        ConsistencyRule(
            "ubc-tcp-buffer-minimum", .warning,
            summary: "The barriers of tcpsndbuf and tcprcvbuf are at least 65536 bytes.",
            explanation: "One connection at full speed needs 64 KiB in either direction.",
            violations: ConsistencyRule.atLeast([.tcpsndbuf, .tcprcvbuf], \.barrier, "barrier") { _ in (65536, "64 KiB") }),
        ConsistencyRule(
            "ubc-datagram-buffer-minimum", .warning,
            summary: "The barriers of dgramrcvbuf and othersockbuf are at least 32768 bytes.",
            explanation: "With less, larger datagrams never arrive, which breaks DNS and NFS over UDP.",
            violations: ConsistencyRule.atLeast([.dgramrcvbuf, .othersockbuf], \.barrier, "barrier") { _ in (32768, "32 KiB") }),
        ConsistencyRule(
            "ubc-datagram-buffer-advised", .advice,
            summary: "The barriers of dgramrcvbuf and othersockbuf are better at least 132096 bytes.",
            explanation:
                "129 KiB take two datagrams of the largest size with what the kernel adds. Below 32768 see ubc-datagram-buffer-minimum.",
            violations: { operands in
                let advised = ConsistencyRule.atLeast([.dgramrcvbuf, .othersockbuf], \.barrier, "barrier") { _ in
                    (132_096, "129 KiB")
                }
                var operands = operands
                for buffer in [Beancounter.dgramrcvbuf, .othersockbuf] where (operands.barrier(buffer) ?? 0) < 32768 {
                    operands.bounds[buffer] = nil
                }
                return advised(operands)
            }),
    ]

    static let diskRules: [ConsistencyRule] = [
        ConsistencyRule(
            "disk-soft-within-hard", .error,
            summary: "The soft limits of diskspace and diskinodes are at most the hard ones.",
            explanation: """
                A soft limit above the hard one is never reached, so that its grace never begins. In an OpenVZ configuration this \
                is asked for only when the file itself says DISK_QUOTA=yes.
                """,
            violations: ConsistencyRule.quota)
    ]

    static let openVZRules: [ConsistencyRule] = [
        ConsistencyRule(
            "vswap-parameters-present", .error, .openVZ,
            summary: "With VSwap, PHYSPAGES and SWAPPAGES are both given.",
            explanation:
                "OpenVZ does not start such a container (exit code 28). The manifest made from it has no swap: check that this is meant.",
            source: "OpenVZ's vzcfgvalidate; openvz.md 1.6 and 3.1",
            violations: ConsistencyRule.missing(.vswap, [.physpages, .swappages])),
        ConsistencyRule(
            "ubc-parameters-present", .error, .openVZ,
            summary: "Without VSwap, all 20 beancounters but SWAPPAGES are given.",
            explanation: """
                OpenVZ does not start such a container (exit code 28). In the manifest made from it the missing ones are not \
                limited: check that this is meant.
                """,
            source: "OpenVZ's vzcfgvalidate; openvz.md 1.6 and 3.1",
            violations: ConsistencyRule.missing(.beancounters, Beancounter.allCases.filter { $0 != .swappages })),
    ]

    static let hostRules: [ConsistencyRule] = [
        ConsistencyRule(
            "host-ram-holds-container", .warning, .host,
            summary: "A container's ram is at most the host's RAM.",
            explanation: "More than the host has can never be used without swapping."),
        ConsistencyRule(
            "host-swap-holds-container", .warning, .host,
            summary: "A container's swap is at most the host's swap.",
            explanation: "More than the host has can never be used when the host itself is short of RAM."),
        ConsistencyRule(
            "host-holds-guarantees", .warning, .host,
            summary: "What all containers are promised fits into the host's RAM and swap.",
            explanation: """
                The promise of allocation is the barriers of vmguarpages, with VSwap ram + swap; the promise of survival is the \
                barriers of oomguarpages, with VSwap ram; to both comes the kernel's memory. When they add up to more than RAM \
                and swap, a container can lose what it was promised.
                """,
            source: "OpenVZ's vzmemcheck; openvz.md 1.6"),
    ]
}
