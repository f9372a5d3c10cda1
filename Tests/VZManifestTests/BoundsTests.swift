import Testing
import VZManifest

/// Input made to cost much. The time limits are generous to a busy machine; each of these takes milliseconds.
@Suite(.serialized) struct BoundsTests {
    /// Parses, and expects that it was not made to work for long.
    private func parseQuickly(_ text: String, sourceLocation: Testing.SourceLocation = #_sourceLocation) -> ParsedManifest {
        parseQuickly(Array(text.utf8), sourceLocation: sourceLocation)
    }

    private func parseQuickly(_ bytes: [UInt8], sourceLocation: Testing.SourceLocation = #_sourceLocation) -> ParsedManifest {
        let start = ContinuousClock.now
        let parsed = ManifestParser.parse(bytes, file: "f")
        #expect(ContinuousClock.now - start < .seconds(5), sourceLocation: sourceLocation)
        return parsed
    }

    private func times(_ count: Int, _ text: String) -> String { String(repeating: text, count: count) }

    @Test func emptyFile() {
        let parsed = parseQuickly("")
        #expect(parsed.diagnostics.map(\.description) == ["f:1:1: expected a document with kind: Container, got an empty file"])
    }

    @Test func aFileOfOneMebibyteIsReadAndOneByteMoreIsNot() {
        let document = document("web")
        let full = document + times((1 << 20) - document.utf8.count, "#")
        #expect(parseQuickly(full).documents.count == 1)
        let over = parseQuickly(full + "#")
        #expect(over.documents.isEmpty)
        #expect(over.diagnostics.map(\.description) == ["f:1:1: expected a file of at most 1 MiB (1048576 bytes), got more"])
        #expect(parseQuickly(times(2 << 20, "a")).diagnostics.count == 1)
    }

    @Test(arguments: ["[", "{", "{a: ", "- ", "? ", "[[]", "&a [", "!!seq [", "[{", "- ? "])
    func deepNesting(opening: String) {
        let parsed = parseQuickly(times(100_000, opening))
        #expect(parsed.documents.isEmpty)
        #expect(parsed.diagnostics.count == 1)
    }

    @Test func deepNestingByIndenting() {
        let deep = (0..<1400).map { times($0, " ") + "a:\n" }.joined()
        let message = parseQuickly(deep).diagnostics.first?.message
        #expect(message == "expected nesting of at most 64 levels")
    }

    @Test func aliasBomb() {
        var text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        for level in 1..<30 { text += "a\(level): &a\(level) [" + times(10, "*a\(level - 1), ") + "]\n" }
        let parsed = parseQuickly(text)
        #expect(parsed.documents.isEmpty)
        #expect(parsed.diagnostics.map(\.message) == ["expected at most 10000 alias expansions in a file"])
    }

    @Test func aliasesThatDoubleALongText() {
        // Few aliases, but each stands for a lot.
        let arguments = "init: [/bin/a, &a \(times(100_000, "x")), " + times(5000, "*a, ") + "]"
        let parsed = parseQuickly(document("web", arguments))
        #expect(parsed.documents.isEmpty)
        #expect(parsed.diagnostics.map(\.message) == ["expected at most 2097152 bytes of text behind aliases in a file"])
    }

    @Test func aliasExpansionsCountOverTheWholeFile() {
        let document = document("web", "env: {A: &a x, " + (0..<999).map { "B\($0): *a" }.joined(separator: ", ") + "}")
        #expect(parseQuickly(times(10, document + "---\n")).documents.count == 10)
        let over = parseQuickly(times(11, document + "---\n"))
        #expect(over.documents.isEmpty)
        #expect(over.rejectedNames == ["web"])
    }

    @Test func documents() {
        func file(_ count: Int) -> String { (0..<count).map { document("n\($0)-x") }.joined(separator: "---\n") }
        #expect(parseQuickly(file(1000)).documents.count == 1000)
        let over = parseQuickly(file(1001))
        #expect(over.documents.isEmpty)
        #expect(over.rejectedNames.count == 1000)
        #expect(over.diagnostics.map(\.message) == ["expected at most 1000 documents in a file"])
        #expect(parseQuickly(times(250_000, "---\n")).diagnostics.count == 1)
        #expect(parseQuickly(times(250_000, "...\n")).diagnostics.count == 1)
    }

    @Test func nodes() {
        let parsed = parseQuickly(document("web", "init: [" + times(300_000, "a,") + "]"))
        #expect(parsed.diagnostics.map(\.message) == ["expected at most 200000 nodes in a file"])
    }

    @Test func mistakesAreNotToldWithoutEnd() {
        let parsed = parseQuickly(
            document("web", (0..<60_000).map { "cpuu\($0): x" }.joined(separator: ", ")) + "---\n" + document("db", "a: b"))
        #expect(parsed.diagnostics.count == 1001)
        #expect(parsed.diagnostics.last?.message == "there are more mistakes than these; mend them first")
        #expect(parsed.rejectedNames == ["web", "db"])
    }

    @Test(arguments: [
        "a: 'x", "\"", "a: |\n", "%", "&", "*", "!", "a:\n", "- a\n", "a: b: ", "? a\n", ", ", "{}", "[],", "\t", "\r", "\\", "#\n",
        "--- ", "é",
        "\u{2028}", "\0",
    ])
    func aMebibyteOfTheSame(text: String) {
        #expect(parseQuickly(times((1 << 20) / text.utf8.count, text)).documents.isEmpty)
    }

    @Test func noText() {
        var random = Pseudorandom(state: 1)
        let parsed = parseQuickly((0..<(1 << 20)).map { _ in UInt8.random(in: 0...255, using: &random) })
        #expect(!parsed.diagnostics.isEmpty && parsed.documents.isEmpty)
        #expect(
            parseQuickly([0xFF, 0xFE, 0x61, 0, 0x3A, 0]).diagnostics.map(\.description) == [
                "f:1:1: expected text in UTF-8, got UTF-16 or something that is no text"
            ])
    }

    @Test func aByteOrderMarkIsPassedOver() {
        let parsed = parseQuickly("\u{FEFF}" + document("web"))
        #expect(parsed.documents.map(\.location) == [SourceLocation(file: "f", line: 1, column: 1)])
        #expect(!parseQuickly("\u{FEFF}").diagnostics.isEmpty)
    }
}
