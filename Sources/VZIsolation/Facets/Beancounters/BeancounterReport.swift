internal import Glibc
internal import VZKernel
public import VZModel

/// One line of a container's beancounters.
public struct BeancounterRow: Equatable, Sendable {
    public var beancounter: Beancounter
    public var state: BeancounterState
    public var enforcement: BeancounterSupport.Enforcement

    public init(_ beancounter: Beancounter, _ state: BeancounterState, _ enforcement: BeancounterSupport.Enforcement) {
        (self.beancounter, self.state, self.enforcement) = (beancounter, state, enforcement)
    }
}

extension HostCapabilities {
    /// What this host does about a beancounter, by programs or by the kernel's own controllers.
    public func enforcement(of beancounter: Beancounter) -> BeancounterSupport.Enforcement {
        func held(_ setting: ControlGroupTree.Setting) -> BeancounterSupport.Enforcement {
            supports(setting) ? .enforced(by: name(of: setting)) : .unsupported
        }
        switch beancounter {
        case .numproc: return held(.pidsMax)
        case .physpages: return held(.memoryMax)
        case .swappages: return noSwapSpace == nil ? held(.swapMax) : .unsupported
        case .vmguarpages: return held(.memoryLow)
        case .oomguarpages:
            if supports(.memoryMin) { return .enforced(by: name(of: .memoryMin) + ", oom_score_adj") }
            return noSparing == nil ? .enforced(by: "oom_score_adj alone") : .unsupported
        default: return beancounters.byPrograms(beancounter)
        }
    }
}

extension HostCapabilities {
    /// Why a beancounter's bounds are not held here, and behind the first semicolon what mends it.
    func reasonNotEnforced(_ beancounter: Beancounter) -> String {
        switch beancounter {
        case .vmguarpages: unsupported(.memoryLow) ?? ""
        case .oomguarpages: unsupported(.memoryMin) ?? ""
        default: beancounters.reason(beancounter)
        }
    }
}

extension IsolationCore {
    /// Has the kernel count anew, for all containers, what it counts only when asked.
    public func sampleBeancounters() {
        if !host.beancounters.countsLockedPages, let keeper = try? LockedPages(paths: paths, tree: tree).connected() {
            try? KeeperSocket.count(keeper)
        }
        guard host.beancounters.programs.contains("user_beancounters"), let path = beancounterReport else { return }
        _ = try? Descriptor.open(path, O_RDONLY).readAll(limit: 64 << 20, named: path)
    }

    /// A file whose text the kernel makes when it is read: all containers' beancounters as OpenVZ's /proc/user_beancounters had them.
    public var beancounterReport: String? { (try? BeancounterPrograms(paths).report()) ?? nil }

    /// A running container's beancounters, all 21 in OpenVZ's order, as they were sampled last.
    public func beancounters(of handle: ContainerHandle) -> [BeancounterRow] {
        let slot = handle.slot
        let usage = slot == nil ? try? handle.group.usage() : nil
        return Beancounter.allCases.map { beancounter in
            let state = slot.map { $0[beancounter] } ?? Self.state(beancounter, usage)
            return BeancounterRow(beancounter, state, host.enforcement(of: beancounter))
        }
    }

    /// Without programs: what control groups count.
    private static func state(_ beancounter: Beancounter, _ usage: ControlGroupUsage?) -> BeancounterState {
        var state = BeancounterState()
        switch beancounter {
        case .numproc:
            (state.held, state.maxheld) = (usage?.pids ?? 0, usage?.pidsPeak ?? 0)
            state.failcnt = usage?.pidsFailures ?? 0
        case .physpages:
            (state.held, state.maxheld) = ((usage?.memory ?? 0) / 4096, (usage?.memoryPeak ?? 0) / 4096)
        case .swappages: state.held = (usage?.swap ?? 0) / 4096
        case .kmemsize: state.held = usage?.kernel ?? 0
        case .oomguarpages: state.failcnt = usage?.memoryKills ?? 0
        default: break
        }
        return state
    }

    /// How often a container met its limits since its start, by the beancounter.
    public func refusals(of ctid: ContainerID) -> [Beancounter: Int64] {
        var all: [Beancounter: Int64] = [:]
        if let failures = try? group(of: ctid).failures() {
            all[.numproc] = failures["pids"]
            all[.oomguarpages] = failures["memory"]
        }
        if let slot = beancounters?.slot(of: ctid) {
            for beancounter in BeancounterFacet.charged {
                let failcnt = slot[beancounter].failcnt
                if failcnt > 0 { all[beancounter] = failcnt }
            }
        }
        return all
    }

