import Testing
import VZManifest
import VZModel

/// What a container comes to with the defaults, its profile and its drop-ins.
@Suite struct CompositionTests {
    private func file(_ path: String, _ text: String, _ dropIns: [(String, String)] = []) -> ManifestFile {
        ManifestFile(
            path: path, bytes: Array(text.utf8),
            dropIns: dropIns.map { ManifestFile(path: "\(path).d/\($0.0)", bytes: Array($0.1.utf8)) })
    }

    private func profile(_ name: String, _ spec: String) -> String {
        "apiVersion: vz/v1\nkind: Profile\nmetadata: {name: \(name)}\nspec: {\(spec)}\n"
    }

    private func defaults(_ spec: String) -> String { "apiVersion: vz/v1\nkind: Defaults\nspec: {\(spec)}\n" }

    private func expectNothingToTell(_ set: ManifestSet, sourceLocation: Testing.SourceLocation = #_sourceLocation) {
        #expect(set.diagnostics.map(\.description) == [], sourceLocation: sourceLocation)
    }

    @Test func everyOriginGoesBeforeTheOnesBelow() throws {
        let set = ManifestSet.compose([
            file("d", defaults("cpuunits: 100, cpulimit: 10, ioprio: 1, iopslimit: 1, nameserver: inherit")),
            file("p", profile("small", "cpulimit: 20, ioprio: 2, iopslimit: 2")),
            file("web.yaml", document("web", "profile: small, ioprio: 3, iopslimit: 3"), [("10.yaml", "spec: {iopslimit: 4}")]),
        ])
        expectNothingToTell(set)
        let web = try #require(set.documents.first)
        let spec = web.spec
        #expect([spec.cpuunits, spec.cpulimit, spec.ioprio, spec.iopslimit] == [100, 20, 3, 4])
        #expect(spec.nameserver == .inherit && spec.stopTimeout == 120)
        let places = web.fieldLocations.mapValues(\.description)
        #expect(places["spec.cpuunits"] == "d:3:18")
        #expect(places["spec.cpulimit"] == "p:4:18")
        #expect(places["spec.ioprio"] == "web.yaml:4:32")
        #expect(places["spec.iopslimit"] == "web.yaml.d/10.yaml:1:19")
        #expect(places["spec.stop_timeout"] == nil)
        #expect(web.location.description == "web.yaml:1:1")
        #expect(set.baseCount == 2)
    }

    // MARK: RFC 7386

    @Test func mappingsAreMergedAndListsReplaced() throws {
        let base = document(
            "web", "env: {A: a, B: b}, init: [/bin/a, x], network: {venet: [10.0.0.1]}, beancounters: {numproc: 5, numpty: 6}")
        let set = ManifestSet.compose([
            file(
                "web.yaml", base,
                [("1.yaml", "spec: {env: {B: c, C: d}, init: [/bin/b], network: {venet: []}, beancounters: {numpty: 7}}")])
        ])
        expectNothingToTell(set)
        let web = try #require(set.documents.first)
        #expect(web.spec.env == ["A": "a", "B": "c", "C": "d"] && web.spec.`init` == ["/bin/b"] && web.spec.network.venet.isEmpty)
        #expect(web.spec.beancounters == [.numproc: BarrierLimit(both: 5), .numpty: BarrierLimit(both: 7)])
        #expect(web.fieldLocations["spec.env.A"]?.description == "web.yaml:4:17")
        #expect(web.fieldLocations["spec.env.B"]?.description == "web.yaml.d/1.yaml:1:17")
    }

