internal import ArgumentParser
internal import Glibc
internal import VZKernel
internal import VZManifest

/// How a list is printed.
enum ListFormat: String, CaseIterable, ExpressibleByArgument {
    case table, json, yaml, name
}

/// How anything else is printed that other programs may want.
enum TextFormat: String, CaseIterable, ExpressibleByArgument {
    case text, json, yaml
}

/// Documents from and to files.
enum DocumentFile {
    /// All bytes of a file that somebody named.
    static func read(_ path: String) throws -> [UInt8] {
        try Descriptor.open(path, O_RDONLY | O_NOCTTY).readAll(limit: JSONDocument.sizeLimit, named: path)
    }
}
