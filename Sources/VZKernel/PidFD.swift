internal import CLinux
internal import Glibc

/// A process, held by a pidfd (pidfd_open(2)): the handle never means another process that got the same number later.
public struct PidFD: Sendable {
    /// The number in our own pid namespace; for messages and `/proc`.
    public let pid: Int32
    public let descriptor: Descriptor

    /// How a process ended (wait(2)).
    public enum Exit: Equatable, Sendable, CustomStringConvertible {
        case code(Int32)
        case signal(Int32)

        public init(waitStatus: Int32) {
            self = waitStatus & 0x7f == 0 ? .code((waitStatus >> 8) & 0xff) : .signal(waitStatus & 0x7f)
        }

        public var description: String {
            switch self {
            case .code(let code): "exit code \(code)"
            case .signal(let number): "signal \(number)"
            }
        }
    }

    init(pid: Int32, adopting raw: Int32) {
        self.pid = pid
        descriptor = Descriptor(adopting: raw)
    }

    /// Opens a process by number.
    /// - Throws: `KernelError` with `ESRCH` when there is none.
    public init(pid: Int32) throws(KernelError) {
        let raw = vz_pidfd_open(pid)
        if raw < 0 { throw KernelError("open pidfd of process \(pid)", errno: errno) }
        self.init(pid: pid, adopting: raw)
    }

    /// Whether the process has not ended; a zombie has ended.
    public var isRunning: Bool { !waitForExit(milliseconds: 0) }

    /// Waits until the process has ended, `milliseconds` at most (negative: for ever). `true` when it has.
    public func waitForExit(milliseconds: Int32) -> Bool {
        var request = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
        while true {
            let n = poll(&request, 1, milliseconds)
            if n >= 0 { return n == 1 }
            if errno != EINTR { return false }
        }
    }

    /// The number of one of the process' namespaces, by its name in /proc/PID/ns (namespaces(7)).
    public func namespace(_ name: String) throws(KernelError) -> UInt64 {
        var info = stat()
        guard stat("/proc/\(pid)/ns/\(name)", &info) == 0, isRunning else {
            throw KernelError("look at namespace \(name) of process \(pid)", errno: isRunning ? errno : ESRCH)
        }
        return UInt64(info.st_ino)
    }

    /// Sends a signal; a process that has ended already is no error.
    public func send(signal: Int32) throws(KernelError) {
        if vz_pidfd_send_signal(descriptor.raw, signal) < 0 && errno != ESRCH {
            throw KernelError("send signal \(signal) to process \(pid)", errno: errno)
        }
    }

    /// How the process ended, when the kernel can still tell: from its zombie, or on Linux 6.15 and later from the pidfd itself.
    public var exit: Exit? {
        // Between the first two it may be reaped.
        exitOfReaped ?? exitOfZombie ?? exitOfReaped
    }

    private var exitOfReaped: Exit? {
        var status: Int32 = 0
        return vz_pidfd_exit_status(descriptor.raw, &status) == 0 ? Exit(waitStatus: status) : nil
    }

    private var exitOfZombie: Exit? {
        // Field 52 of /proc/PID/stat (proc(5)), valid when the pidfd still finds its process after the read.
        guard let stat = try? KernelFile.read("/proc/\(pid)/stat"), vz_pidfd_send_signal(descriptor.raw, 0) == 0,
            let close = stat.lastIndex(of: ")")
        else { return nil }
        let fields = stat[close...].split(separator: " ")
        guard fields.count >= 51, fields[1] == "Z", let value = Int32(fields[50]) else { return nil }
        return Exit(waitStatus: value)
    }

    /// Waits for a child of this process.
    public func waitAsParent() throws(KernelError) -> Exit {
        var status: Int32 = 0
        if vz_wait_child(descriptor.raw, &status) < 0 { throw KernelError("wait for process \(pid)", errno: errno) }
        return Exit(waitStatus: status)
    }

    /// The last part of the path of the program that the process executes; empty when it has ended. Inside a container the name is the
    /// container's to choose.
    public var program: String {
        var path = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/\(pid)/exe", &path, path.count)
        guard count > 0, isRunning else { return "" }
        let text = String(decoding: path[0..<count].map(UInt8.init(bitPattern:)), as: UTF8.self)
        return String(text[(text.lastIndex(of: "/").map(text.index(after:)) ?? text.startIndex)...])
    }

    /// The host name in the process' UTS namespace.
    public func hostname() throws(KernelError) -> String {
        var name = [CChar](repeating: 0, count: 65)
        if vz_hostname_get(descriptor.raw, &name, name.count) < 0 {
            throw KernelError("read host name of process \(pid)", errno: errno)
        }
        return String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// Sets the host name in the process' UTS namespace; up to 64 bytes (sethostname(2)).
    public func setHostname(_ name: String) throws(KernelError) {
        if vz_hostname_set(descriptor.raw, name) < 0 {
            throw KernelError("set host name \"\(name)\" of process \(pid)", errno: errno)
        }
    }

    /// A system control of the process' IPC namespace, by its path below /proc/sys: `kernel/shmall`.
    public func ipcControl(_ name: String) throws(KernelError) -> String {
        var value = [CChar](repeating: 0, count: 64)
        if vz_ipc_control_get(descriptor.raw, "/proc/sys/\(name)", &value, value.count) < 0 {
            throw KernelError("read \(name) of process \(pid)", errno: errno)
        }
        let text = String(decoding: value.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        return text.last == "\n" ? String(text.dropLast()) : text
    }

    /// Writes a system control of the process' IPC namespace. - Parameter root: user 0 of the user namespace that owns it.
    public func setIPCControl(_ name: String, to value: String, root: UInt32) throws(KernelError) {
        if vz_ipc_control_set(descriptor.raw, "/proc/sys/\(name)", value, root) < 0 {
            throw KernelError("write \"\(value)\" to \(name) of process \(pid)", errno: errno)
        }
    }
}
