import Glibc
import Testing
import VZManifest

/// The files of the repository that the tests read, found from where this file was when it was compiled.
enum Repository {
    static let tests = parent(of: #filePath)
    static let root = parent(of: parent(of: tests))

    static func bytes(_ path: String) throws -> [UInt8] {
        let file = try #require(fopen(path, "r"), "open \(path)")
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = fread(&chunk, 1, chunk.count, file)
            if count == 0 { return bytes }
            bytes += chunk[0..<count]
        }
    }

    /// Paths of the files directly in a directory, by name.
    static func files(in directory: String) -> [String] {
        guard let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names.sorted().map { "\(directory)/\($0)" }
    }

    private static func parent(of path: String) -> String {
        path.split(separator: "/").dropLast().reduce("") { "\($0)/\($1)" }
    }
}

func parse(_ text: String, file: String = "test.yaml") -> ParsedManifest { ManifestParser.parse(Array(text.utf8), file: file) }

/// A document of this spec, given as the inside of a flow mapping.
func document(_ name: String, _ spec: String = "") -> String {
    "apiVersion: vz/v1\nkind: Container\nmetadata: {name: \(name)}\nspec: {\(spec)}\n"
}

/// The same numbers in every run.
struct Pseudorandom: RandomNumberGenerator {
    var state: UInt64

    /// SplitMix64, after Steele, Lea and Flood (2014).
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
