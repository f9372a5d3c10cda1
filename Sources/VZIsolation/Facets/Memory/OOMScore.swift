internal import VZKernel

/// oom_score_adj of proc(5): −1000…1000, in thousandths of the host's memory that are added to what a process has when the kernel looks
/// for the one to end. Children inherit it.
enum OOMScore {
    static let name = "oom_score_adj"

    /// This process' own.
    static var own: Int64? { read("self") }

    static func of(_ process: PidFD) -> Int64? { read(String(process.pid)) }

    private static func read(_ process: String) -> Int64? {
        (try? KernelFile.read("/proc/\(process)/\(name)")).flatMap { Int64($0) }
    }

    /// Gives the processes of a group another one, but for those that have chosen one for themselves.
    static func change(from old: Int64, to new: Int64, in group: ControlGroup) {
        guard old != new else { return }
        // A pass that finds none has found those as well that were forked meanwhile.
        for _ in 0..<16 {
            var isDone = true
            for process in (try? group.processes()) ?? [] {
                let file = "/proc/\(process)/\(name)"
                guard read(String(process)) == old, (try? KernelFile.write(String(new), to: file)) != nil else { continue }
                isDone = false
            }
            if isDone { return }
        }
    }
}
