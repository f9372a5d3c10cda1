import Testing
import VZModel

@testable import VZManifest

@Suite struct SchemaTests {
    @Test(arguments: ManifestKind.allCases)
    func theCommittedSchemaIsFresh(kind: ManifestKind) throws {
        let name = kind.rawValue.lowercased()
        let committed = String(decoding: try Repository.bytes(Repository.root + "/schemas/\(name).schema.json"), as: UTF8.self)
        #expect(
            committed == ManifestSchema.jsonSchema(of: kind), "write it anew: vzctl schema \(name) > schemas/\(name).schema.json")
    }

    @Test(arguments: Repository.files(in: Repository.root + "/examples").filter { $0.hasSuffix(".yaml") })
    func examplesAreValid(path: String) throws {
        let bytes = try Repository.bytes(path)
        let parsed = ManifestParser.parse(bytes, file: path)
        #expect(parsed.diagnostics.map(\.description) == [])
        #expect(!parsed.documents.isEmpty)
        let first = String(decoding: bytes.prefix { $0 != 10 }, as: UTF8.self)
        #expect(first == "# yaml-language-server: $schema=../schemas/container.schema.json")
    }

    @Test func examplesTogetherAreValid() throws {
        let paths = Repository.files(in: Repository.root + "/examples").filter { $0.hasSuffix(".yaml") }
        let checked = ManifestSet.check(try paths.map { ManifestParser.parse(try Repository.bytes($0), file: $0) })
        #expect(checked.diagnostics.isEmpty)
        #expect(checked.valid.count >= 4)
    }
}

@Suite struct FieldTableTests {
    @Test func pathsAreUniqueAndHaveTheirGroups() {
        #expect(Set(FieldTable.all.map(\.path)).count == FieldTable.all.count)
        for field in FieldTable.all where !field.parent.isEmpty {
            let isElement = field.parent.hasSuffix("[]")
            let parent = FieldTable.byPath[isElement ? String(field.parent.dropLast(2)) : field.parent]
            switch parent?.type {
            case .group: #expect(!isElement)
            case .records: #expect(isElement)
            default: Issue.record("\(field.path) has no group")
            }
        }
    }

    @Test func everyFieldOfASpecIsInTheTable() {
        let fields = Mirror(reflecting: ContainerSpec(name: "")).children.compactMap(\.label)
        #expect(fields.count == 37)
        let spelled = ["stopTimeout": "stop_timeout", "vmOvercommit": "vm_overcommit"]
        for field in fields where field != "name" {
            #expect(FieldTable.byPath["spec.\(spelled[field] ?? field)"] != nil, "\(field)")
        }
        for beancounter in Beancounter.allCases { #expect(FieldTable.field("spec.beancounters.\(beancounter.rawValue)") != nil) }
    }

    @Test func everyDefaultIsWhatTheParserFillsIn() throws {
        for field in FieldTable.all {
            guard let text = field.defaultText, field.path.hasPrefix("spec."), !field.path.contains("[]") else { continue }
            let groups = field.parent.split(separator: ".").dropFirst()
            let value = "\(field.name): \(text)"
            let given = parse(document("web", groups.reversed().reduce(value) { "\($1): {\($0)}" }))
            #expect(given.documents.map(\.spec) == [ContainerSpec(name: "web")], "\(field.path)")
        }
    }

    @Test func isFoundByPathOrName() {
        #expect(FieldTable.field("cpuunits")?.path == "spec.cpuunits")
        #expect(FieldTable.field("spec.cpuunits")?.path == "spec.cpuunits")
        #expect(FieldTable.field("beancounters.numproc")?.path == "spec.beancounters.numproc")
        #expect(FieldTable.field("numproc")?.path == "spec.beancounters.numproc")
        #expect(FieldTable.field("kind")?.path == "kind")
        #expect(FieldTable.field("") == nil && FieldTable.field("spec.") == nil && FieldTable.field("nothing") == nil)
        #expect(FieldTable.suggestion(for: "cpuunit") == "cpuunits")
        #expect(FieldTable.suggestion(for: "PHYSPAGES") == "spec.beancounters.physpages")
        #expect(FieldTable.suggestion(for: "IP_ADDRESS") == "spec.network.venet")
    }

    @Test func explanationsSayEverything() {
        #expect(
            FieldTable.field("cpulimit")?.explanation == """
                spec.cpulimit
                  type      integer 0…1000000
                  unit      percent of one CPU
                  default   0
                  OpenVZ    CPULIMIT
                  change    live: takes effect at once

                  The most CPU time the container gets: 150 is one and a half CPUs. 0 is no limit.
                """)
        for field in FieldTable.all { #expect(field.summary.hasSuffix(".") && field.explanation.contains(field.summary)) }
    }
}