    /// What a refusal was: how far the beancounter is used, and what programs inside saw.
    public func refusalText(of beancounter: Beancounter, _ ctid: ContainerID) -> String {
        let saw = "programs inside saw \(beancounter.refusal)"
        guard let state = beancounters?.slot(of: ctid)?[beancounter] else { return saw }
        return "held \(state.held), most \(state.maxheld), allowed \(state.bounds.text) \(beancounter.unit.rawValue); \(saw)"
    }
}

extension Beancounter {
    /// What a program sees when this is refused (`openvz.md` 1.2, and how the kernel differs from it).
    public var refusal: String {
        switch self {
        case .numproc: "EAGAIN (Resource temporarily unavailable) of fork and clone"
        case .numfile: "ENFILE (Too many open files in system) of open, pipe, socket and the like"
        case .numtcpsock: "ENOBUFS (No buffer space available) of socket, or a connection that was not answered"
        case .numothersock: "ENOBUFS (No buffer space available) of socket and connect"
        case .numflock: "ENOLCK (No locks available) of flock and fcntl"
        case .numsiginfo: "EAGAIN (Resource temporarily unavailable) of sigqueue"
        case .privvmpages: "ENOMEM (Cannot allocate memory) of mmap, brk and fork, or SIGSEGV where a stack could not grow"
        case .kmemsize: "ENOMEM (Cannot allocate memory) of fork, open and socket"
        case .tcpsndbuf, .othersockbuf: "ENOBUFS (No buffer space available) of send"
        case .tcprcvbuf: "a slow connection: segments were dropped, and sent again"
        case .dgramrcvbuf: "nothing: datagrams were dropped"
        case .lockedpages: "ENOMEM (Cannot allocate memory) of mlock, mlockall, and mmap with MAP_LOCKED"
        case .shmpages: "ENOSPC (No space left on device) of shmget"
        case .numpty: "ENOSPC (No space left on device) of opening /dev/ptmx"
        case .numiptent: "ENOMEM (Cannot allocate memory) of iptables and nft"
        case .physpages, .swappages, .oomguarpages: "SIGKILL: a process was ended for want of memory"
        case .vmguarpages, .dcachesize: "nothing"
        }
    }
}

/// OpenVZ's /proc/user_beancounters, version 2.5 (`openvz.md` 1.4).
public enum UserBeancounters {
    /// The text of several containers. The kernel's own ids that mean nothing are there as "dummy"; swappages is not.
    public static func text(_ containers: [(ctid: ContainerID, rows: [BeancounterRow])]) -> String {
        var lines = Lines()
        lines.reserve(containers.count * 24 + 2)
        lines.left("Version: 2.5", 12)
        lines.end()
        lines.begin("uid", "resource")
        for head in ["held", "maxheld", "barrier", "limit", "failcnt"] { lines.column(head) }
        lines.end()
        for (ctid, rows) in containers {
            var byID = [BeancounterRow?](repeating: nil, count: 25)
            for row in rows where byID[row.beancounter.kernelID] == nil { byID[row.beancounter.kernelID] = row }
            for id in 0...23 {
                let state = byID[id]?.state ?? BeancounterState(bounds: BarrierLimit(both: 0))
                lines.begin(id == 0 ? "\(ctid):" : "", byID[id]?.beancounter.rawValue ?? "dummy")
                for number in [state.held, state.maxheld, state.bounds.barrier, state.bounds.limit, state.failcnt] {
                    lines.column(String(number))
                }
                lines.end()
            }
        }
        return String(decoding: lines.bytes, as: UTF8.self)
    }

    /// Bytes, of which there are many: 200 containers have 600,000.
    private struct Lines {
        private(set) var bytes: [UInt8] = []

        mutating func reserve(_ lines: Int) { bytes.reserveCapacity(lines * 130) }
        mutating func begin(_ uid: String, _ name: String) {
            right(uid, 10)
            right("", 2)
            left(name, 12)
        }
        mutating func column(_ text: String) { right(text, 21) }
        mutating func end() { bytes.append(UInt8(ascii: "\n")) }
        mutating func left(_ text: String, _ width: Int) {
            bytes += text.utf8
            fill(width - text.utf8.count)
        }
        private mutating func right(_ text: String, _ width: Int) {
            fill(width - text.utf8.count)
            bytes += text.utf8
        }
        private mutating func fill(_ count: Int) { bytes += repeatElement(UInt8(ascii: " "), count: max(count, 0)) }
    }
}
