internal import CInotifyTools
internal import Glibc
internal import Synchronization
internal import VZKernel

/// libinotifytools, owned by the one thread that made this value and used by nobody else.
///
/// The library keeps one state for the whole process and is not thread-safe, so there is one such value at a time. What it does
/// not do by itself is done here: its inotify descriptor is found and made close-on-exec, events are copied out of its static
/// buffer, and reading never waits.
struct InotifyTools: ~Copyable {
    /// What an event says that matters to us.
    struct Event {
        var watch: Int32
        var mask: UInt32
        /// The watched directory as it was given to `watch`, empty for a watch that was removed.
        var directory: String
        /// The file in that directory, empty when the event is the directory's own.
        var name: String

        func has(_ bits: Int) -> Bool { mask & UInt32(truncatingIfNeeded: bits) != 0 }
    }

    /// The library's inotify descriptor: for poll(2) only.
    let descriptor: Int32

    private static let taken = Mutex(false)

    /// Initialises the library.
    /// - Throws: `KernelError` when the library is in use already, refuses, or does not show its descriptor.
    init() throws(KernelError) {
        guard
            Self.taken.withLock({ taken in
                defer { taken = true }
                return !taken
            })
        else {
            throw KernelError(
                "initialise libinotifytools", errno: EBUSY,
                detail: "its state is global: one watcher a process, stop the other first")
        }
        do throws(KernelError) {
            descriptor = try Self.initialise()
        } catch {
            Self.taken.withLock { $0 = false }
            throw error
        }
    }

    deinit {
        // The library reads ahead into a static buffer that outlives its cleanup: what stays there would be given to the next user.
        // The bound is far above the kernel's queue and only there so that a busy writer cannot hold us here.
        var left = 1 << 17
        while left > 0, inotifytools_next_events(0, 1) != nil { left -= 1 }
        inotifytools_cleanup()
        Self.taken.withLock { $0 = false }
    }

    private static func initialise() throws(KernelError) -> Int32 {
        let before = try inotifyDescriptors()
        guard inotifytools_initialize() != 0 else {
            throw KernelError(
                "initialise libinotifytools", errno: inotifytools_error(), detail: "see /proc/sys/fs/inotify/max_user_instances")
        }
        do throws(KernelError) {
            let new = try inotifyDescriptors().subtracting(before)
            guard let descriptor = new.first, new.count == 1 else {
                throw KernelError(
                    "find libinotifytools' descriptor in /proc/self/fd",
                    detail: "expected one new inotify descriptor, found \(new.count)")
            }
            // The library waits with select(2), which cannot hold a higher one.
            guard descriptor < 1024 else {
                throw KernelError(
                    "use libinotifytools", errno: EMFILE,
                    detail: "its descriptor is \(descriptor), expected one below 1024: start it earlier")
            }
            guard fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0 else {
                throw KernelError("make libinotifytools' descriptor close-on-exec", errno: errno)
            }
            return descriptor
        } catch {
            inotifytools_cleanup()
            throw error
        }
    }

    private static func inotifyDescriptors() throws(KernelError) -> Set<Int32> {
        let directory = try Descriptor.open("/proc/self/fd", O_RDONLY | O_DIRECTORY)
        var found: Set<Int32> = []
        var target = [CChar](repeating: 0, count: 64)
        for name in try directory.names() {
            let length = readlinkat(directory.raw, name, &target, target.count)
            guard length > 0, let number = Int32(name) else { continue }
            if String(decoding: target[..<length].map(UInt8.init(bitPattern:)), as: UTF8.self) == "anon_inode:inotify" {
                found.insert(number)
            }
        }
        return found
    }

    /// Watches a directory, its path with a slash at the end, for all that may change what is read from it; watching it again is
    /// harmless.
    /// - Returns: the errno of inotify_add_watch(2), 0 when the directory is watched.
    func watch(_ directory: String) -> Int32 {
        // IN_ATTRIB: owner and mode decide whether a file is trusted. IN_MODIFY is left out: a writer that is not done says so by
        // IN_CLOSE_WRITE. Nothing that mere reading causes is in the list: we would wake ourselves.
        let events =
            Int(IN_CREATE) | Int(IN_DELETE) | Int(IN_MOVED_FROM) | Int(IN_MOVED_TO) | Int(IN_CLOSE_WRITE) | Int(IN_ATTRIB)
            | Int(IN_DELETE_SELF) | Int(IN_MOVE_SELF) | Int(IN_ONLYDIR)
        if inotifytools_watch_file(directory, Int32(truncatingIfNeeded: events)) != 0 { return 0 }
        let error = inotifytools_error()
        return error == 0 ? EIO : error
    }

    /// Removes a watch that is alive. (Of a dead one the library complains on standard error.)
    func remove(_ watch: Int32) {
        _ = inotifytools_remove_watch_by_wd(watch)
    }

    /// The next event, nil when there is none; never waits.
    ///
    /// After poll(2) said that the descriptor is readable this must be called until nil: what the library read ahead, poll cannot
    /// see. (`inotifytools_next_event` takes a time-out of 0 for ever; `inotifytools_next_events` takes it as written.)
    func next() -> Event? {
        guard let event = inotifytools_next_events(0, 1) else { return nil }
        let watch = event.pointee.wd
        let directory = inotifytools_filename_from_wd(watch).map { String(cString: $0) } ?? ""
        let name =
            event.pointee.len == 0
            ? ""
            : String(
                cString: UnsafeRawPointer(event).advanced(by: MemoryLayout<inotify_event>.size).assumingMemoryBound(to: CChar.self))
        return Event(watch: watch, mask: event.pointee.mask, directory: directory, name: name)
    }
}
