internal import CLinux
internal import Glibc

/// A write to a file of the kernel that is made after something else, or when this process ends, however it does: what is changed for a
/// moment does not stay so when we are killed meanwhile.
///
/// A child waits for it, with no descriptors but the two that it needs.
struct WriteAtEnd: ~Copyable {
    private let child: pid_t
    private let handle: Int32

    /// - Returns: `nil` when the file cannot be opened or no process be started.
    init?(_ text: String, to path: String, at directory: Descriptor) {
        guard let file = try? Descriptor.open(path, O_WRONLY, at: directory) else { return nil }
        var handle: Int32 = -1
        let child = vz_write_at_end(file.raw, text, text.utf8.count, &handle)
        guard child >= 0 else { return nil }
        (self.child, self.handle) = (child, handle)
    }

    /// Runs `body`, then makes it. Returns when it is made.
    consuming func after<Failure: Error>(_ body: () throws(Failure) -> Void) throws(Failure) {
        do throws(Failure) {
            try body()
        } catch {
            now()
            throw error
        }
        now()
    }

    private consuming func now() {
        close(handle)
        while waitpid(child, nil, 0) < 0, errno == EINTR {}
    }
}
