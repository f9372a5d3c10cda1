public import VZManifest

/// What was made of each manifest's bytes, so that only files that changed are parsed again.
///
/// A cache and nothing else: an empty one gives the same results. It compares bytes, those of drop-ins included, neither times nor
/// digests.
public struct ManifestCache<Parsed: Sendable>: Sendable {
    private struct Entry: Sendable {
        var file: ManifestFile
        var parsed: Parsed
    }

    /// One manifest and what was made of it.
    public struct Item: Sendable {
        public var path: String
        public var parsed: Parsed
    }

    /// What a reading comes to.
    public struct Update: Sendable {
        /// Every file of the reading, sorted by path.
        public var items: [Item]
        /// The paths whose bytes differ from last time, new ones among them: these were parsed.
        public var changed: [String]
        /// The paths of last time that the reading does not hold, sorted.
        public var gone: [String]
    }

    private var entries: [String: Entry] = [:]

    public init() {}

    /// Brings the cache up to `reading`, calling `parse` for each file that is new or has other bytes than last time.
    public mutating func update(with reading: Reading, parse: (ManifestFile) -> Parsed) -> Update {
        var next: [String: Entry] = [:]
        var update = Update(items: [], changed: [], gone: [])
        for file in reading.files {
            var entry = entries[file.path]
            if entry?.file != file {
                entry = Entry(file: file, parsed: parse(file))
                update.changed.append(file.path)
            }
            if let entry {
                update.items.append(Item(path: file.path, parsed: entry.parsed))
                next[file.path] = entry
            }
        }
        update.gone = entries.keys.filter { next[$0] == nil }.sorted()
        entries = next
        return update
    }
}
