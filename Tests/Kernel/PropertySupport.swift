import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZReconciler

/// Numbers that are the same for the same seed (SplitMix64).
struct SeededNumbers: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var word = state
        word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
        return word ^ (word >> 31)
    }

    /// Of this run: VZ_TEST_SEED, or another one each time. Told with each failure.
    static let seed = getenv("VZ_TEST_SEED").flatMap { UInt64(String(cString: $0)) } ?? UInt64.random(in: 0...999_999)

    /// How often something random is tried: VZ_TEST_ROUNDS, or few times, and fewer in the emulated machine.
    static func rounds(_ few: Int) -> Int {
        getenv("VZ_TEST_ROUNDS").flatMap { Int(String(cString: $0)) } ?? (TestPlace.isVirtualMachine ? max(few / 3, 1) : few)
    }
}

/// A manifest of CT 101 over all fields that are enforced, each there or left out.
struct RandomManifest {
    private var numbers: SeededNumbers
    private let host: HostCapabilities

    init(seed: UInt64, on host: HostCapabilities) {
        numbers = SeededNumbers(seed: seed)
        self.host = host
    }

    private static let masks = sysconf(Int32(_SC_NPROCESSORS_ONLN)) > 1 ? ["0", "0-1", "1"] : ["0"]

    /// The lines below `spec:`.
    mutating func next() -> String {
        // A host name that is not declared is the container's own: then what was is as good as what would be.
        var lines = [
            "ctid: 101", "template: busybox", "lifecycle: {disruption: restart}", "hostname: h\(number(0...99)).example.org",
            "init: [/bin/sleep, \"\(number(1_000_000...1_000_003))\"]",
        ]
        var beancounters: [String] = []
        func maybe(_ line: @autoclosure () -> String) { if flip() { lines.append(line()) } }
        func maybe(beancounter: @autoclosure () -> String) { if flip() { beancounters.append(beancounter()) } }
        maybe("env: {A: \"\(number(0...2))\"}")
        maybe("cpuunits: \(number(8...500_000))")
        maybe("cpulimit: \(number(5...200))")
        maybe("cpus: \(number(1...2))")
        // Nodes are only chosen beside CPUs.
        if flip() { lines += ["cpumask: \"\(pick(Self.masks))\""] + (flip() ? ["nodemask: \"0\""] : []) }
        maybe("ioprio: \(host.supports(.ioWeight) ? number(0...7) : 4)")
        maybe("iolimit: \(number(1...64))M")
        maybe("iopslimit: \(number(10...9999))")
        maybe("ram: \(number(16...128))M")
        if host.supports(.swapMax), lines.contains(where: { $0.hasPrefix("ram:") }) { maybe("swap: \(number(0...64))M") }
        maybe(beancounter: "numproc: \(number(10...500))")
        maybe(beancounter: "vmguarpages: \"\(number(256...2048)):unlimited\"")
        maybe(beancounter: "oomguarpages: \"\(number(256...2048)):unlimited\"")
        if !beancounters.isEmpty { lines.append("beancounters: {" + beancounters.joined(separator: ", ") + "}") }
        return lines.joined(separator: "\n")
    }

    private mutating func flip() -> Bool { Bool.random(using: &numbers) }
    private mutating func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &numbers) }
    private mutating func pick(_ list: [String]) -> String { list[number(0...list.count - 1)] }
}

extension TestNode {
    /// Everything that the kernel holds for a container and that can be set: the files of its control groups that can be written, and the
    /// facts of its namespaces. Counters, and files that name processes, are none of it.
    func kernelSettings(_ ctid: Int = 101) throws -> [String: String] {
        var all: [String: String] = [:]
        for hierarchy in controlGroups.hierarchies {
            guard let group = try hierarchy.openGroup("\(controlGroups.parent)/\(ctid)") else { continue }
            for file in try group.names() {
                var info = stat()
                guard fstatat(group.raw, file, &info, AT_SYMLINK_NOFOLLOW) == 0, info.st_mode & S_IFMT == S_IFREG,
                    info.st_mode & 0o222 != 0, info.st_mode & 0o444 != 0,
                    !Self.counters.contains(where: { file.contains($0) })
                else { continue }
                all["\(hierarchy.name) \(file)"] = (try? KernelFile.read(file, at: group)) ?? "unreadable"
            }
        }
        let process = try #require(try running(ctid))
        for file in ["uid_map", "gid_map", "oom_score_adj", "limits", "cmdline", "environ"] {
            all["proc \(file)"] = try KernelFile.read("/proc/\(process.pid)/\(file)")
        }
        all["hostname"] = try process.hostname()
        for kind in ["user", "mnt", "pid", "net", "uts", "ipc", "cgroup"] {
            let (inside, outside) = try (TestFile.link("/proc/\(process.pid)/ns/\(kind)"), TestFile.link("/proc/self/ns/\(kind)"))
            all["ns \(kind)"] = inside == outside ? "the host's" : "its own"
        }
        all["capabilities"] = try KernelFile.read("/proc/\(process.pid)/status").split(separator: "\n").filter {
            $0.hasPrefix("Cap")
        }
        .joined(separator: " ")
        return all
    }

    private static let counters = [
        "usage", "failcnt", "procs", "tasks", "threads", "reset", "force_empty", "event_control", "pressure", "peak", "reclaim",
        "kill",
        ".stat",
    ]

    /// The files of the state directory but for logs and what is the containers' own: name, content, and what would tell a rewrite.
    func stateFiles() throws -> [String: String] {
        let list = try Command.run([
            "find", paths.state, "-xdev", "(", "-path", "*/log/*", "-o", "-path", "*/root/*", ")", "-prune", "-o", "-type", "f",
            "-printf", "%p %i %s %m %T@ %C@\n",
        ])
        var files: [String: String] = [:]
        for line in list.split(separator: "\n") {
            let path = line.prefix { $0 != " " }
            files[String(path)] = try "\(line)\n\(TestFile.read(String(path)))"
        }
        return files
    }
}

/// Where two lists of facts differ.
func differences(_ one: [String: String], _ other: [String: String]) -> [String] {
    Set(one.keys).union(other.keys).sorted().compactMap { key in
        one[key] == other[key] ? nil : "\(key): \(one[key] ?? "none") / \(other[key] ?? "none")"
    }
}
