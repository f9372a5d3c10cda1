internal import Glibc

extension ControlGroup {
    /// Stops the group's processes where they are while `body` runs. Where there is no freezer, or no process can be started, they run on.
    ///
    /// They go on also when this process is killed meanwhile.
    /// - Parameter patience: how long those are waited for that sleep in the kernel (state D), which stop when they wake.
    public func whileFrozen<Failure: Error>(patience: Duration, _ body: () throws(Failure) -> Void) throws(Failure) {
        guard let hierarchy = tree.hierarchy(of: .freezer) else { return try body() }
        let (file, on, off) = hierarchy.version == .v1 ? ("freezer.state", "FROZEN", "THAWED") : ("cgroup.freeze", "1", "0")
        guard let thaw = WriteAtEnd(off, to: "\(path)/\(file)", at: hierarchy.directory) else { return try body() }
        try thaw.after { () throws(Failure) in
            try? write(on, to: file, in: hierarchy)
            waitUntilFrozen(file, hierarchy, deadline: .now + patience)
            try body()
        }
    }

    private func waitUntilFrozen(_ file: String, _ hierarchy: ControlGroupTree.Hierarchy, deadline: ContinuousClock.Instant) {
        while ContinuousClock.now < deadline {
            let isFrozen =
                switch hierarchy.version {
                case .v1: try? read(file, in: hierarchy) { $0.word("FROZEN") }
                case .v2: try? read("cgroup.events", in: hierarchy) { $0.value(of: "frozen").map { $0 == 1 } }
                }
            if isFrozen ?? true { return }
            ControlGroupWait.pause(milliseconds: 1)
        }
    }
}
