internal import Glibc
internal import Synchronization
internal import VZKernel

/// Passes on what would end us to the program inside, which is in a session of its own and hears nothing of our terminal.
enum SignalRelay {
    private static let relayed: [Int32] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT]
    private static let caught = Atomic<Int32>(0)

    /// Waits for our child, relaying signals meanwhile.
    static func wait(for process: PidFD) throws(KernelError) -> PidFD.Exit {
        var action = sigaction()  // without SA_RESTART: a signal ends the wait below
        action.__sigaction_handler.sa_handler = { SignalRelay.caught.store($0, ordering: .relaxed) }
        for signal in relayed { sigaction(signal, &action, nil) }
        var request = pollfd(fd: process.descriptor.raw, events: Int16(POLLIN), revents: 0)
        // A second at most, in case a signal came between two waits.
        while poll(&request, 1, 1000) <= 0 {
            let signal = caught.exchange(0, ordering: .relaxed)
            if signal != 0 { try process.send(signal: signal) }
        }
        return try process.waitAsParent()
    }
}
