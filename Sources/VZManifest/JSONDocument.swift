internal import FoundationEssentials

/// Documents that vz writes for other programs and for itself: JSON with a version, or the same as YAML.
///
/// A document has the member `format_version`, `MAJOR.MINOR`. Within one MAJOR members are added, and none is removed or given another
/// meaning; a reader ignores members that it does not know, and refuses another MAJOR.
public enum JSONDocument {
    /// The largest document that is read, in bytes.
    public static let sizeLimit = 64 << 20

    /// Why a document is not one: `FILE:LINE:COLUMN: expected …`, or `FILE: MEMBER: …`.
    public struct Fault: Error, Equatable, Sendable, CustomStringConvertible {
        public var description: String

        public init(description: String) { self.description = description }
    }

    /// The document as JSON, members in the order of their names, with a line break at the end.
    public static func json(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return try JSONReader.read(Array(encoder.encode(value))).pretty() + "\n"
    }

    /// The same in YAML, with the same members.
    public static func yaml(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return YAMLText.block(try JSONReader.read(Array(encoder.encode(value)))).joined(separator: "\n") + "\n"
    }

    /// Reads a document.
    /// - Parameters:
    ///   - path: where it comes from, for messages.
    ///   - what: what it should be, for messages: `a plan`.
    ///   - version: a version of the form that can be read; only its MAJOR counts.
    public static func read<T: Decodable>(
        _ type: T.Type, from bytes: [UInt8], path: String, what: String, version: String
    ) throws(Fault) -> T {
        let tree: JSON
        do throws(JSONReader.Fault) {
            tree = try JSONReader.read(bytes)
        } catch {
            let place = JSONReader.place(of: error.offset, in: bytes)
            throw Fault(description: "\(path):\(place.line):\(place.column): \(error.message): this is not \(what)")
        }
        guard case .object(let members) = tree, case .string(let found)? = members.first(where: { $0.0 == "format_version" })?.1
        else { throw Fault(description: "\(path): format_version: expected \"\(version)\", got none: this is not \(what)") }
        guard major(found) != nil, major(found) == major(version) else {
            throw Fault(
                description: "\(path): format_version: expected \"\(version)\", got \(Quoting.shown(found)): "
                    + "use the version of vz that wrote it, or write it anew")
        }
        do {
            return try JSONDecoder().decode(type, from: Data(bytes))
        } catch {
            throw Fault(description: "\(path): \(text(of: error)): this is not \(what)")
        }
    }

    /// The part before the point, of digits alone.
    private static func major(_ version: String) -> Int? {
        let parts = version.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, parts.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy(TextRule.isDigit) }) else { return nil }
        return Int(parts[0])
    }

    private static func text(of error: any Error) -> String {
        func place(_ path: [any CodingKey], _ key: (any CodingKey)? = nil) -> String {
            var text = ""
            for key in path + (key.map { [$0] } ?? []) {
                text += key.intValue.map { "[\($0)]" } ?? (text.isEmpty ? "" : ".") + Quoting.visible(key.stringValue)
            }
            return text
        }
        switch error {
        case DecodingError.keyNotFound(let key, let context): return "\(place(context.codingPath, key)): expected a value, got none"
        case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context),
            DecodingError.dataCorrupted(let context):
            // That it is JSON is known; what the decoder then calls none, without a place, is a number that does not fit its type.
            if context.codingPath.isEmpty { return "a number in it is out of range" }
            return "\(place(context.codingPath)): \(Quoting.visible(context.debugDescription))"
        default: return Quoting.visible("\(error)")
        }
    }
}
