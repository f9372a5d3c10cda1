import Testing
import VZModel

@Suite struct DigestTests {
    /// The vectors of the FNV's authors.
    @Test(arguments: [
        ("", "cbf29ce484222325"), ("a", "af63dc4c8601ec8c"), ("foobar", "85944171f73967e8"),
        ("chongo was here!\n", "46810940eff5f915"),
    ])
    func knownDigests(_ text: String, _ expected: String) {
        var digest = Digest()
        digest.add(text.utf8)
        #expect(digest.text == expected)
    }

    @Test func partsAreKeptApart() {
        func digest(_ parts: [String]) -> String {
            var digest = Digest()
            for part in parts { digest.add(part: part) }
            return digest.text
        }
        #expect(digest(["ab", "c"]) != digest(["a", "bc"]))
        #expect(digest(["abc"]) != digest(["abc", ""]))
        #expect(digest(["", "abc"]) != digest(["abc", ""]))
    }
}
