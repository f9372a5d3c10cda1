internal import VZModel

/// Which programs count and refuse on this host, and so which beancounters it holds: plain data.
public struct BeancounterSupport: Equatable, Sendable, Codable {
    /// What the kernel lets programs be attached to, best first.
    public enum Tier: String, Sendable, Codable, CaseIterable {
        /// The BPF LSM.
        case lsm
        /// The functions that call the security modules (modify-return), where `bpf` is not among them.
        case modifyReturn = "fmod"
        /// Control groups, tracepoints and iterators alone: the kernel refuses programs at functions.
        case groups
        /// No programs at all: what the kernel's own controllers hold.
        case none

        public var description: String {
            switch self {
            case .lsm: "A: BPF LSM"
            case .modifyReturn: "A′: modify-return of the security hooks"
            case .groups: "B: programs of control groups, tracepoints and iterators"
            case .none: "C: control groups alone"
            }
        }
    }

    public var tier: Tier
    /// The names of those that are attached.
    var programs: Set<String>
    /// Why there are none.
    public var problem: String?
    /// Whether vz-keeper can be started, which holds lockedpages.
    var hasKeeper: Bool?

    init(tier: Tier, programs: Set<String>, problem: String? = nil) {
        (self.tier, self.programs, self.problem) = (tier, programs, problem)
    }

    /// Of a host that a version looked at that knew nothing of them.
    static let unknown = BeancounterSupport(
        tier: .none, programs: [], problem: "the version of vz that looked at the host did not know them; look with this one")

    /// What is done about a beancounter.
    public enum Enforcement: Equatable, Sendable {
        /// It is counted, and more than it allows is refused.
        case enforced(by: String)
        /// It is counted, and nothing is refused.
        case accounted(by: String)
        case unsupported

        public var word: String {
            switch self {
            case .enforced: "enforced"
            case .accounted: "accounted only"
            case .unsupported: "unsupported"
            }
        }

        public var isEnforced: Bool { if case .enforced = self { true } else { false } }

        public var mechanism: String {
            switch self {
            case .enforced(let by), .accounted(let by): by
            case .unsupported: ""
            }
        }
    }

    /// On a host without a unified hierarchy programs of control groups have nothing to be attached to.
    mutating func forgetGroupPrograms() { programs = programs.filter { !$0.hasPrefix("group_") } }

    /// Whether programs in the kernel count locked pages; else vz-keeper does.
    var countsLockedPages: Bool { has("after_mlock") }

    private func has(_ program: String) -> Bool { programs.contains(program) }

    /// What is done about a beancounter by programs; the kernel's own controllers hold others.
    func byPrograms(_ beancounter: Beancounter) -> Enforcement {
        let way = tier == .lsm ? "BPF LSM" : "BPF modify-return"
        switch beancounter {
        case .numfile where has("file_alloc_security"): return .enforced(by: way)
        case .numtcpsock where has("socket_post_create"), .numothersock where has("socket_post_create"): return .enforced(by: way)
        case .numtcpsock where has("group_sock_create"):
            return .enforced(by: "BPF of control groups; connections that come in are not counted")
        case .numothersock where has("group_sock_create"):
            return .enforced(by: "BPF of control groups; of IPv4 and IPv6 alone")
        case .numflock where has("file_lock") && has("after_posix_lock"): return .enforced(by: way)
        case .numflock where has("after_posix_lock"): return .accounted(by: "tracepoints")
        case .numsiginfo where has("task_kill"): return .enforced(by: way)
        case .privvmpages where has("before_vm_enough_memory"): return .enforced(by: "BPF modify-return")
        case .lockedpages where tier != .none && hasKeeper == true: return .enforced(by: "seccomp, RLIMIT_MEMLOCK, vz-keeper")
        case .lockedpages where has("after_mlock"): return .accounted(by: "BPF fexit")
        case .tcpsndbuf where has("socket_sendmsg"), .othersockbuf where has("socket_sendmsg"): return .enforced(by: way)
        case .tcprcvbuf where has("socket_sock_rcv_skb"): return .enforced(by: way)
        case .dgramrcvbuf where has("socket_sock_rcv_skb"): return .enforced(by: way)
        case .numiptent where has("netlink_send") && has("group_setsockopt"):
            return .enforced(by: "\(way), and BPF of control groups for iptables-legacy")
        case .numiptent where has("netlink_send"): return .enforced(by: "\(way); iptables-legacy is not bound")
        case .numiptent where has("group_setsockopt"):
            return .enforced(by: "BPF of control groups; of iptables-legacy alone, nft is not bound")
        case .kmemsize where has("task_alloc"): return .enforced(by: "\(way), at what takes much of it")
        case .numpty where has("sb_kern_mount"): return .enforced(by: "max= of devpts")
        case .numpty: return .enforced(by: "max= of devpts; one that the container mounts itself is not bound")
        case .shmpages where has("group_sysctl"): return .enforced(by: "kernel.shmall, size of /dev/shm")
        case .kmemsize where has("user_beancounters"), .shmpages where has("user_beancounters"),
            .dcachesize where has("user_beancounters"):
            return .accounted(by: "the memory controller")
        default: return .unsupported
        }
    }

    /// Why a bound is not held here, and what mends it.
    func reason(_ beancounter: Beancounter) -> String {
        if beancounter == .lockedpages, tier != .none {
            return "there is no vz-keeper beside this program; install it there"
        }
        if beancounter == .dcachesize {
            return "not enforced by this version of vz"
        }
        let done = byPrograms(beancounter)
        let counted = if case .accounted = done { "counted, not enforced: " } else { "" }
        switch tier {
        case .lsm, .modifyReturn: return "\(counted)this kernel has not the function that its program stands at; use another kernel"
        case .groups where beancounter == .shmpages, .none where beancounter == .shmpages:
            return "\(counted)nothing keeps the container from raising it; mount a cgroup2 hierarchy, for programs that do"
        case .groups:
            return
                "\(counted)this kernel refuses BPF programs at its security hooks; use one with CONFIG_BPF_LSM that is not locked down"
        case .none: return "\(counted)no BPF programs (\(problem ?? "none are attached")); start vzd as root on a kernel with BPF"
        }
    }
}
