internal import Glibc
internal import Synchronization
internal import VZKernel
internal import VZModel

/// Which files of lxcfs a container sees, as the mounts in its mount namespace tell.
struct LxcfsView {
    /// What covers each of `LxcfsFile.all`, the topmost mount last: of lxcfs, of which one file may be on another.
    private var covers: [[ProcessMount]] = []
    /// What is mounted on `/proc` and `/sys`, where it is the file system that shall be there.
    private var below: [String: ProcessMount] = [:]

    /// - Parameter mounts: those of the container, of the types `types`.
    init(_ mounts: [ProcessMount]) {
        for file in LxcfsFile.all {
            // Of several the last is on top: nothing but what covers a whole one counts.
            below[file.point] = mounts.last { $0.type == file.type && $0.root == "/" && $0.point == "/\(file.point)" }
        }
        covers = LxcfsFile.all.map { [below] file in
            guard var top = below[file.point]?.id else { return [] }
            var stack: [ProcessMount] = []
            while let next = mounts.first(where: {
                $0.type == LxcfsService.type && $0.parent == top && $0.point == "/\(file.source)"
            }) {
                stack.append(next)
                top = next.id
            }
            return stack
        }
    }

    init(of process: PidFD) throws(KernelError) {
        self.init(try ProcessMount.list(of: process, types: [LxcfsService.type] + Set(LxcfsFile.all.map(\.type)).sorted()))
    }

    /// The one lxcfs that all files are of: the number of its file system. `none` when all are the kernel's, else what there is.
    var text: String {
        let devices = covers.map { $0.map(\.device) }
        if devices.allSatisfy(\.isEmpty) { return Self.none }
        if let first = devices[0].first, devices.allSatisfy({ $0 == [first] }) { return first }
        let counts = Dictionary(devices.flatMap { $0 }.map { ($0, 1) }, uniquingKeysWith: +).sorted { $0.key < $1.key }
        return counts.map { "\($0.key) on \($0.value)" }.joined(separator: ", ") + " of \(devices.count)"
    }

    static let none = "none"

    /// What makes the container see these mounts of lxcfs, or the kernel's own files again.
    /// - Parameters:
    ///   - mounts: one for each of `LxcfsFile.all`; `nil`: none.
    /// - Throws: `KernelError` when the container's root has put something else in the place of its /proc or /sys.
    func steps(showing mounts: [MountTree]?, in process: PidFD) throws(KernelError) -> [Step] {
        var steps: [Step] = [.enter(process, .mount)]
        for (index, file) in LxcfsFile.all.enumerated() where mounts != nil || !covers[index].isEmpty {
            guard let place = below[file.point] else {
                throw KernelError(
                    "mount \(file.source) of lxcfs", detail: "expected a mount of \(file.type) on /\(file.point) in the container")
            }
            let slash = file.source.lastIndex(of: "/") ?? file.source.startIndex
            let name = String(file.source[file.source.index(after: slash)...])
            // The id says that it is the mount that was seen, whatever the container's root does meanwhile.
            steps += [.changeDirectoryPath("/"), .enterMount(String(file.source[..<slash]), id: place.id)]
            steps += covers[index].map { _ in .detach(name) }
            if let mounts { steps.append(.attach(mounts[index], at: name)) }
        }
        return steps
    }
}

/// What was seen of containers' mounts, kept for a while: to read the list at every look would cost as much as much of the rest of it.
///
/// Nobody but a container's own root can change it behind our back, and he deceives nobody but himself.
public final class LxcfsViews: Sendable {
    private struct Seen {
        var pid: Int32
        var text: String
        var time: ContinuousClock.Instant
    }

    private let seen = Mutex<[ContainerID: Seen]>([:])
    private let age: Duration

    /// - Parameter age: how long what was seen is believed.
    public init(believedFor age: Duration = .seconds(300)) { self.age = age }

    func text(of ctid: ContainerID, _ process: PidFD) throws(KernelError) -> String {
        let now = ContinuousClock.now
        let known = seen.withLock { $0[ctid] }
        if let known, known.pid == process.pid, now - known.time < age { return known.text }
        let text = try LxcfsView(of: process).text
        seen.withLock { $0[ctid] = Seen(pid: process.pid, text: text, time: now) }
        return text
    }

    func forget(_ ctid: ContainerID) { seen.withLock { $0[ctid] = nil } }
}
