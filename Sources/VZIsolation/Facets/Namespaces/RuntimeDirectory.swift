internal import Glibc
internal import VZKernel

/// A container's /run: a tmpfs of its own, as programs expect it to be empty at a start, with the file in it that OpenVZ's monitoring
/// programs read. An init that mounts one itself leaves one alone that is there.
struct RuntimeDirectory {
    private static let path = "run"
    private static let reportName = "user_beancounters"
    private let run: MountTree
    private let report: MountTree?

    /// - Parameters:
    ///   - root: of the container; it is the container's, and nothing of it is followed.
    ///   - base: the host's id of the container's root.
    ///   - report: a file of the host's.
    /// - Returns: `nil` where the root has no directory for it.
    init?(for root: Descriptor, base: UInt32, report: String?) throws(KernelError) {
        guard (try? root.openBeneath(Self.path, O_RDONLY | O_DIRECTORY)) != nil else { return nil }
        let options = [("uid", String(base)), ("gid", String(base)), ("mode", "755"), ("size", "20%")]
        run = try MountTree(type: "tmpfs", options: options, attributes: [.noSetuid, .noDevices])
        guard let report, let file = try? Descriptor.open(report, Descriptor.pathOnly | O_NOFOLLOW) else {
            self.report = nil
            return
        }
        let tree = try MountTree(cloning: file)
        try tree.set([.readOnly, .noSetuid, .noDevices, .noExec])
        _ = try Descriptor.open(Self.reportName, O_WRONLY | O_CREAT | O_EXCL, mode: 0o444, at: run.root)
        self.report = tree
    }

    /// What the new process does to have it.
    func steps(below tree: MountTree) -> [Step] {
        [.attach(run, at: Self.path, below: tree)]
            + (report.map { [.attach($0, at: "\(Self.path)/\(Self.reportName)", below: tree)] } ?? [])
    }
}
