import Testing
import VZManifest
import VZModel

/// A real input file that says in comments of its own what is expected of it:
/// `#= valid NAME, …`, `#= rejected NAME, …` and one `#= error LINE:COLUMN: …` for each mistake, in order.
struct Fixture: CustomTestStringConvertible {
    let path: String
    var testDescription: String { String(path.split(separator: "/").last ?? "") }

    static let all = Repository.files(in: Repository.tests + "/Fixtures").map { Fixture(path: $0) }

    func expected(_ kind: String, in bytes: [UInt8]) -> [String] {
        let lines = bytes.split(separator: 10).map { String(decoding: $0, as: UTF8.self) }
        return lines.filter { $0.hasPrefix("#= \(kind)") }.map { String($0.dropFirst(kind.count + 4)) }
    }

    func expectedNames(_ kind: String, in bytes: [UInt8]) -> [String] {
        expected(kind, in: bytes).flatMap { $0.split(separator: ", ").map(String.init) }
    }
}

@Suite struct FixtureTests {
    @Test func thereAreFixtures() { #expect(Fixture.all.count >= 34) }

    @Test(arguments: Fixture.all)
    func saysWhatItsCommentsExpect(fixture: Fixture) throws {
        let bytes = try Repository.bytes(fixture.path)
        let parsed = ManifestParser.parse(bytes, file: "f")
        #expect(parsed.diagnostics.map { String($0.description.dropFirst(2)) } == fixture.expected("error", in: bytes))
        #expect(parsed.documents.map(\.spec.name) == fixture.expectedNames("valid", in: bytes))
        #expect(parsed.rejectedNames == fixture.expectedNames("rejected", in: bytes))
    }

    @Test(arguments: Fixture.all)
    func everyMistakeHasAPlaceInTheFile(fixture: Fixture) throws {
        let bytes = try Repository.bytes(fixture.path)
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
        for diagnostic in ManifestParser.parse(bytes, file: fixture.path).diagnostics {
            #expect(diagnostic.location.file == fixture.path)
            #expect((1...lines.count).contains(diagnostic.location.line))
            #expect((1...200).contains(diagnostic.location.column))
        }
    }
}
