internal import VZModel

/// How a record lies in its file: one line that says what follows, then the content.
///
///     vz-record 1 9f86d081884c7d65 27
///     {"ctid":101,"name":"web"}
///
/// Version, checksum (FNV-1a, 64 bits, against accidents and not against attackers) and length of the content in bytes. The
/// checksum covers version, record name and content, so that one record's file is not taken for another's.
enum Record {
    static let version = 1

    enum Fault: Error, Equatable {
        case corrupt(String)
        case version(Int)
    }

    static func encode(_ content: [UInt8], name: String, version: Int = version) -> [UInt8] {
        Array(header(of: content[...], name: name, version: version).utf8) + content
    }

    /// The content, if every byte is as it was written.
    static func decode(_ bytes: [UInt8], name: String) throws(Fault) -> [UInt8] {
        guard let end = bytes.firstIndex(of: UInt8(ascii: "\n")) else { throw .corrupt("it has no first line") }
        let content = bytes[(end + 1)...]
        let words = String(decoding: bytes[..<end], as: UTF8.self).split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 4, words[0] == "vz-record", let found = Int(words[1]) else {
            throw .corrupt("its first line is none of a record's")
        }
        // The whole line is compared, so that there is one spelling of it. A version that is not ours is believed when it was
        // written as such, and is corruption otherwise.
        guard header(of: content, name: name, version: found).utf8.elementsEqual(bytes[...end]) else {
            throw .corrupt("its checksum or length differs from its content's")
        }
        guard found == version else { throw .version(found) }
        return Array(content)
    }

    private static func header(of content: ArraySlice<UInt8>, name: String, version: Int) -> String {
        var digest = Digest()
        digest.add("\(version)\n\(name)\n".utf8)
        digest.add(content)
        return "vz-record \(version) \(digest.text) \(content.count)\n"
    }
}
