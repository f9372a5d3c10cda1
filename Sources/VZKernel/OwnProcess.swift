internal import CLinux
internal import Glibc

/// What this process of ours sets of itself.
public enum OwnProcess {
    /// Makes this process unreadable to everybody but the host's root while a child of it, sharing its memory, is inside a container
    /// (prctl(2), PR_SET_DUMPABLE).
    public static func hideMemory() throws(KernelError) {
        if vz_set_undumpable() < 0 { throw KernelError("make this process undumpable", errno: errno) }
    }

    /// Has signals wait for `resendPostponed`, instead of ending this process. (Blocking them does not do: the main thread of a program
    /// with an asynchronous `main` sleeps with none blocked.)
    public static func postpone(_ signals: [Int32]) { signals.forEach(vz_postpone_signal) }

    /// Sends this process again those that came since `postpone`. To be called when they are expected by others.
    public static func resendPostponed() { vz_resend_postponed() }

    /// One heap for all threads (mallopt(3), M_ARENA_MAX): each with one of its own keeps several times what a daemon of many idle
    /// threads uses. To be called before there are others.
    public static func useOneHeap() { vz_use_one_heap() }

    /// How many open files this process may allow itself, and without privileges its children (getrlimit(2), RLIMIT_NOFILE).
    public static var openFilesHardLimit: UInt64 {
        get throws(KernelError) {
            var limit = rlimit()
            guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
                throw KernelError("read this process's limit of open files", errno: errno)
            }
            return UInt64(limit.rlim_max)
        }
    }
}
