internal import Glibc
internal import VZKernel

/// The records of the node's store, read again only where a file is another than before: each write makes a new one.
struct RecordCache: Sendable {
    private struct Fingerprint: Equatable {
        var inode: ino_t
        var seconds: Int
        var nanoseconds: Int

        /// `nil`: it is not there any more.
        init?(_ path: String) throws(StoreError) {
            var info = stat()
            guard lstat(path, &info) == 0 else {
                if errno == ENOENT { return nil }
                throw StoreError(.system, "look at record \"\(path)\": \(KernelError.text(of: errno))")
            }
            (inode, seconds, nanoseconds) = (info.st_ino, info.st_mtim.tv_sec, info.st_mtim.tv_nsec)
        }
    }

    private var known: [String: (fingerprint: Fingerprint, record: ContainerRecord)] = [:]
    /// The records that could not be read at the last update, each with the reason and what became of it.
    private(set) var damaged: [String] = []

    /// All records that can be read. One that cannot is lost: the store moves it aside, and it is made anew from what is seen.
    private(set) var records: [ContainerRecord] = []
    /// Another whenever `records` may be others.
    private(set) var version = 0

    /// Brings the records up to those of the store.
    mutating func update(from store: HostStore, in directory: String) throws(StoreError) {
        var isSame = true
        var next: [String: (fingerprint: Fingerprint, record: ContainerRecord)] = [:]
        damaged = []
        for name in try store.names() {
            guard let fingerprint = try Fingerprint("\(directory)/\(name)") else { continue }
            if let same = known[name], same.fingerprint == fingerprint {
                next[name] = same
                continue
            }
            isSame = false
            do throws(StoreError) {
                if let record = try store.read(ContainerRecord.self, name) { next[name] = (fingerprint, record) }
            } catch {
                damaged.append(error.message)
            }
        }
        if isSame && next.count == known.count { return }
        known = next
        records = next.values.map(\.record)
        version += 1
    }
}
