/// A hint that a manifest directory may have changed: it says no more than "look again".
///
/// Whoever receives one re-reads everything. A lost, doubled or late hint costs time, never correctness; what it carries is for the
/// log.
public enum Hint: Equatable, Sendable, CustomStringConvertible {
    /// The watches are armed; whatever happened before was not seen.
    case started
    /// Something happened to this file, or to the directory itself.
    case change(file: String)
    /// The kernel's event queue overflowed: events were lost.
    case overflow
    /// The directory is missing, or can no longer be watched.
    case directoryLost(String)
    /// The directory is watched again after it was missing, replaced or moved.
    case rearmed(String)

    /// Whether it tells more than that something in a directory changed.
    var isNotable: Bool {
        switch self {
        case .started, .change: false
        case .overflow, .directoryLost, .rearmed: true
        }
    }

    public var description: String {
        switch self {
        case .started: "watches armed"
        case .change(let file): "\(file) changed"
        case .overflow: "the inotify queue overflowed: events were lost, and everything is read again"
        case .directoryLost(let path): "\(path) is missing"
        case .rearmed(let path): "\(path) is watched again"
        }
    }
}
