import Testing
import VZManifest
import VZModel

@Suite struct ManifestSetTests {
    @Test func validDocumentsByName() {
        let (valid, diagnostics) = ManifestSet.check([
            parse(document("web", "ctid: 101") + "---\n" + document("db", "ctid: 102"), file: "b"),
            parse(document("app"), file: "a"),
        ])
        #expect(valid.map(\.spec.name) == ["app", "db", "web"])
        #expect(diagnostics.isEmpty)
    }

    @Test func aNameTwiceMakesBothInvalid() {
        let (valid, diagnostics) = ManifestSet.check([
            parse(document("web", "ctid: 101"), file: "b"), parse(document("ok"), file: "c"), parse(document("web"), file: "a"),
        ])
        #expect(valid.map(\.spec.name) == ["ok"])
        #expect(
            diagnostics.map(\.description) == [
                "a:3:18: metadata.name: the name web is also given at b:3:18; expected it once on the node",
                "b:3:18: metadata.name: the name web is also given at a:3:18; expected it once on the node",
            ])
    }

    @Test func aCTIDTwiceMakesAllInvalid() {
        let parsed =
            ["x", "y", "z"].map { parse(document($0, "ctid: 200"), file: $0) } + [parse(document("w", "ctid: 201"), file: "w")]
        let (valid, diagnostics) = ManifestSet.check(parsed)
        #expect(valid.map(\.spec.name) == ["w"])
        #expect(
            diagnostics.map(\.description) == [
                "x:4:14: spec.ctid: the CTID 200 is also given at y:4:14; expected it once on the node",
                "y:4:14: spec.ctid: the CTID 200 is also given at x:4:14; expected it once on the node",
                "z:4:14: spec.ctid: the CTID 200 is also given at x:4:14; expected it once on the node",
            ])
    }

    @Test func aClashInOneFile() {
        let (valid, diagnostics) = ManifestSet.check([
            parse(document("a", "ctid: 101") + "---\n" + document("a", "ctid: 101"), file: "f")
        ])
        #expect(valid.isEmpty)
        #expect(diagnostics.count == 4)
    }

    @Test func documentsWithoutACTIDDoNotClash() {
        #expect(ManifestSet.check([parse(document("a")), parse(document("b"))]).valid.count == 2)
    }

    @Test func aNameThatADocumentWithMistakesHasTooIsInvalid() {
        let (valid, diagnostics) = ManifestSet.check([parse(document("a"), file: "x"), parse(document("a", "ram: 0"), file: "y")])
        #expect(valid.isEmpty)
        #expect(diagnostics.map(\.location.description) == ["x:3:18", "y:4:13"])
    }

    @Test func mistakesOfAllFilesByPlace() {
        let (_, diagnostics) = ManifestSet.check([parse(document("b", "ram: 0, a: b"), file: "z"), parse("", file: "a")])
        #expect(diagnostics.map(\.location.description) == ["a:1:1", "z:4:13", "z:4:16"])
    }
}

@Suite struct ManifestFileNameTests {
    @Test(arguments: ["web.yaml", "web.yml", "web.json", "a.b.yaml", "10-web.yaml", "web.bak.yaml", "ä.yaml", " .yaml"])
    func isAManifest(name: String) { #expect(ManifestFileName.isManifest(name)) }

    @Test func directoriesOfDropIns() {
        #expect(ManifestFileName.dropIns(of: "web.yaml") == "web.yaml.d")
        #expect(ManifestFileName.manifest(ofDropIns: "web.yaml.d") == "web.yaml")
        for name in ["web.d", "web.yaml", ".web.yaml.d", ".d", "yaml.d", "web.yaml.d~"] {
            #expect(ManifestFileName.manifest(ofDropIns: name) == nil)
        }
    }

    @Test(arguments: [
        "", ".", "..", "web", "web.txt", "web.YAML", ".yaml", ".web.yaml", "web.yaml~", "web.yaml.bak", ".web.yaml.swp",
        "web.yaml.swp",
        ".#web.yaml", "#web.yaml#", "#web.yaml", "web.yaml.dpkg-old", "web.dpkg-new.yaml", "web.yaml.rpmsave", "web.yaml.rpmnew",
        "a/web.yaml",
        "web.yaml.d", "web\0.yaml",
    ])
    func isNone(name: String) { #expect(!ManifestFileName.isManifest(name)) }
}
