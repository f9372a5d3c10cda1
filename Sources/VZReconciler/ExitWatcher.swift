internal import Glibc
internal import Synchronization
internal import VZKernel
internal import VZModel

/// Tells when the process 1 of a container ends. One thread of ours watches all of them; no process of theirs is a child of ours.
final class ExitWatcher: Sendable {
    private struct State {
        var watched: [Int32: (ctid: ContainerID, process: PidFD)] = [:]
        var byContainer: [ContainerID: PidFD] = [:]
    }

    private let state = Mutex(State())
    private let poll: ReadyPoll
    private let ended: @Sendable (ContainerID, PidFD) -> Void

    /// - Parameter ended: called on the watching thread, once for each process that was given to `watch` and has ended.
    init(ended: @escaping @Sendable (ContainerID, PidFD) -> Void) throws(KernelError) {
        self.ended = ended
        poll = try ReadyPoll()
    }

    /// The process 1 that is watched for a container.
    func process(of ctid: ContainerID) -> PidFD? { state.withLock { $0.byContainer[ctid] } }

    /// Watches a process; the same one again changes nothing.
    func watch(_ process: PidFD, of ctid: ContainerID) throws(KernelError) {
        let isNew = state.withLock { state in
            if let known = state.byContainer[ctid], known.descriptor === process.descriptor { return false }
            state.byContainer[ctid] = process
            state.watched[process.descriptor.raw] = (ctid, process)
            return true
        }
        if isNew { try poll.add(process.descriptor) }
    }

    func start() throws(KernelError) {
        var thread = pthread_t()
        let box = Unmanaged.passRetained(ThreadBody { self.run() })
        let error = pthread_create(&thread, nil, runThreadBody, box.toOpaque())
        if error != 0 {
            box.release()
            throw KernelError("start the thread that watches processes", errno: error)
        }
        pthread_detach(thread)
    }

    func stop() { poll.stop() }

    private func run() {
        while let ready = poll.wait() {
            for descriptor in ready {
                poll.remove(descriptor)
                let gone = state.withLock { state -> (ContainerID, PidFD)? in
                    guard let (ctid, process) = state.watched.removeValue(forKey: descriptor) else { return nil }
                    if state.byContainer[ctid]?.descriptor === process.descriptor { state.byContainer[ctid] = nil }
                    return (ctid, process)
                }
                if let (ctid, process) = gone { ended(ctid, process) }
            }
        }
    }
}
