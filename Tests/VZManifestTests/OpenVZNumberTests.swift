import Testing
import VZModel

@testable import VZManifest

@Suite struct OpenVZNumberTests {
    /// `openvz.md` 6.3.
    @Test(
        arguments: [
            ("240", .plain, 240, 240), ("240:241", .plain, 240, 241), (" 240", .plain, 240, 240), ("010", .plain, 10, 10),
            ("unlimited", .plain, .max, .max), ("0:unlimited", .pages, 0, .max), ("14.7K", .bytes, 15052, 15052),
            (".5K", .bytes, 512, 512), ("1.K", .bytes, 1024, 1024), ("14M:15m", .bytes, 14_680_064, 15_728_640),
            ("2.2G", .kibibytes, 2_306_867, 2_306_867), ("1023B", .kibibytes, 0, 0), ("512K:600K", .kibibytes, 512, 600),
            ("1.5T", .kibibytes, 1_610_612_736, 1_610_612_736), ("200K", .scaled, 204_800, 204_800),
            ("0.5M", .scaled, 524_288, 524_288),
            ("8M", .pages, 2048, 2048), ("0:4097B", .pages, 0, 1), ("0:100P", .pages, 0, 100), ("1P", .bytes, 4096, 4096),
            ("9223372036854775807", .bytes, .max, .max), ("9223372036854775808", .bytes, .max, .max),
            ("18446744073709551615", .plain, .max, .max),
        ] as [(String, ConfNumber.Syntax, Int64, Int64)])
    func reads(text: String, syntax: ConfNumber.Syntax, barrier: Int64, limit: Int64) throws {
        let read = try ConfNumber.bounds(text, syntax)
        #expect(read.bounds == BarrierLimit(barrier: barrier, limit: limit))
        #expect(read.isTruncated == (text == "9223372036854775808" || text == "18446744073709551615"))
    }

    @Test(
        arguments: [
            ("1K", .plain), ("0x10", .plain), ("'240'", .plain), ("240:300:1", .plain), ("1.5", .bytes), ("1.2.3K", .bytes),
            ("1KB", .bytes), ("K", .bytes), (".", .bytes), (".K", .bytes), ("+5", .plain), ("5 ", .plain), ("١", .plain),
            ("unlimited", .kibibytes), ("Unlimited", .bytes), ("18446744073709551616", .plain), ("16777216T", .bytes),
            // OpenVZ reads these, as what nobody means.
            ("-5", .plain), ("", .plain), ("240:", .plain), (":240", .plain), (":", .plain), ("0:-1", .pages),
        ] as [(String, ConfNumber.Syntax)])
    func refuses(text: String, syntax: ConfNumber.Syntax) {
        #expect(throws: ConfProblem.self) { try ConfNumber.bounds(text, syntax) }
    }
}

@Suite struct OpenVZLexerTests {
    private func lex(_ text: String) -> ConfLexer { ConfLexer(Array(text.utf8), file: "f") }

    /// `openvz.md` 6.2.
    @Test(arguments: [
        ("A=\"1\"", "A", "1"), ("A=1", "A", "1"), ("  \tA=\"1\"", "A", "1"), ("A=\"1\" # two", "A", "1"), ("A=\"1\"x", "A", "1"),
        ("A=1 # two", "A", "1"), ("A=1#2", "A", "1#2"), ("A='1'", "A", "'1'"), ("A = \"1\"", "A ", " \"1\""), ("a=\"1\"", "a", "1"),
        ("export A=\"1\"", "export A", "1"), ("A=", "A", ""), ("A=\"\"", "A", ""), ("A=\"a b\"\r", "A", "a b"),
        ("A=a b \r", "A", "a b"),
        ("=1", "", "1"),
    ])
    func reads(line: String, key: String, value: String) {
        let lexer = lex(line)
        #expect(lexer.mistakes.isEmpty)
        #expect(lexer.assignments.map(\.key) == [key])
        #expect(lexer.assignments.map(\.value) == [value])
    }

    @Test(arguments: ["", "# A=1", "   ", "\r", "\n\n"])
    func passesOver(line: String) {
        #expect(lex(line).assignments.isEmpty)
        #expect(lex(line).mistakes.isEmpty)
    }

    @Test(arguments: ["A", "A=\"1", "A=\u{0}", "A=\u{1B}[31m"])
    func tellsOf(line: String) {
        #expect(lex(line).assignments.isEmpty)
        #expect(lex(line).mistakes.count == 1)
    }

    @Test func tellsWhatIsNoText() {
        let lexer = ConfLexer([65, 61, 0xFF, 10, 66, 61, 49], file: "f")
        #expect(lexer.mistakes.map(\.description) == ["f:1:1: expected text in UTF-8, got other bytes; the line is not read"])
        #expect(lexer.assignments.map(\.key) == ["B"])
        #expect(lexer.assignments.map(\.location.line) == [2])
    }

    @Test func hasBounds() {
        #expect(ConfLexer([UInt8](repeating: 10, count: InputBounds.bytes + 1), file: "f").mistakes.count == 1)
        #expect(lex(String(repeating: "x\n", count: 500_000)).mistakes.count == InputBounds.mistakes + 1)
    }
}
