internal import Glibc
internal import VZIsolation
internal import VZKernel

/// Tells when another lxcfs is mounted than before, or none any more: what the containers have of the old one cannot be read then, and
/// should not wait for the next look at everything.
final class LxcfsWatcher: Sendable {
    private let core: IsolationCore
    private let mounts: MountWatch
    private let changed: @Sendable () -> Void

    /// - Parameter changed: called on the watching thread.
    init(_ core: IsolationCore, changed: @escaping @Sendable () -> Void) throws(KernelError) {
        self.core = core
        self.changed = changed
        mounts = try MountWatch()
    }

    func start() throws(KernelError) {
        var thread = pthread_t()
        let box = Unmanaged.passRetained(ThreadBody { self.run() })
        let error = pthread_create(&thread, nil, runThreadBody, box.toOpaque())
        if error != 0 {
            box.release()
            throw KernelError("start the thread that watches lxcfs", errno: error)
        }
        pthread_detach(thread)
    }

    func stop() { mounts.stop() }

    private func run() {
        var last = core.lxcfsDevice
        while mounts.wait() {
            let now = core.lxcfsDevice
            if now != last { changed() }
            last = now
        }
    }
}
