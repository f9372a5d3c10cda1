internal import Glibc
internal import VZKernel
internal import VZManifest

/// What the watcher's thread does: wait, drain, arm again what was lost.
struct WatchLoop: ~Copyable {
    /// Which directory a path led to.
    private struct Identity: Equatable {
        var device: UInt
        var inode: UInt

        init?(_ path: String) {
            var status = stat()
            guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { return nil }
            device = UInt(status.st_dev)
            inode = UInt(status.st_ino)
        }
    }

    private enum Watch: Equatable {
        case armed(Identity)
        /// It was armed; the kernel has dropped the watch, or it is on a directory that the path no longer leads to.
        case broken
        case missing
    }

    private let tools: InotifyTools
    /// Readable for poll(2) when a file system was mounted or unmounted; `nil` without /proc.
    private let mounts: Descriptor?
    /// The directories as they were given, for the hints.
    private let names: [String]
    private let paths: [String]
    private var watches: [Watch]
    /// The directories of drop-ins that are watched, by path with a slash at the end. They come and go with their names in the
    /// directories above, so that what is not here is looked for, not remembered.
    private var dropIns: [String: Identity] = [:]
    private let retry: Duration
    private let recheck: Duration
    private let send: @Sendable (Hint) -> Void

    /// Initialises the library and arms every directory that is there.
    init(
        paths: [String], retry: Duration, recheck: Duration, send: @escaping @Sendable (Hint) -> Void
    ) throws(KernelError) {
        tools = try InotifyTools()
        mounts = try? Descriptor.open("/proc/self/mounts", O_RDONLY)
        // The library ends the name of a directory with a slash, but not that of a link to one: so that there is one form, it gets
        // the slash from us.
        self.paths = paths.map { $0.hasSuffix("/") ? $0 : $0 + "/" }
        names = paths
        self.retry = retry
        self.recheck = recheck
        self.send = send
        watches = paths.map { _ in .missing }
        for index in paths.indices { watches[index] = arm(self.paths[index]) }
        _ = armDropIns()
        send(.started)
    }

    /// Runs until the other end of `stop` is shut down. A byte from there asks to follow the paths again.
    mutating func run(until stop: Descriptor) {
        var drained = true
        while true {
            let patience = watches.contains(.missing) ? retry : recheck
            var files = [
                pollfd(fd: stop.raw, events: Int16(POLLIN), revents: 0),
                pollfd(fd: tools.descriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: mounts?.raw ?? -1, events: Int16(POLLPRI), revents: 0),
            ]
            poll(&files, nfds_t(files.count), drained ? Self.milliseconds(patience) : 0)
            if files[0].revents != 0, !Self.isAsked(stop) { return }
            drained = drain()
            if drained { mend() }
        }
    }

    /// Takes what was sent; `false` when it was the end.
    private static func isAsked(_ stop: Descriptor) -> Bool {
        var bytes = [UInt8](repeating: 0, count: 64)
        return recv(stop.raw, &bytes, bytes.count, Int32(MSG_DONTWAIT)) > 0
    }

    /// Takes events until there are none, or a good many, so that a busy writer cannot keep us from stopping.
    private mutating func drain() -> Bool {
        for _ in 0..<4096 {
            guard let event = tools.next() else { return true }
            take(event)
        }
        return false
    }

    private mutating func take(_ event: InotifyTools.Event) {
        if event.has(Int(IN_Q_OVERFLOW)) {
            // The end of a watch may be among what was lost.
            for index in paths.indices where watches[index] != .missing { watches[index] = .broken }
            dropIns = [:]
            return send(.overflow)
        }
        guard !event.directory.isEmpty else { return }
        if event.has(Int(IN_IGNORED)) || event.has(Int(IN_MOVE_SELF)) {
            if event.has(Int(IN_MOVE_SELF)) { tools.remove(event.watch) }
            dropIns[event.directory] = nil
            for index in paths.indices where paths[index] == event.directory && watches[index] != .missing {
                watches[index] = .broken
            }
        } else {
            send(.change(file: event.directory + event.name))
        }
    }

    /// Arms again whatever is not watched, or watched in a place that its path no longer leads to.
    ///
    /// Renaming a parent, mounting over the directory and re-pointing a symbolic link cause no inotify event: they are found here,
    /// by comparing where the path leads. The old watch is left alone then: it costs a needless hint at most.
    private mutating func mend() {
        for index in paths.indices {
            if case .armed(let identity) = watches[index] {
                if identity == Identity(paths[index]) { continue }
                watches[index] = .broken
            }
            let before = watches[index]
            watches[index] = arm(paths[index])
            if case .armed = watches[index] {
                send(.rearmed(names[index]))
            } else if before == .broken {
                send(.directoryLost(names[index]))
            }
        }
        // What happened in one before it was watched gave no hint.
        for path in armDropIns() { send(.rearmed(path)) }
    }

    /// Watches every directory of drop-ins that is there and is not watched yet.
    /// - Returns: those that are watched as of now.
    private mutating func armDropIns() -> [String] {
        var there: [String: Identity] = [:]
        var new: [String] = []
        for path in paths {
            guard let directory = try? Descriptor.open(path, O_RDONLY | O_DIRECTORY), let names = try? directory.names() else {
                continue
            }
            for name in names where ManifestFileName.manifest(ofDropIns: name) != nil {
                let path = path + name + "/"
                guard let identity = Identity(path) else { continue }
                if dropIns[path] != identity {
                    guard case .armed(let identity) = arm(path) else { continue }
                    new.append(path)
                    there[path] = identity
                } else {
                    there[path] = identity
                }
            }
        }
        dropIns = there
        return new
    }

    private func arm(_ path: String) -> Watch {
        guard let before = Identity(path), tools.watch(path) == 0, Identity(path) == before else { return .missing }
        return .armed(before)
    }

    private static func milliseconds(_ duration: Duration) -> Int32 {
        let (seconds, attoseconds) = duration.components
        return Int32(clamping: seconds * 1000 + attoseconds / 1_000_000_000_000_000)
    }
}
