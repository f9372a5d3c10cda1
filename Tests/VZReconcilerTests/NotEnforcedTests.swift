import Testing
import VZManifest
import VZModel

@testable import VZIsolation

/// What a manifest says is done, or told: no field falls in between.
@Suite struct NotEnforcedTests {
    /// What is neither a setting of the kernel's nor in need of one.
    private static let elsewhere: Set<String> = [
        "ctid", "profile", "state", "description", "template", "init", "env", "hostname", "beancounters", "network", "capabilities",
        "vm_overcommit", "lifecycle", "lifecycle.deletion", "lifecycle.disruption", "lifecycle.ignore_drift", "lifecycle.hold",
        "onboot",
        "bootorder", "stop_timeout",
    ]

    @Test func everyFieldIsEnforcedOrTold() throws {
        let path =
            #filePath.split(separator: "/").dropLast(2).reduce("") { "\($0)/\($1)" }
            + "/VZManifestTests/Fixtures/valid-complete.yaml"
        let text = try Child(["cat", path]).output()
        let parsed = ManifestParser.parse(Array(text.utf8), file: path)
        let document = try #require(parsed.documents.first, "\(parsed.diagnostics)")
        let told = NotEnforced.wanted(by: document.spec)
        let facets = Set(Facets.all.flatMap(\.fields))
        for field in FieldTable.all where field.path.hasPrefix("spec.") && !field.path.contains("[]") {
            let name = String(field.path.dropFirst(5))
            let isTold = told.contains { $0.field == name }
            if Self.elsewhere.contains(name) || facets.contains(name) {
                // Of these a part is enforced.
                #expect(["state", "features"].contains(name) || !isTold, "\(name) is enforced, and told not to be")
            } else if document.fieldLocations[field.path] != nil, name != "quotatime" {
                // The fixture sets that to what it is by default.
                #expect(isTold, "\(name) is neither enforced nor told")
            }
        }
        #expect(told.first { $0.field == "state" }?.value == "suspended")
        #expect(told.first { $0.field == "features" }?.value == "tun fuse")
        #expect(!told.contains { $0.field.hasPrefix("beancounters.") })
    }

    @Test func whatIsLeftOutIsNotTold() {
        #expect(NotEnforced.wanted(by: ContainerSpec(name: "web")).isEmpty)
        var spec = ContainerSpec(name: "web")
        spec.beancounters = [
            .physpages: BarrierLimit(barrier: 0, limit: BarrierLimit.unlimited), .oomguarpages: BarrierLimit(barrier: 0, limit: 5),
        ]
        #expect(NotEnforced.wanted(by: spec).isEmpty)
    }
}