    @Test func nullDeletesWhatIsBelow() throws {
        let set = ManifestSet.compose([
            file("p", profile("small", "cpulimit: 20, ram: 64M, env: {P: p}, network: {venet: [10.0.0.1]}")),
            file(
                "web.yaml", document("web", "profile: small, cpuunits: 5000, env: {A: a, B: b}"),
                [
                    (
                        "1.yaml",
                        "metadata: {labels: {x: y}}\nspec: {ram: null, cpuunits: ~, env: {P: null, A: ~, N: null}, network: null}"
                    ),
                    ("2.yaml", "metadata: {labels: null}\nspec: {ram: 128M}"),
                ]),
        ])
        expectNothingToTell(set)
        let web = try #require(set.documents.first)
        var expected = ContainerSpec(name: "web", env: ["B": "b"], cpulimit: 20)
        expected.ram = 128 << 20
        #expect(web.spec == expected)
        #expect(web.labels.isEmpty)
        #expect(web.fieldLocations["spec.cpuunits"] == nil && web.fieldLocations["spec.env.P"] == nil)
    }

    @Test func oneOfTwoBounds() throws {
        let set = ManifestSet.compose([
            file(
                "web.yaml", document("web", "ram: 64M, beancounters: {kmemsize: \"1M:2M\"}"),
                [("1.yaml", "spec: {beancounters: {kmemsize: {limit: 3M}}}")])
        ])
        expectNothingToTell(set)
        #expect(set.documents.first?.spec.beancounters == [.kmemsize: BarrierLimit(barrier: 1 << 20, limit: 3 << 20)])
        let alone = ManifestSet.compose([
            file("web.yaml", document("web", "ram: 64M"), [("1.yaml", "spec: {beancounters: {kmemsize: {limit: 3M}}}")])
        ])
        #expect(
            alone.diagnostics.map(\.description) == [
                "web.yaml.d/1.yaml:1:33: spec.beancounters.kmemsize: expected barrier and limit, got no barrier"
            ])
    }

    @Test func nullIsNothingButInADropIn() {
        #expect(parse(document("web", "ram: null")).documents.isEmpty)
        let set = ManifestSet.compose([
            file("w", document("web"), [("1.yaml", "metadata: {name: null}"), ("2.yaml", "spec: null\nkind: ~")])
        ])
        #expect(
            set.diagnostics.map(\.description) == [
                "w.d/1.yaml:1:18: metadata.name: cannot be deleted; expected a DNS label of a-z, 0-9 and - that is not a number, "
                    + "1…63 characters",
                "w.d/2.yaml:1:7: spec: cannot be deleted; expected a mapping",
                "w.d/2.yaml:2:7: kind: cannot be deleted; expected Container, Profile or Defaults",
            ])
    }

    // MARK: Drop-ins

    private let two = document("one") + "---\n" + document("two")

    @Test func aDropInOfSeveralDocumentsNamesItsOwn() throws {
        let set = ManifestSet.compose([
            file("w", two, [("1.yaml", "metadata: {name: two}\nspec: {ctid: 102}\n---\nmetadata: {name: one}\nspec: {ctid: 101}")])
        ])
        expectNothingToTell(set)
        #expect(set.documents.map(\.spec.ctid?.number) == [101, 102])
        #expect(set.documents.map(\.location.line) == [1, 5])
    }

    @Test(arguments: [
        (
            "spec: {ctid: 102}",
            "w.d/1.yaml:1:1: metadata.name: w has 2 documents; expected the name of the one that this is merged into"
        ),
        ("metadata: {name: three}", "w.d/1.yaml:1:1: metadata.name: there is no document three in w to merge this into"),
        ("spec: [\n", "w.d/1.yaml:2:1: not readable as YAML: did not find expected node content while parsing a flow node"),
    ])
    func aDropInThatMightBeForAnyDocumentSparesNone(dropIn: String, message: String) {
        let set = ManifestSet.compose([file("w", two, [("1.yaml", dropIn)]), file("x", document("other"))])
        #expect(set.documents.map(\.spec.name) == ["other"])
        #expect(set.diagnostics.map(\.description) == [message])
        #expect(set.rejected.keys.sorted() == ["one", "two"])
    }

    @Test(arguments: [
        ("metadata: {name: two}\nspec: {cpuunits: 7}", "w.d/1.yaml:2:18: spec.cpuunits: expected an integer 8…500000, got 7"),
        (
            "metadata: {name: two}\nkind: Profile",
            "w.d/1.yaml:1:1: kind: expected Container, as in the document that this is merged into, got Profile"
        ),
        ("metadata: {name: two}\nspec: {cpuunit: 8}", "w.d/1.yaml:2:8: spec.cpuunit: unknown field; did you mean cpuunits?"),
        (
            "metadata: {name: two}\nspec: {swap: 8M}",
            "w.d/1.yaml:2:14: spec.swap: swap is only limited beside ram; expected spec.ram to be given too"
        ),
        (
            "metadata: {name: two}\nspec: {a: [\n",
            "w.d/1.yaml:3:1: not readable as YAML: did not find expected node content while parsing a flow node"
        ),
    ])
    func aMistakeInADropInIsOneOfItsDocumentOnly(dropIn: String, message: String) {
        let set = ManifestSet.compose([file("w", two, [("1.yaml", dropIn)])])
        #expect(set.documents.map(\.spec.name) == ["one"])
        #expect(set.diagnostics.map(\.description) == [message])
        #expect(Array(set.rejected.keys) == ["two"])
    }

    @Test func anEmptyDropInChangesNothing() {
        let set = ManifestSet.compose([file("w", document("web"), [("1.yaml", "# nothing yet\n"), ("2.yaml", "")])])
        expectNothingToTell(set)
        #expect(set.documents.count == 1)
    }

    // MARK: Profiles and defaults

    @Test func aProfileThatIsNotThere() {
        let container = document("web", "profile: smal")
        var set = ManifestSet.compose([file("w", container)])
        #expect(
            set.diagnostics.map(\.description) == [
                "w:4:17: spec.profile: there is no profile smal; there is no kind: Profile document"
            ])
        set = ManifestSet.compose([file("w", container), file("p", profile("small", ""))])
        #expect(set.diagnostics.map(\.description) == ["w:4:17: spec.profile: there is no profile smal; did you mean small?"])
        set = ManifestSet.compose([file("w", container), file("p", profile("a", "") + "---\n" + profile("b", ""))])
        #expect(set.diagnostics.map(\.description) == ["w:4:17: spec.profile: there is no profile smal; there are a, b"])
        #expect(set.documents.isEmpty && set.rejected["web"] == set.diagnostics.first?.description)
    }

    @Test func aProfileWithAMistakeIsNotHalfUsed() {
        let set = ManifestSet.compose([
            file("p", profile("small", "ram: 64M, cpuunits: 7")),
            file("w", document("web", "profile: small") + "---\n" + document("db")),
        ])
        #expect(set.documents.map(\.spec.name) == ["db"])
        #expect(
            set.diagnostics.map(\.description) == [
                "p:4:28: spec.cpuunits: expected an integer 8…500000, got 7",
                "w:4:17: spec.profile: the profile small at p:1:1 has a mistake; it is needed to know what this container shall be",
            ])
    }

    @Test func aProfileTwiceAndAnUnusableCombination() {
        let twice = ManifestSet.compose([
            file("p", profile("small", "")), file("q", profile("small", "")), file("w", document("web", "profile: small")),
        ])
        #expect(twice.diagnostics.map(\.location.description) == ["p:3:18", "q:3:18", "w:4:17"])
        let both = ManifestSet.compose([
            file("p", profile("small", "ram: 64M")),
            file("w", document("web", "profile: small, beancounters: {physpages: \"0:16384\"}")),
        ])
        #expect(
            both.diagnostics.map(\.description) == [
                "w:4:50: spec.beancounters.physpages: says once more what spec.ram says beside spec.ram at p:4:13; expected one of the two"
            ])
    }

    @Test func swapAndRamMayComeFromDifferentPlaces() {
        let set = ManifestSet.compose([
            file("d", defaults("ram: 64M")), file("p", profile("p", "swap: 64M")), file("w", document("web", "profile: p")),
        ])
        expectNothingToTell(set)
        #expect(
            ManifestSet.compose([file("d", defaults("ram: 64M")), file("w", document("web", "swap: 64M"))]).documents.count == 1)
    }

    @Test func theDefaultsMayNameAProfileAndADropInTakeItAway() {
        let files = [file("d", defaults("profile: p")), file("p", profile("p", "cpuunits: 500"))]
        var set = ManifestSet.compose(files + [file("w", document("web"))])
        #expect(set.documents.map(\.spec.cpuunits) == [500])
        set = ManifestSet.compose(files + [file("w", document("web"), [("1.yaml", "spec: {profile: null}")])])
        #expect(set.documents.map(\.spec.cpuunits) == [1000])
        expectNothingToTell(set)
    }

    @Test func defaultsThatCannotBeUsedKeepEverythingBack() {
        let faulty = ManifestSet.compose([file("d", defaults("cpuunits: 7")), file("w", document("web"))])
        #expect(faulty.documents.isEmpty && faulty.diagnostics.count == 1 && faulty.rejected["web"] != nil)
        let two = ManifestSet.compose([file("d", defaults("")), file("e", defaults("")), file("w", document("web"))])
        #expect(
            two.diagnostics.map(\.description) == [
                "d:1:1: there is another kind: Defaults document at e:1:1; expected one on the node",
                "e:1:1: there is another kind: Defaults document at d:1:1; expected one on the node",
            ])
        #expect(two.documents.isEmpty && two.rejected["web"] != nil)
    }

    @Test func theSameNameAsAProfileIsNoClash() {
        let set = ManifestSet.compose([file("p", profile("web", "cpuunits: 8")), file("w", document("web", "profile: web"))])
        expectNothingToTell(set)
        #expect(set.documents.map(\.spec.cpuunits) == [8])
    }

    @Test func theShippedProfilesAreValid() throws {
        let paths = Repository.files(in: Repository.root + "/examples/profiles")
        let names = paths.map { $0.split(separator: "/").last.map { String($0.dropLast(5)) } ?? "" }
        #expect(names == ["basic", "light", "vswap-1024m", "vswap-1g", "vswap-256m", "vswap-2g", "vswap-4g", "vswap-512m"])
        let files = try paths.map { ManifestFile(path: $0, bytes: try Repository.bytes($0)) }
        let set = ManifestSet.compose(files + names.map { file($0, document("use-\($0)", "profile: \($0)")) })
        #expect(set.diagnostics.filter { $0.severity == .error }.map(\.description) == [])
        let specs = Dictionary(set.documents.map { ($0.spec.name, $0.spec) }) { first, _ in first }
        let mebibyte: Int64 = 1 << 20
        for (name, size) in [("256m", 256), ("512m", 512), ("1g", 1024), ("1024m", 1024), ("2g", 2048), ("4g", 4096)]
            as [(String, Int64)]
        {
            let spec = try #require(specs["use-vswap-\(name)"])
            #expect(spec.ram == size * mebibyte && spec.swap == 2 * size * mebibyte)
            #expect(spec.diskspace == BarrierLimit(barrier: 2_097_152 * 1024, limit: 2_306_867 * 1024))
            #expect(spec.diskinodes == BarrierLimit(barrier: 131_072, limit: 144_179))
        }
        #expect(specs["use-basic"]?.ram == 131_072 * 4096 && specs["use-basic"]?.swap == 0)
        #expect(specs["use-light"]?.beancounters.count == 20 && specs["use-light"]?.cpuunits == 250)
        #expect(specs["use-light"]?.beancounters[.kmemsize] == BarrierLimit(barrier: 1_131_520, limit: 12_007_424))
    }
}
