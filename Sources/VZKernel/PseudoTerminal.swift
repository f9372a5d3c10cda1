internal import CLinux
internal import Glibc

/// A pseudo terminal of a container's own devpts: programs inside see it as theirs (`/dev/pts/0`).
public struct PseudoTerminal: Sendable {
    public let master: Descriptor

    /// Opens a new terminal in the file system that `process` sees.
    ///
    /// What lies at its /dev/ptmx is the container's to choose, so it is looked at before it is opened: nothing but a ptmx is.
    /// - Throws: `KernelError`.
    public init(inRootOf process: PidFD) throws(KernelError) {
        let root = try Descriptor.open("/proc/\(process.pid)/root", Descriptor.pathOnly | O_DIRECTORY)
        guard process.isRunning else {
            throw KernelError("open a terminal", errno: ESRCH, detail: "process \(process.pid) has ended")
        }
        let place = try root.openInRoot("dev/pts/ptmx", Descriptor.pathOnly)
        guard let device = place.deviceNumber, device.isCharacterDevice, device.major == 5, device.minor == 2 else {
            throw KernelError("open a terminal", errno: ENOTTY, detail: "expected /dev/pts/ptmx inside to be device 5:2")
        }
        master = try Descriptor.open("/proc/self/fd/\(place.raw)", O_RDWR | O_NOCTTY)
        guard vz_pty_unlock(master.raw) == 0 else { throw KernelError("unlock the terminal", errno: errno) }
    }

    /// Opens the other end. Once nobody has it open any more, reading the master ends with EIO after the last byte; so we do not keep it.
    public func peer() throws(KernelError) -> Descriptor {
        let raw = vz_pty_peer(master.raw)
        if raw < 0 { throw KernelError("open the terminal's other end", errno: errno) }
        return Descriptor(adopting: raw)
    }

    /// Gives this terminal the size of another one.
    public func copySize(from descriptor: Int32) { _ = vz_terminal_size_copy(descriptor, master.raw) }
}
