internal import Glibc

/// An open file descriptor that closes itself. Everything that VZKernel does on files starts from one: handles first, paths second.
///
/// Every descriptor is close-on-exec.
public final class Descriptor: Sendable {
    public let raw: Int32

    /// Takes over an open descriptor.
    public init(adopting raw: Int32) { self.raw = raw }

    deinit { close(raw) }

    /// Opens `path`, relative to `directory` when one is given (openat(2)); `O_CLOEXEC` is added.
    /// - Throws: `KernelError` with the errno of open(2).
    public static func open(
        _ path: String, _ flags: Int32, mode: UInt32 = 0, at directory: Descriptor? = nil
    ) throws(KernelError) -> Descriptor {
        while true {
            let raw = openat(directory?.raw ?? AT_FDCWD, path, flags | O_CLOEXEC, mode)
            if raw >= 0 { return Descriptor(adopting: raw) }
            if errno != EINTR { throw KernelError("open \"\(path)\"", errno: errno) }
        }
    }

    /// All bytes from the current offset to the end, `limit` at most.
    /// - Throws: `KernelError` with the errno of read(2); `EFBIG` when there is more than `limit`.
    public func readAll(limit: Int = 1 << 20, named name: String = "file") throws(KernelError) -> [UInt8] {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let n = read(raw, &chunk, chunk.count)
            if n == 0 { return bytes }
            if n < 0 {
                if errno == EINTR { continue }
                throw KernelError("read \"\(name)\"", errno: errno)
            }
            bytes.append(contentsOf: chunk[0..<n])
            if bytes.count > limit { throw KernelError("read \"\(name)\"", errno: EFBIG, detail: "more than \(limit) bytes") }
        }
    }

    /// Writes all of `bytes`. A kernel file takes a value in one call only, which this does for anything below a page.
    public func writeAll(_ bytes: some Sequence<UInt8>, named name: String = "file") throws(KernelError) {
        let bytes = Array(bytes)
        var done = 0
        repeat {
            let n = bytes.withUnsafeBytes { write(raw, $0.baseAddress.map { $0 + done }, bytes.count - done) }
            if n < 0 {
                if errno == EINTR { continue }
                throw KernelError("write \"\(name)\"", errno: errno)
            }
            done += n
        } while done < bytes.count
    }
}

/// The small files of the kernel: proc, sysfs and cgroupfs.
public enum KernelFile {
    /// The whole file as text, without its last line break.
    public static func read(_ path: String, at directory: Descriptor? = nil) throws(KernelError) -> String {
        let bytes = try Descriptor.open(path, O_RDONLY, at: directory).readAll(named: path)
        return String(decoding: bytes.last == 10 ? bytes.dropLast() : bytes[...], as: UTF8.self)
    }

    /// Writes `text` in one system call to a file that exists.
    public static func write(_ text: String, to path: String, at directory: Descriptor? = nil) throws(KernelError) {
        try Descriptor.open(path, O_WRONLY, at: directory).writeAll(text.utf8, named: path)
    }
}
