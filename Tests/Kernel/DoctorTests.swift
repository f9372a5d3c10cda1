import Testing

@testable import VZIsolation
@testable import VZKernel

/// What `vzctl doctor` says of a host.
@Suite(.enabled(if: mayUseControlGroups)) struct DoctorTests {
    /// All that a beancounter needs.
    private static let programs: Set<String> = [
        "file_alloc_security", "socket_post_create", "file_lock", "after_posix_lock", "task_kill", "before_vm_enough_memory",
        "after_mlock", "socket_sendmsg", "socket_sock_rcv_skb", "task_alloc", "user_beancounters",
    ]

    private func facts(_ change: (inout HostFacts) -> Void = { _ in }) throws -> HostFacts {
        var host = try HostCapabilities(ControlGroupTree.discover())
        let disk = BlockDevice(number: "254:0", name: "vda", scheduler: "mq-deadline")
        host.storage = RootStorage(
            .init(stack: BlockStack(tops: [disk], queues: [disk], disks: [disk]), withoutDevice: nil), hasIOCost: false)
        var facts = HostFacts(
            capabilities: host, controlGroups: "v2", kernel: "6.1.0-56-amd64", stateDirectory: "/var/lib/vz",
            stateMount: MountEntry(mountPoint: "/", type: "ext4", source: "/dev/vda", options: ["rw", "prjquota"]))
        facts.swap = .zram
        facts.capabilities.beancounters = BeancounterSupport(tier: .lsm, programs: Self.programs)
        facts.criu = "/usr/sbin/criu"
        facts.capabilities.lxcfs = LxcfsService(directory: "/var/lib/lxcfs", device: "0:41")
        facts.lxcfsArguments = ["/usr/bin/lxcfs", "-l", "--enable-cfs", "/var/lib/lxcfs"]
        change(&facts)
        return facts
    }

    private func missing(_ facts: HostFacts) -> [String] { Doctor.findings(facts).filter { !$0.isFine }.map(\.subject) }

    private typealias Lack = (String, @Sendable (inout HostFacts) -> Void, [String])

    private static let lacks: [Lack] = [
        ("kernel", { $0.kernel = "5.10.0-9-amd64" }, ["kernel", "id-mapped mounts"]),
        ("groups", { $0.controlGroups = nil }, ["control groups"]),
        ("tmpfs", { $0.stateMount?.type = "tmpfs" }, ["id-mapped mounts"]),
        ("quota", { $0.stateMount?.options = ["rw"] }, ["project quota"]),
        ("disk swap", { $0.swap = .disk }, ["swap above ram"]), ("swap to be made", { $0.swap = .onDemand }, []),
        ("no swap", { $0.swap = .none }, ["swap above ram"]),
        ("one program", { $0.capabilities.beancounters.programs.remove("file_lock") }, ["beancounters.numflock"]),
        ("groups", { $0.capabilities.beancounters.tier = .groups }, ["BPF programs"]),
        ("criu", { $0.criu = nil }, ["criu"]),
        (
            "lxcfs",
            { $0.capabilities.lxcfs = LxcfsService(directory: "/var/lib/lxcfs", unsupported: "not installed; install it") },
            ["lxcfs"]
        ),
        ("lxcfs unseen", { $0.capabilities.lxcfs = nil }, ["lxcfs"]),
        ("lxcfs without options", { $0.lxcfsArguments = ["/usr/bin/lxcfs", "/var/lib/lxcfs"] }, ["lxcfs"]),
        ("lxcfs of unknown options", { $0.lxcfsArguments = nil }, []),
        ("storage", { $0.capabilities.storage = nil }, ["iolimit, iopslimit"]),
    ]

    @Test(arguments: lacks)
    func eachLackIsNamed(_ name: String, _ change: @Sendable (inout HostFacts) -> Void, _ lacks: [String]) throws {
        let (whole, changed) = (try facts(), try facts(change))
        #expect(Set(missing(changed)).subtracting(missing(whole)) == Set(lacks), "\(name)")
        for finding in Doctor.findings(changed) where !finding.isFine {
            #expect(finding.consequence?.isEmpty == false && finding.mend?.isEmpty == false, "\(finding)")
        }
    }

    @Test func weightsAreToldByWhatMakesThemAct() throws {
        let disk = BlockDevice(number: "254:0", name: "vda", scheduler: "bfq")
        let stack = BlockStack(tops: [disk], queues: [disk], disks: [disk])
        func sharing(_ scheduler: String?, hasIOCost: Bool) -> RootStorage.Sharing {
            var stack = stack
            stack.queues[0].scheduler = scheduler
            stack.disks[0].scheduler = scheduler
            return RootStorage(.init(stack: stack, withoutDevice: nil), hasIOCost: hasIOCost).sharing
        }
        #expect(sharing("bfq", hasIOCost: true) == .bfq(devices: [disk]))
        #expect(sharing("bfq", hasIOCost: false) == .bfq(devices: [disk]))
        guard case .ioCost = sharing("none", hasIOCost: true), case .nothing = sharing("none", hasIOCost: false),
            case .nothing = sharing(nil, hasIOCost: true)
        else {
            Issue.record("expected io.cost where the kernel has it and the disk a queue, else nothing")
            return
        }
    }

    @Test func theVerbReadsOnlyAndAnswersWithItsExitCode() throws {
        try withNode { node in
            let (result, calls) = try SystemCall.traced(["\(TestPlace.programs)/vzctl", "doctor"], node)
            #expect(calls.filter(\.writes).map { "\($0.name)(\($0.arguments)" } == [])
            #expect(result.exit == .code(result.output.contains("missing") ? 1 : 0), "\(result)")
            #expect(result.output.contains("ok       kernel") && result.output.contains("iolimit"), "\(result)")
            let json = try node.vzctl("doctor", "-o", "json")
            #expect(json.exit == result.exit)
            #expect(json.output.contains("\"format_version\" : 1") && json.output.contains("\"subject\" : \"ioprio\""))
        }
    }
}
