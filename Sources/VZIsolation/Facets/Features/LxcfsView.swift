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

    /// - Parameter mounts: those of the container, in the order in which they were made.
    init(_ mounts: [ProcessMount]) {
        // The way to /proc must lead through nothing but the root that the container was started on: a file system that is served by a
        // process of the container's own would be asked for it, and need not answer.
        let roots = mounts.filter { $0.point == "/" }
        for file in LxcfsFile.all where roots.count == 1 {
            let found = mounts.last { $0.type == file.type && $0.root == "/" && $0.point == "/\(file.point)" }
            if found?.parent == roots[0].id { below[file.point] = found }
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
        let types = Set(LxcfsFile.all.map(\.type) + [LxcfsService.type])
        self.init(try ProcessMount.list(of: process, types: types, points: ["/"]))
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
                    "mount \(file.source) of lxcfs",
                    detail: "expected \(file.type) on /\(file.point) of the container's root, with nothing mounted between them")
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

    /// - Parameter isSettled: whether a view is what was last set. Only such a one is believed later: a process that is just being
    ///   started does not have its mounts yet.
    func text(of ctid: ContainerID, _ process: PidFD, isSettled: (String) -> Bool) throws(KernelError) -> String {
        let now = ContinuousClock.now
        let known = seen.withLock { $0[ctid] }
        if let known, known.pid == process.pid, now - known.time < age { return known.text }
        let text = try LxcfsView(of: process).text
        let isKept = isSettled(text)
        seen.withLock { $0[ctid] = isKept ? Seen(pid: process.pid, text: text, time: now) : nil }
        return text
    }

    func forget(_ ctid: ContainerID) { seen.withLock { $0[ctid] = nil } }
}
