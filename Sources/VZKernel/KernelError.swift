internal import CLinux
internal import Glibc

/// A system call that the kernel refused, or an answer of the kernel's that cannot be understood.
///
/// The message starts with the verb and names the object: `write "cpu.weight" of /vz/101: Invalid argument`.
public struct KernelError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The kernel's error number, 0 when the kernel answered but with something unexpected (see `detail`).
    public var errno: Int32
    /// What was tried, and on what: verb first.
    public var action: String
    /// What was expected, or what to do about it; may be empty.
    public var detail: String

    /// Whether trying again is in vain until somebody gives what is missing.
    public var needsInput = false

    public init(_ action: String, errno: Int32 = 0, detail: String = "") {
        self.action = action
        self.errno = errno
        self.detail = detail
    }

    /// The same, known to be mended by new input alone.
    public var waitingForInput: KernelError {
        var error = self
        error.needsInput = true
        return error
    }

    public var description: String {
        var text = action
        if errno != 0 { text += ": " + Self.text(of: errno) }
        if !detail.isEmpty { text += (errno != 0 ? " (" : ": ") + detail + (errno != 0 ? ")" : "") }
        return text
    }

    /// The C library's words for an error number.
    public static func text(of number: Int32) -> String {
        var buffer = [CChar](repeating: 0, count: 128)
        return buffer.withUnsafeMutableBufferPointer { b in
            guard let base = b.baseAddress else { return "error \(number)" }
            return String(cString: vz_strerror(number, base, b.count))
        }
    }
}
