internal import CLinux
internal import Glibc

/// Runs a program of the host (tar, cp …) with an argument vector, never through a shell.
public enum Command {
    /// How long a program may run before it is killed, in seconds, unless the caller says otherwise.
    public static let patience = 600.0

    /// Runs to the end and answers what the program wrote to standard output.
    ///
    /// Standard input is /dev/null; signals are at their defaults. The program is killed when the calling thread ends before it: what
    /// it was making is made anew, and it must not go on beside that.
    /// - Throws: `KernelError` when it cannot be started, or ends otherwise than with 0; then with the end of what it wrote to
    ///   standard error.
    @discardableResult
    public static func run(_ arguments: [String], patience: Double = patience) throws(KernelError) -> String {
        let output = try Pipe()
        let errors = try Pipe()
        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
        argv.append(nil)
        defer { for argument in argv { free(argument) } }
        var pid: pid_t = 0
        guard vz_command(argv, output.write.raw, errors.write.raw, &pid) == 0 else {
            throw KernelError("run \(arguments.first ?? "")", errno: errno)
        }
        let process: PidFD
        do throws(KernelError) {
            process = try PidFD(pid: pid)
        } catch {
            kill(pid, SIGKILL)
            while waitpid(pid, nil, 0) < 0 && errno == EINTR {}
            throw error
        }
        output.closeWriteEnd()
        errors.closeWriteEnd()
        let deadline = ContinuousClock.now + .seconds(patience)
        let collected = collect(output.read, errors.read, until: deadline)
        if collected == nil { try? process.send(signal: SIGKILL) }
        let exit = try process.waitAsParent()
        guard let (text, complaint) = collected else {
            throw KernelError(
                "run \(arguments.joined(separator: " "))", errno: ETIMEDOUT, detail: "killed after \(Int(patience)) s")
        }
        switch exit {
        case .code(0): return text
        default: throw KernelError("run \(arguments.joined(separator: " "))", detail: "\(exit): \(complaint.suffix(2000))")
        }
    }

    /// Reads both to their ends, whichever has something; `nil` when they do not end in time.
    private static func collect(
        _ output: Descriptor, _ errors: Descriptor, until deadline: ContinuousClock.Instant
    ) -> (String, String)? {
        var texts: [[UInt8]] = [[], []]
        var requests = [output, errors].map { pollfd(fd: $0.raw, events: Int16(POLLIN), revents: 0) }
        var chunk = [UInt8](repeating: 0, count: 4096)
        while requests.contains(where: { $0.fd >= 0 }) {
            let left = (deadline - .now).components
            let ready = poll(&requests, 2, Int32(clamping: max(0, left.seconds * 1000 + left.attoseconds / 1_000_000_000_000_000)))
            if ready == 0 { return nil }
            guard ready > 0 || errno == EINTR else { break }
            for i in 0..<2 where requests[i].fd >= 0 && requests[i].revents != 0 {
                let n = read(requests[i].fd, &chunk, chunk.count)
                if n > 0 { texts[i] += chunk[0..<n] }
                if n == 0 || (n < 0 && errno != EINTR) { requests[i].fd = -1 }
            }
        }
        return (String(decoding: texts[0], as: UTF8.self), String(decoding: texts[1], as: UTF8.self))
    }
}

private final class Pipe {
    let read: Descriptor
    private(set) var write: Descriptor

    init() throws(KernelError) {
        var ends: [Int32] = [0, 0]
        guard vz_pipe(&ends) == 0 else { throw KernelError("make a pipe", errno: errno) }
        read = Descriptor(adopting: ends[0])
        write = Descriptor(adopting: ends[1])
    }

    /// Lets the reader see the end when the program closes its copy.
    func closeWriteEnd() { write = read }
}
