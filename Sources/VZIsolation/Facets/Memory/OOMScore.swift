internal import Glibc
internal import VZKernel

/// oom_score_adj of proc(5): −1000…1000, in thousandths of the host's memory that are added to what a process has when the kernel looks
/// for the one to end. Children inherit it.
enum OOMScore {
    static let name = "oom_score_adj"

    /// This process' own.
    static var own: Int64? { get throws(KernelError) { try read("self") } }

    /// `nil` when the process has ended.
    static func of(_ process: PidFD) throws(KernelError) -> Int64? { try read(String(process.pid)) }

    private static func read(_ process: String) throws(KernelError) -> Int64? {
        do throws(KernelError) {
            return Int64(try KernelFile.read("/proc/\(process)/\(name)"))
        } catch  where error.errno == ESRCH || error.errno == ENOENT {
            return nil
        }
    }

    /// Why it cannot be lowered here, and what mends it; `nil` when it can. The bounding set tells as well who only looks, without
    /// the capabilities of the daemon.
    static var refusal: String? {
        // Where that cannot be read, trying tells.
        guard let status = try? KernelFile.read("/proc/self/status") else { return nil }
        let bounds = status.split(separator: "\n").first { $0.hasPrefix("CapBnd:") }?.split(separator: "\t").last
        // CAP_SYS_RESOURCE is number 24.
        if let bounds, let bits = UInt64(bounds, radix: 16), bits & 1 << 24 != 0 { return nil }
        return "the host's own root lacks CAP_SYS_RESOURCE, without which nobody is spared when memory runs out; give it to vzd"
    }

    /// Gives the processes of a group another one, but for those that have chosen one for themselves.
    /// - Throws: `EACCES` when it may not be lowered; processes that end meanwhile are no failure.
    static func change(from old: Int64, to new: Int64, in group: ControlGroup) throws(KernelError) {
        guard old != new else { return }
        // A pass that finds none has found those as well that were forked meanwhile.
        for _ in 0..<16 {
            var isDone = true
            for process in try group.processes() where try read(String(process)) == old {
                do throws(KernelError) {
                    try KernelFile.write(String(new), to: "/proc/\(process)/\(name)")
                    isDone = false
                } catch  where error.errno == ESRCH || error.errno == ENOENT {}
            }
            if isDone { return }
        }
    }
}
