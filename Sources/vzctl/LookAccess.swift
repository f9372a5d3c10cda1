internal import ArgumentParser
internal import FoundationEssentials
internal import Glibc
internal import VZIsolation
internal import VZKernel
internal import VZModel
internal import VZReconciler

/// How the result of a verb that looks is written.
enum OutputForm: String, ExpressibleByArgument, CaseIterable {
    case text, json
}

/// What verbs begin with that only read what vzd wrote down: root, or a member of group vz, may.
struct LookAccess {
    let paths = NodePaths(environment: Node.environment)
    var status: StatusReader { StatusReader(paths.status) }

    /// The status of the container of that name or CTID.
    /// - Throws: `Failure` when there is none, or the caller may not look.
    func find(_ name: String) throws -> ContainerStatus {
        guard let found = try reading(paths.status, { try status.find(name) }) else { throw unknown(name) }
        return found
    }

    func unknown(_ name: String) -> Failure {
        Failure(
            "no container \"\(name)\": vzd has written no status of it in \(paths.status); is there a manifest, and does vzd run?",
            .unknownContainer)
    }

    /// Runs a look, and says what to do when the caller may not.
    func reading<T>(_ path: String, _ look: () throws -> T) throws -> T {
        do {
            return try look()
        } catch let error as KernelError {
            guard error.errno == EACCES || error.errno == EPERM else { throw error }
            let group = Node.environment["VZ_GROUP"] ?? "vz"
            throw Failure(
                "read \(path): permission denied: be root, or a member of group \(group) (groupadd --system \(group), once, before vzd starts)",
                .notRoot)
        }
    }
}

/// A list as JSON: `format_version`, then the items under a name.
func jsonList<T: Encodable>(_ items: [T], as name: String) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(NamedList(name: name, items: items)), as: UTF8.self)
}

private struct NamedList<T: Encodable>: Encodable {
    var name: String
    var items: [T]

    struct Key: CodingKey {
        var stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        try container.encode(1, forKey: Key(stringValue: "format_version"))
        try container.encode(items, forKey: Key(stringValue: name))
    }
}
