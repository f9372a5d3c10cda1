import Testing

@testable import VZKernel

/// Pure reading of what the kernel says; needs no root.
@Suite struct ControlGroupParsingTests {
    private func text<Value>(_ string: String, _ take: (inout ControlGroupText) -> Value?) -> Value? {
        Array(string.utf8).withUnsafeBytes { bytes in
            var text = ControlGroupText(bytes)
            return take(&text)
        }
    }

    @Test(
        arguments: [
            ("100\n", 100), ("  7", 7), ("\t 7", 7), ("-1\n", -1), ("0", 0), ("9223372036854771712\n", 9_223_372_036_854_771_712),
            ("18446744073709551615\n", .max), ("12x", 12), ("", nil), ("\n", nil), ("max\n", nil), ("-", nil), ("x1", nil),
        ] as [(String, Int64?)])
    func numbers(string: String, expected: Int64?) {
        #expect(text(string) { $0.number() } == expected)
    }

    @Test(
        arguments: [("max\n", .max), ("max", .max), ("4096\n", 4096), ("maximum", nil), ("ma", nil), ("", nil)]
            as [(String, Int64?)])
    func limits(string: String, expected: Int64?) {
        #expect(text(string) { $0.limit() } == expected)
    }

    @Test(
        arguments: [
            ("max 100000\n", CPUQuota(quota: .max, period: 100_000)), ("25000 100000\n", CPUQuota(quota: 25_000, period: 100_000)),
            ("1000 1000000", CPUQuota(quota: 1000, period: 1_000_000)), ("max", nil), ("", nil), ("5000 max", nil),
        ] as [(String, CPUQuota?)])
    func cpuMax(string: String, expected: CPUQuota?) {
        #expect(text(string, ControlGroupV2.parseCPUMax) == expected)
    }

    @Test(
        arguments: [
            ("default 100\n", 100), ("default 250\n8:0 500\n", 250), ("100\n", 100), ("defaults 1", nil), ("8:0 500\n", 8),
            ("", nil),
        ] as [(String, Int64?)])
    func ioWeight(string: String, expected: Int64?) {
        #expect(text(string, ControlGroup.parseIOWeight) == expected)
    }

    @Test(
        arguments: [
            ("populated 1\nfrozen 0\n", "populated", 1), ("populated 1\nfrozen 0\n", "frozen", 0),
            ("oom 3\noom_kill 2\noom_group_kill 1\n", "oom_kill", 2),
            ("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n", "oom_kill", 5),
            ("low 0\nmax 7", "max", 7), ("low 0\n", "max", nil), ("", "max", nil), ("max\n", "max", nil),
        ] as [(String, String, Int64?)])
    func keyedValues(string: String, key: String, expected: Int64?) {
        let value: Int64? = text(string) { text in
            switch key {
            case "populated": text.value(of: "populated")
            case "frozen": text.value(of: "frozen")
            case "oom_kill": text.value(of: "oom_kill")
            default: text.value(of: "max")
            }
        }
        #expect(value == expected)
    }

    @Test func sumOfMemoryAndSwap() {
        let sum = { (max: Int64?, swap: Int64?) in ControlGroupV1.sum(MemoryLimits(max: max, swap: swap)) }
        #expect(sum(8192, 4096) == 12288)
        #expect(sum(8191, 4097) == 8192)  // each rounded down to pages, as the kernel does
        #expect(sum(4096, nil) == nil)
        #expect(sum(nil, nil) == nil)
        #expect(sum(.max, 4096) == nil)
        #expect(sum(.max - 8191, 4096) == nil)  // no larger than what the kernel shows for "no limit"
    }

    private let hybrid = """
        22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/root rw
        31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
        32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid,relatime shared:9 master:3 - cgroup cgroup rw,cpu,cpuacct
        40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,release_agent=/lib/agent,name=systemd
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
        """

    @Test func mountInfoOfAHybridHost() {
        #expect(
            ControlGroupMount.parse(hybrid) == [
                ControlGroupMount(
                    version: .v1, root: "/", mountPoint: "/sys/fs/cgroup/cpu,cpuacct", subsystems: ["cpu", "cpuacct"],
                    readOnly: false),
                ControlGroupMount(
                    version: .v1, root: "/", mountPoint: "/sys/fs/cgroup/systemd", subsystems: ["name=systemd"], readOnly: false),
                ControlGroupMount(
                    version: .v2, root: "/", mountPoint: "/sys/fs/cgroup/unified", subsystems: [], readOnly: false),
            ])
        #expect(ControlGroupMount.parse(hybrid).map(\.name) == ["cpu,cpuacct", "name=systemd", "unified"])
    }

    @Test func mountInfoWithEscapesRootsAndReadOnly() {
        let mounts = ControlGroupMount.parse(
            #"""
            30 24 0:26 /lxc/a\040b /mnt/c\134d\011e rw,nosuid - cgroup cgroup rw,memory
            31 24 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup2 rw
            32 24 0:27 / /ro rw - cgroup cgroup ro,pids
            """#)
        #expect(mounts.map(\.root) == ["/lxc/a b", "/", "/"])
        #expect(mounts.map(\.mountPoint) == [#"/mnt/c\d\#te"#, "/sys/fs/cgroup", "/ro"])
        #expect(mounts.map(\.readOnly) == [false, true, true])
    }

    @Test(arguments: ["", "\n", "garbage", "1 2 3 - cgroup", "32 31 0:29 / /x rw - cgroup cgroup rw", "1 2 3 4 5 6 7 8 9 10"])
    func mountInfoThatSaysNothing(text: String) {
        #expect(ControlGroupMount.parse(text).isEmpty)
    }

    @Test(arguments: [#"\"#, #"\04"#, #"\0409"#, #"\089"#, #"a\\b"#])
    func escapesThatAreCutShort(text: String) {
        #expect(!ControlGroupMount.unescaped(text[...]).isEmpty)
    }
}
