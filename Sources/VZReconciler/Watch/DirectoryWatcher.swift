internal import Glibc
internal import Synchronization
public import VZKernel

/// Watches directories with libinotifytools and tells, as a hint only, that it is time to look again.
///
/// Watched with each directory are the directories of drop-ins in it (`web.yaml.d`), as they come and go.
///
/// `start()` returns when every directory that is there is watched: a change after that gives a hint. A directory that is missing,
/// removed, moved, unmounted or replaced is armed again as soon as its path leads to a directory: at once after a mount, within
/// `retry` when it was missing; within `recheck`, or by `lookAgain()`, when the path silently leads elsewhere (a renamed parent, a
/// re-pointed link). Hints are dropped only while others wait to be taken, and those of changes first. The target of a symbolic
/// link in the directory is not watched: re-read everything from time to time besides.
///
/// The library's state is global: a process has one started watcher at a time. Start it early, before descriptors are many and
/// before other threads start programs (its descriptor is close-on-exec only an instant after it was opened).
public final class DirectoryWatcher: Sendable {
    /// The hints, for one consumer; ends when the watcher has stopped.
    public let hints: AsyncStream<Hint>

    private enum State {
        case idle
        /// Shutting the stopper down stops the thread.
        case running(thread: pthread_t, stopper: Descriptor)
        case stopped
    }

    private let state = Mutex(State.idle)
    private let paths: [String]
    private let retry: Duration
    private let recheck: Duration
    private let hint: AsyncStream<Hint>.Continuation
    private let ended: AsyncStream<Never>
    private let end: AsyncStream<Never>.Continuation

    /// - Parameters:
    ///   - paths: the directories, absolute; each may be missing.
    ///   - retry: how often a missing directory is tried, only while one is missing.
    ///   - recheck: how often the paths are followed again when nothing happens.
    public init(paths: [String], retry: Duration = .seconds(1), recheck: Duration = .seconds(30)) {
        self.paths = paths
        self.retry = retry
        self.recheck = recheck
        (hints, hint) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(64))
        (ended, end) = AsyncStream.makeStream()
    }

    deinit {
        // The thread holds nothing of this object: it ends by itself, and nobody is left to join it.
        guard case .running(let thread, let stopper) = state.withLock({ $0 }) else { return }
        shutdown(stopper.raw, Int32(SHUT_RDWR))
        pthread_detach(thread)
    }

    /// Starts the thread and returns when the watches are armed; a watcher starts once.
    /// - Throws: `KernelError`, `EBUSY` when another watcher of this process runs; the library's and the kernel's refusals.
    public func start() async throws(KernelError) {
        // A failed launch leaves the watcher as it is; when the thread gives up, it is over.
        var launched = true
        let ready = await withCheckedContinuation { (ready: CheckedContinuation<Result<Void, KernelError>, Never>) in
            do throws(KernelError) {
                try launch(ready)
            } catch {
                launched = false
                ready.resume(returning: .failure(error))
            }
        }
        if launched, case .failure = ready { await stop() }
        try ready.get()
    }

    /// Follows the paths again now, and arms what they lead to.
    public func lookAgain() {
        guard case .running(_, let stopper) = state.withLock({ $0 }) else { return }
        // When the buffer is full it has been asked for already.
        send(stopper.raw, [1], 1, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
    }

    /// Stops the thread, waits for its end, and closes everything. Once stopped, or never started, it does nothing.
    public func stop() async {
        let last = state.withLock { state in
            defer { state = .stopped }
            return state
        }
        hint.finish()
        guard case .running(let thread, let stopper) = last else { return }
        // Not by closing: a child between clone and exec may hold a copy.
        shutdown(stopper.raw, Int32(SHUT_RDWR))
        for await _ in ended {}
        pthread_join(thread, nil)
    }

    private func launch(_ ready: CheckedContinuation<Result<Void, KernelError>, Never>) throws(KernelError) {
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            throw KernelError("make a socket pair", errno: errno)
        }
        let (stopper, stop) = (Descriptor(adopting: ends[0]), Descriptor(adopting: ends[1]))
        let failure: KernelError? = state.withLock { state in
            guard case .idle = state else { return KernelError("start watching", errno: EALREADY, detail: "a watcher starts once") }
            do throws(KernelError) {
                let thread = try startThread(body(ready, until: stop))
                state = .running(thread: thread, stopper: stopper)
                return nil
            } catch {
                return error
            }
        }
        if let failure { throw failure }
    }

    /// What the thread runs. It must not keep `self`.
    private func body(
        _ ready: CheckedContinuation<Result<Void, KernelError>, Never>, until stop: Descriptor
    ) -> @Sendable () -> Void {
        { [paths, retry, recheck, hint, end] in
            do throws(KernelError) {
                var loop = try WatchLoop(paths: paths, retry: retry, recheck: recheck) { new in
                    // A change more or less is all the same.
                    if case .dropped(let old) = hint.yield(new), old.isNotable { hint.yield(old) }
                }
                ready.resume(returning: .success(()))
                loop.run(until: stop)
            } catch {
                ready.resume(returning: .failure(error))
            }
            hint.finish()
            end.finish()
        }
    }
}

/// Starts a thread of its own with all signals blocked: they are for the threads that expect them.
private func startThread(_ body: @escaping @Sendable () -> Void) throws(KernelError) -> pthread_t {
    final class Box: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    let box = Unmanaged.passRetained(Box(body))
    var all = sigset_t()
    var old = sigset_t()
    sigfillset(&all)
    pthread_sigmask(SIG_SETMASK, &all, &old)
    defer { pthread_sigmask(SIG_SETMASK, &old, nil) }
    var thread = pthread_t()
    let error = pthread_create(
        &thread, nil,
        { context in
            if let context { Unmanaged<Box>.fromOpaque(context).takeRetainedValue().body() }
            return nil
        }, box.toOpaque())
    guard error == 0 else {
        box.release()
        throw KernelError("start the watcher's thread", errno: error)
    }
    return thread
}
