internal import Glibc
internal import VZKernel

/// Reads the files of one reading, and opens only those that may hold something else than at a reading before.
///
/// A file is the same as before when everything is the same that stat(2) tells of where it is, whose, how large, and when it was
/// last changed: whoever writes to it, or changes its owner or mode, cannot but leave another time of change, which nobody can set. A
/// time so near to the reading that a later change might have got the same one is not believed (git's "racy" entries). What leaves
/// no time at all, such as a write through memory that was mapped before (mmap(2)), is found when the file's `Memory` is over.
struct ManifestFileReader {
    /// What became of one file.
    enum Content {
        case manifest([UInt8])
        /// It is a link to /dev/null.
        case disabled
        case problem(String)
    }

    /// How far what a file held is believed.
    struct Memory {
        /// How long, when nothing says that it changed.
        var lasts = Duration.seconds(300)
        /// How long before it was read it must have changed last. The coarsest file system, FAT, counts in steps of 2 s, and the
        /// kernel's clock for files in steps of up to 10 ms.
        var begins = Duration.seconds(3)
    }

    /// What a file held.
    struct Seen {
        fileprivate var version: FileVersion
        fileprivate var bytes: [UInt8]
        fileprivate var since: ContinuousClock.Instant
    }

    /// What can be believed at the next reading, by path: of the files that this one met.
    private(set) var remembered: [String: Seen] = [:]
    /// Whether a file that others than root and the reader may write is refused.
    private let asksOwner: Bool
    private let seen: [String: Seen]
    private let memory: Memory
    private let begin = ContinuousClock.now
    /// Times of change before this one are not those of changes to come.
    private let past: FileVersion.Time

    /// - Parameters:
    ///   - seen: what a reading before remembered.
    ///   - memory: how far it is believed.
    init(asksOwner: Bool, seen: [String: Seen] = [:], memory: Memory = Memory()) {
        self.asksOwner = asksOwner
        self.seen = seen
        self.memory = memory
        remembered.reserveCapacity(seen.count)
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        past = FileVersion.Time(now, less: memory.begins)
    }

    /// What a file holds; nil when it is gone by now.
    mutating func content(of name: String, in directory: Descriptor, path: String) -> Content? {
        // Looked at before it is opened, since opening a device or a FIFO may do something or wait; what is opened in the end is
        // looked at again.
        var status = stat()
        guard fstatat(directory.raw, name, &status, 0) == 0 else {
            let error = errno
            if error == ENOENT, fstatat(directory.raw, name, &status, AT_SYMLINK_NOFOLLOW) != 0, errno == ENOENT { return nil }
            return .problem(
                error == ENOENT ? "expected a manifest, got a symbolic link that leads nowhere" : KernelError.text(of: error))
        }
        if status.st_mode & S_IFMT == S_IFCHR, status.st_rdev == Self.nullDevice { return .disabled }
        if let objection = objection(to: status) { return .problem(objection) }
        if let same = seen[path], same.version == FileVersion(status), begin - same.since < memory.lasts {
            remembered[path] = same
            return .manifest(same.bytes)
        }
        return read(name, in: directory, path: path)
    }

    private mutating func read(_ name: String, in directory: Descriptor, path: String) -> Content? {
        do throws(KernelError) {
            let file = try Descriptor.open(name, O_RDONLY | O_NONBLOCK | O_NOCTTY, at: directory)
            var before = stat()
            guard fstat(file.raw, &before) == 0 else { return .problem(KernelError.text(of: errno)) }
            if let objection = objection(to: before) { return .problem(objection) }
            if asksOwner, Self.isOpenForWriting(file) { return .problem("is open for writing; it is read when it is closed") }
            let bytes = try file.readAll(limit: ManifestDirectory.sizeLimit, named: name)
            var after = stat()
            guard fstat(file.raw, &after) == 0 else { return .problem(KernelError.text(of: errno)) }
            guard case (let old, let new) = (FileVersion(before), FileVersion(after)), old.size == new.size,
                old.modified == new.modified, bytes.count == Int(new.size)
            else { return .problem("was written to while being read; it is read again at the next look") }
            if old == new, new.changed < past, new.modified < past {
                remembered[path] = Seen(version: new, bytes: bytes, since: begin)
            }
            return .manifest(bytes)
        } catch {
            return error.errno == ENOENT ? nil : .problem(error.errno == EFBIG ? Self.tooLarge : KernelError.text(of: error.errno))
        }
    }

