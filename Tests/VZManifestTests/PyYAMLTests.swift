import Glibc
import Testing
import VZModel

@testable import VZManifest

/// The same files before other programs: python3-yaml, which reads YAML, and python3-jsonschema, which reads our schemas.
@Suite struct PyYAMLTests {
    static let isThere = system("python3 -c 'import yaml, jsonschema' 2>/dev/null") == 0

    /// The lines that the script answers.
    private func ask(_ arguments: [String]) throws -> [String] {
        let quoted = (["python3", "-W", "ignore", Repository.tests + "/pyyaml.py"] + arguments).map { "'\($0)'" }
        let pipe = try #require(popen(quoted.joined(separator: " "), "r"))
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while case let count = fread(&chunk, 1, chunk.count, pipe), count > 0 { bytes += chunk[0..<count] }
        try #require(pclose(pipe) == 0)
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(
            String.init)
    }

    /// Which documents of a fixture have mistakes that no schema can tell: `#= beyond the schema NAME, …: why`. A document without a
    /// name goes by its number: `#3`.
    private func beyond(_ bytes: [UInt8]) -> Set<String> {
        let lines = bytes.split(separator: 10).map { String(decoding: $0, as: UTF8.self) }
        let lists = lines.filter { $0.hasPrefix("#= beyond the schema ") }.map { $0.dropFirst(21).prefix { $0 != ":" } }
        return Set(lists.flatMap { $0.split(separator: ", ").map(String.init) })
    }

    /// A document that the parser accepts the schema accepts; one that it refuses the schema refuses, but for those that are listed.
    @Test(.enabled(if: isThere, "needs python3-yaml and python3-jsonschema"))
    func theSchemasGiveTheSameVerdict() throws {
        let examples =
            Repository.files(in: Repository.root + "/examples") + Repository.files(in: Repository.root + "/examples/profiles")
        let paths = Fixture.all.map(\.path) + examples.filter { $0.hasSuffix(".yaml") }
        let answers = try ask(["schemas", Repository.root + "/schemas"] + paths)
        try #require(answers.count == paths.count)
        for (path, answer) in zip(paths, answers) {
            let bytes = try Repository.bytes(path)
            let declarations = ManifestParser.parse(bytes, file: path).declarations
            var beyond = beyond(bytes)
            let verdicts = answer.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: false).last ?? ""
            for (index, (declaration, verdict)) in zip(declarations, verdicts).enumerated() {
                if verdict == "!" { break }
                let errors = declaration.alone.diagnostics.contains { $0.severity == .error }
                let name = declaration.name.isEmpty ? "#\(index + 1)" : declaration.name
                let isListed = beyond.remove(name) != nil
                let isValid = !declaration.isFaulty && !errors
                #expect((verdict == "v") == (isValid || isListed), "\(path): \(name)")
                #expect(!isValid || !isListed, "\(path): \(name) is valid, and listed as beyond the schema")
            }
            #expect(beyond.isEmpty, "\(path): listed, but not there")
        }
    }

    // MARK: The same structure

    /// A node as the script shows it.
    private func shown(_ node: YAMLNode) -> String {
        switch node.content {
        case .sequence(let items): return "[" + items.map(shown).joined(separator: ",") + "]"
        case .mapping(let pairs): return "{" + pairs.map { "\(shown($0.key)):\(shown($0.value))" }.joined(separator: ",") + "}"
        case .scalar(let text, let plain):
            switch CoreScalar(text, plain: plain, tag: node.tag) {
            case .null: return "~"
            case .bool(let bool): return bool ? "t" : "f"
            case .integer(let number): return "i\(number)"
            case .float: return "d"
            case .leadingZero:
                let digits = CoreScalar.decimal(text.utf8.filter(TextRule.isDigit))
                return "i\(text.hasPrefix("-") ? -digits : digits)"
            case .string(let text): return "s" + hex(text.utf8)
            case .badTag: return "?"
            }
        }
    }

    private func hex(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    /// All documents of a text, or `nil` when it has a fault.
    private func structure(_ bytes: [UInt8]) -> String? {
        let text = SourceText(bytes)
        var composer = YAMLComposer()
        var all: [String] = []
        for piece in text.pieces {
            if piece.fault != nil { return nil }
            let documents = bytes.withUnsafeBufferPointer {
                composer.documents(in: UnsafeBufferPointer(rebasing: $0[piece.bytes]), firstLine: 1)
            }
            for document in documents {
                guard document.fault == nil, let root = document.root else { return nil }
                all.append(shown(root))
            }
        }
        return all.joined(separator: "|")
    }

    private func randomText(_ random: inout Pseudorandom) -> [UInt8] {
        let tokens = [
            "a", "b: ", "c:\n", "- ", "\n", "\n  ", "\n    ", "[", "]", "{", "}", ", ", "\"x\"", "'y'", "|\n  t\n",
            ">-\n  t\n  u\n", "&a ", "*a",
            "? ", " # c\n", "---\n", "...\n", "5", "-5", "0x1F", "0o17", "017", "1.5", ".5e3", ".inf", ".nan", "~", "null", "true",
            "False",
            "yes", "no", "12:30:45", "1_000", "2001-01-01", "<<", "é", "\\", ":", "a:b", "99999999999999999999", "+7",
            "key: value\n",
            "list:\n- 1\n- two\n", "env: {A: b, C: \"d\"}\n",
        ]
        let text = (0..<Int.random(in: 1...14, using: &random)).map { _ in tokens.randomElement(using: &random) ?? "" }.joined()
        return Array(text.utf8)
    }

    @Test(.enabled(if: isThere, "needs python3-yaml and python3-jsonschema"))
    func whatBothReadIsTheSame() throws {
        var random = Pseudorandom(state: 5)
        var texts = try
            (Fixture.all.map(\.path) + Repository.files(in: Repository.root + "/examples").filter { $0.hasSuffix(".yaml") })
            .map { try Repository.bytes($0) }
        for _ in 0..<8000 { texts.append(randomText(&random)) }
        var template = Array("/tmp/vz-pyyaml-XXXXXX".utf8.map(CChar.init(bitPattern:))) + [0]
        let descriptor = mkstemp(&template)
        let path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        defer { unlink(path) }
        let file = try #require(fdopen(descriptor, "w"))
        fputs(texts.map { hex($0) + "\n" }.joined(), file)
        fclose(file)

        let answers = try ask(["structure", path])
        try #require(answers.count == texts.count)
        var compared = 0
        for (text, answer) in zip(texts, answers) where answer != "!" && !text.contains(UInt8(ascii: "!")) {
            guard let ours = structure(text) else { continue }
            compared += 1
            #expect(ours == answer, "\(String(decoding: text, as: UTF8.self).debugDescription)")
        }
        #expect(compared > 500)
    }
}
