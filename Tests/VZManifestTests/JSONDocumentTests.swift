import Testing

@testable import VZManifest

@Suite struct JSONReaderTests {
    private func read(_ text: String) throws(JSONReader.Fault) -> String { try JSONReader.read(Array(text.utf8)).pretty() }

    @Test(arguments: [
        ("null", "null"), (" [ ] ", "[]"), ("{}", "{}"), ("[1,-2, 0,\t1.5e-3]", "[1, -2, 0, 1.5e-3]"),
        ("99999999999999999999", "99999999999999999999"), ("[true,\r\nfalse]", "[true, false]"),
        (#""a\"\\\/\b\f\n\r\t\u00e4\ud83d\ude00ö""#, #""a\"\\/\u0008\u000c\u000a\u000d\u0009ä😀ö""#),
        (#"{"b":1,"a":{"":[]}}"#, "{\n  \"b\": 1,\n  \"a\": {\n    \"\": []\n  }\n}"),
    ])
    func whatIsJSON(_ text: String, _ expected: String) throws {
        #expect(try read(text) == expected)
    }

    @Test(arguments: [
        ("", 0, "a value, got the end"), ("nul", 0, "a value, got \"n\""), ("[1,]", 3, "a value, got \"]\""),
        ("{\"a\" 1}", 5, "\":\", got \"1\""), ("{a:1}", 1, "a name in quotation marks, got \"a\""),
        ("{\"a\":1", 6, "\",\" or \"}\", got the end"),
        ("[1 2]", 3, "\",\" or \"]\", got \"2\""), ("01", 1, "the end, got \"1\""), ("-", 1, "a digit, got the end"),
        ("1.", 2, "a digit"),
        ("1e+", 3, "a digit"), ("\"a", 2, "a quotation mark, got the end"), ("\"\u{1}\"", 1, "no control character"),
        ("\"\\", 1, "one of"),
        ("\"\\x\"", 1, "one of"), ("\"\\u12\"", 1, "four hexadecimal digits"), ("\"\\u+123\"", 1, "four hexadecimal digits"),
        ("\"\\ud800\"", 1, "an escape that is a character"), ("\"\\ud800\\u0041\"", 1, "an escape that is a character"),
        ("{\"a\":1,\"a\":2}", 7, "each name once, got \"a\" again"), ("1 ü", 2, "the end, got \"ü\""), ("garbage", 0, "a value"),
        (String(repeating: "[", count: 100), 64, "no more than 64"),
    ])
    func whatIsNot(_ text: String, _ offset: Int, _ message: String) {
        let fault = #expect(throws: JSONReader.Fault.self) { try read(text) }
        #expect(fault?.offset == offset)
        #expect(fault?.message.hasPrefix("expected \(message)") == true, "\(fault?.message ?? "")")
    }

    @Test func bytesThatAreNoText() {
        #expect(throws: JSONReader.Fault(message: "expected UTF-8 in this string", offset: 1)) {
            try JSONReader.read([UInt8(ascii: "["), UInt8(ascii: "\""), 0xFF, UInt8(ascii: "\"")])
        }
        #expect(throws: JSONReader.Fault.self) { try JSONReader.read([0xFF]) }
        #expect(throws: JSONReader.Fault.self) { try JSONReader.read([0xC3]) }
    }

    /// Cut anywhere it is an error and never a crash or half a value.
    @Test func cutAnywhere() throws {
        let whole = Array(#"{"a":[1,-2.5e3,"x\u00e4\n"],"b":{"c":null,"d":true}}"#.utf8)
        #expect(throws: Never.self) { try JSONReader.read(whole) }
        for length in whole.indices {
            #expect(throws: JSONReader.Fault.self) { try JSONReader.read(Array(whole[..<length])) }
        }
    }

    @Test func placesCountLinesAndCharacters() {
        let bytes = Array("{\n  \"ä\": x".utf8)
        #expect(JSONReader.place(of: 0, in: bytes) == (1, 1))
        #expect(JSONReader.place(of: bytes.count - 1, in: bytes) == (2, 8))
    }
}

@Suite struct JSONDocumentTests {
    struct Thing: Codable, Equatable {
        var formatVersion = "1.0"
        var items: [Item]
        var note: String?

        enum CodingKeys: String, CodingKey {
            case formatVersion = "format_version"
            case items, note
        }
    }
    struct Item: Codable, Equatable { var ctid: Int }

    private func fault(_ text: String) -> String? {
        do {
            _ = try read(text)
            return nil
        } catch {
            return error.description
        }
    }

    private func read(_ text: String) throws(JSONDocument.Fault) -> Thing {
        try JSONDocument.read(Thing.self, from: Array(text.utf8), path: "file", what: "a thing", version: "1.0")
    }

    @Test func whatIsWrittenIsRead() throws {
        let thing = Thing(items: [Item(ctid: 101), Item(ctid: 102)], note: "a/b \"c\"\n")
        let text = try JSONDocument.json(thing)
        #expect(text.hasPrefix("{\n  \"format_version\": \"1.0\",\n  \"items\": [\n    {\n      \"ctid\": 101\n    },"))
        #expect(try read(text) == thing)
        #expect(
            try JSONDocument.yaml(thing) == """
                format_version: "1.0"
                items:
                  - ctid: 101
                  - ctid: 102
                note: "a/b \\"c\\"\\n"

                """)
        #expect(try JSONDocument.yaml(Thing(items: [])) == "format_version: \"1.0\"\nitems: []\n")
    }

    @Test func aLaterMinorVersionIsReadAndWhatItAddsIgnored() throws {
        #expect(try read(#"{"format_version":"1.7","later":[1],"items":[{"ctid":5,"more":{}}]}"#).items == [Item(ctid: 5)])
    }

    @Test(arguments: [
        ("", "file:1:1: expected a value, got the end: this is not a thing"),
        ("{\n \"a\": ?", "file:2:7: expected a value, got \"?\": this is not a thing"),
        ("[]", "file: format_version: expected \"1.0\", got none: this is not a thing"),
        (#"{"format_version":1}"#, "file: format_version: expected \"1.0\", got none: this is not a thing"),
        (#"{"format_version":"1.0"}"#, "file: items: expected a value, got none: this is not a thing"),
        (
            #"{"format_version":"1.0","items":[{"ctid":1},{"ctid":"x"}]}"#,
            "file: items[1].ctid: Expected to decode Int but found a string instead.: this is not a thing"
        ),
    ])
    func garbageIsRefusedWithItsPlace(_ text: String, _ expected: String) {
        #expect(fault(text) == expected)
    }

    @Test(arguments: ["2.0", "0.9", "1", "1.", ".0", "1.0.0", "+1.0", "one", "", "99999999999999999999.0"])
    func anotherMajorVersionIsRefused(_ version: String) {
        #expect(
            fault(#"{"format_version":"\#(version)","items":[]}"#)
                == "file: format_version: expected \"1.0\", got \"\(version)\": use the version of vz that wrote it, or write it anew"
        )
    }
}
