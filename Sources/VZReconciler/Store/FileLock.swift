internal import Glibc
public import VZKernel

/// An exclusive lock among processes, by flock(2) on a file of its own, held for as long as this object lives.
///
/// The kernel releases it when the holder dies, however that happens. The file holds the holder's process id, for messages only,
/// and is not removed on release: a lock on a removed file would exclude nobody.
public final class FileLock: Sendable {
    private let file: Descriptor

    private init(_ file: Descriptor) { self.file = file }

    deinit {
        ftruncate(file.raw, 0)
        // Said explicitly: a child between clone and exec may hold a copy of the descriptor.
        flock(file.raw, LOCK_UN)
    }

    /// Takes the lock if nobody has it, nil otherwise. The file is made with mode 0600; its directory must exist.
    /// - Throws: `KernelError` of open(2) (`ELOOP` for a symbolic link), fstat(2) and flock(2); `EPERM` when the file is another
    ///   user's, or not a regular file.
    public static func tryLock(_ path: String) throws(KernelError) -> FileLock? {
        let action = "lock \"\(path)\""
        while true {
            let file: Descriptor
            do throws(KernelError) {
                file = try Descriptor.open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, mode: 0o600)
            } catch {
                // An empty directory in its place locks nobody out.
                guard error.errno == EISDIR, rmdir(path) == 0 else { throw error }
                continue
            }
            var status = stat()
            guard fstat(file.raw, &status) == 0 else { throw KernelError(action, errno: errno) }
            guard status.st_mode & S_IFMT == S_IFREG, status.st_uid == geteuid() else {
                throw KernelError(action, errno: EPERM, detail: "expected a regular file of owner \(geteuid())")
            }
            while flock(file.raw, LOCK_EX | LOCK_NB) != 0 {
                if errno == EWOULDBLOCK { return nil }
                if errno != EINTR { throw KernelError(action, errno: errno) }
            }
            let lock = FileLock(file)
            // Somebody may have removed the file between open and lock: then this lock is on a file that nobody else will find.
            var there = stat()
            guard stat(path, &there) == 0, there.st_ino == status.st_ino, there.st_dev == status.st_dev else { continue }
            // For messages only; what is there already needs no room on a full disk.
            let text = "\(getpid())\n"
            if pwrite(file.raw, text, text.utf8.count, 0) == text.utf8.count { ftruncate(file.raw, off_t(text.utf8.count)) }
            return lock
        }
    }

    /// Takes the lock, trying until `deadline`; nil when somebody still has it then.
    ///
    /// Blocks its thread, trying every 10 ms at first and every 50 ms later, since flock(2) knows no time-out: not for the
    /// cooperative pool, unless the deadline is near.
    public static func lock(_ path: String, deadline: ContinuousClock.Instant) throws(KernelError) -> FileLock? {
        var pause: useconds_t = 10_000
        while true {
            if let lock = try tryLock(path) { return lock }
            let left = ContinuousClock.now.duration(to: deadline)
            guard left > .zero else { return nil }
            usleep(
                min(
                    pause,
                    useconds_t(clamping: left.components.attoseconds / 1_000_000_000_000 + left.components.seconds * 1_000_000)))
            pause = min(pause + 10_000, 50_000)
        }
    }

    /// Whether somebody has the lock. Opens the file for reading only.
    public static func isHeld(_ path: String) -> Bool {
        guard let file = try? Descriptor.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK) else { return false }
        // Shared, so that several who ask do not see each other.
        return flock(file.raw, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK
    }

    /// The process id that the lock's holder wrote, for a message; nil when there is none to be read.
    public static func holder(of path: String) -> Int32? {
        guard let text = try? KernelFile.read(path) else { return nil }
        return Int32(text)
    }
}
