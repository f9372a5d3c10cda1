internal import CLinux
internal import Glibc

/// What the keeper of locked pages (`Sources/vz-keeper`) is told of a container.
public struct KeeperEntry: Sendable {
    /// The connection to it.
    public var keeper: Descriptor
    public var ctid: UInt32
    /// Memory that is shared with whoever counts, and at which byte of it the counter of locked pages is (struct vz_counter).
    public var table: Descriptor
    public var counter: UInt64
    /// Whether the keeper is to write how much is held.
    public var counts: Bool
    /// The owner of its user namespace.
    public var owner: UInt32
    /// The directory of the container's control group.
    public var group: Descriptor

    public init(
        keeper: Descriptor, ctid: UInt32, table: Descriptor, counter: UInt64, counts: Bool, owner: UInt32, group: Descriptor
    ) {
        (self.keeper, self.ctid, self.table, self.counter) = (keeper, ctid, table, counter)
        (self.counts, self.owner, self.group) = (counts, owner, group)
    }
}

/// A connection to the keeper of locked pages, which answers each message with an errno.
public enum KeeperSocket {
    /// - Throws: `KernelError`; `ENOENT` or `ECONNREFUSED` where there is no keeper.
    public static func connect(in directory: Descriptor, name: String) throws(KernelError) -> Descriptor {
        let raw = vz_keeper_connect(path(directory, name))
        if raw < 0 { throw KernelError("connect to the keeper of locked pages", errno: errno) }
        return Descriptor(adopting: raw)
    }

    public static func listen(in directory: Descriptor, name: String) throws(KernelError) -> Descriptor {
        let raw = vz_keeper_listen(path(directory, name))
        if raw < 0 { throw KernelError("make the socket of the keeper of locked pages", errno: errno) }
        return Descriptor(adopting: raw)
    }

    /// The name of a socket is at most 108 bytes long, which a path might not be.
    private static func path(_ directory: Descriptor, _ name: String) -> String { "/proc/self/fd/\(directory.raw)/\(name)" }

    /// Waits for an answer. - Throws: `KernelError` with the errno that it was.
    public static func awaitAnswer(_ keeper: Descriptor, for what: String) throws(KernelError) {
        if vz_keeper_await(keeper.raw, 10_000) != 0 { throw KernelError("\(what) (vz-keeper)", errno: errno) }
    }

    /// Asks whether a container is kept.
    public static func ask(_ keeper: Descriptor, about ctid: UInt32) throws(KernelError) {
        try send(
            keeper, vz_keeper_message(kind: VZ_KEEPER_ASK.rawValue, ctid: ctid, counter: 0, counts: 0, owner: 0),
            "ask for locked pages")
    }

    /// Has the pages of all containers counted.
    public static func count(_ keeper: Descriptor) throws(KernelError) {
        try send(
            keeper, vz_keeper_message(kind: VZ_KEEPER_COUNT.rawValue, ctid: 0, counter: 0, counts: 0, owner: 0),
            "count locked pages")
    }

    /// Tells that the bound of a container is another one. - Throws: `KernelError`; `ENOENT` when it is not kept.
    public static func look(_ entry: KeeperEntry) throws(KernelError) {
        let message = vz_keeper_message(
            kind: VZ_KEEPER_LOOK.rawValue, ctid: entry.ctid, counter: entry.counter, counts: entry.counts ? 1 : 0,
            owner: entry.owner)
        try send(entry.keeper, message, "change the bound of locked pages", entry.table.raw, entry.group.raw)
    }

    private static func send(
        _ keeper: Descriptor, _ message: vz_keeper_message, _ action: String, _ table: Int32 = -1, _ group: Int32 = -1
    ) throws(KernelError) {
        var message = message
        if vz_keeper_send(keeper.raw, &message, table, group) != 0 { throw KernelError("\(action) (vz-keeper)", errno: errno) }
        try awaitAnswer(keeper, for: action)
    }

    /// The limit of locked memory that stands for so many pages; `nil`: none.
    public static func limit(pages: Int64?) -> UInt64 { pages.map { UInt64($0) * 4096 + UInt64(VZ_KEEPER_MARK) } ?? .max }
}