    /// Whether somebody is at a file: the half of it that is there may look like the whole.
    ///
    /// The kernel grants a lease on what nobody writes (fcntl(2)), until the descriptor is closed; a writer who comes meanwhile waits
    /// for that. Where there are no leases, as on some network file systems, nobody can tell.
    private static func isOpenForWriting(_ file: Descriptor) -> Bool {
        // The signal that tells of such a writer, SIGIO, would end this process; this one is ignored.
        guard fcntl(file.raw, setSignal, SIGURG) == 0 else { return false }
        return fcntl(file.raw, setLease, F_RDLCK) != 0 && errno == EAGAIN
    }

    // <fcntl.h> has them for _GNU_SOURCE only: F_SETSIG and F_SETLEASE.
    private static let (setSignal, setLease) = (Int32(10), Int32(1024))

    private static let nullDevice = dev_t(1 << 8 | 3)

    static let tooLarge = "expected at most \(ManifestDirectory.sizeLimit) bytes"

    private func objection(to status: stat) -> String? {
        guard status.st_mode & S_IFMT == S_IFREG else {
            return "expected a regular file or a symbolic link to one, got \(Self.kind(of: status))"
        }
        if let distrust = distrust(status) { return distrust }
        return status.st_size > ManifestDirectory.sizeLimit ? Self.tooLarge + ", got \(status.st_size)" : nil
    }

    private static func kind(of status: stat) -> String {
        switch status.st_mode & S_IFMT {
        case S_IFDIR: "a directory"
        case S_IFIFO: "a FIFO"
        case S_IFSOCK: "a socket"
        case S_IFCHR, S_IFBLK: "a device"
        default: "something else"
        }
    }

    /// Why a file or directory is not trusted, when that is asked for.
    ///
    /// Who may write a manifest decides what runs as root: nobody but root and the reader. A group is theirs when it is root's or
    /// the reader's own (umask 002).
    func distrust(_ status: stat) -> String? {
        guard asksOwner else { return nil }
        let reader = geteuid()
        guard status.st_uid == 0 || status.st_uid == reader else {
            return "expected an owner of uid \(reader == 0 ? "0" : "0 or \(reader)"), got uid \(status.st_uid): chown it"
        }
        let byOthers = status.st_mode & S_IWOTH != 0
        let byGroup = status.st_mode & S_IWGRP != 0 && status.st_gid != 0 && status.st_gid != getegid()
        guard byOthers || byGroup else { return nil }
        let mode = String(status.st_mode & 0o7777, radix: 8)
        return "expected to be writable by its owner only, got mode \(mode): chmod \(byOthers ? "go-w" : "g-w") it"
    }
}

/// What stat(2) tells of one state of a file, by which it is told from any other.
private struct FileVersion: Equatable {
    struct Time: Equatable, Comparable {
        private var seconds: Int
        private var nanoseconds: Int

        init(_ time: timespec, less before: Duration = .zero) {
            let (whole, attoseconds) = before.components
            (seconds, nanoseconds) = (time.tv_sec - Int(whole), time.tv_nsec - Int(attoseconds / 1_000_000_000))
            if nanoseconds < 0 { (seconds, nanoseconds) = (seconds - 1, nanoseconds + 1_000_000_000) }
        }

        static func < (a: Self, b: Self) -> Bool { (a.seconds, a.nanoseconds) < (b.seconds, b.nanoseconds) }
    }

    private var device: dev_t
    private var inode: ino_t
    private var mode: mode_t
    private var owner: uid_t
    private var group: gid_t
    var size: off_t
    var modified: Time
    var changed: Time

    init(_ status: stat) {
        (device, inode, mode) = (status.st_dev, status.st_ino, status.st_mode)
        (owner, group, size) = (status.st_uid, status.st_gid, status.st_size)
        (modified, changed) = (Time(status.st_mtim), Time(status.st_ctim))
    }
}
