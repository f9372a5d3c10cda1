import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// Defaults, profiles and drop-ins, as far as the kernel.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct CompositionTests {
    private static let base = "ctid: 101\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]\n"

    private func write(_ kind: String, _ name: String?, _ spec: String, _ node: TestNode, _ file: String) throws {
        let metadata = name.map { "metadata: {name: \($0)}\n" } ?? ""
        try TestFile.write(
            "apiVersion: vz/v1\nkind: \(kind)\n\(metadata)spec: \(spec)\n", to: "\(node.paths.manifests[0])/\(file)")
    }

    private func dropIn(_ text: String, _ node: TestNode, _ name: String) throws {
        try Descriptor.makeDirectories("\(node.paths.manifests[0])/web.yaml.d")
        try TestFile.write(text, to: "\(node.paths.manifests[0])/web.yaml.d/\(name)")
    }

    @Test func eachLayerReachesTheKernelAndTheNextOneGoesBeforeIt() throws {
        try withNode { node in
            try write("Defaults", nil, "{cpulimit: 50, ram: 32M, beancounters: {numproc: 10}}", node, "defaults.yaml")
            try write("Profile", "small", "{ram: 48M, beancounters: {numproc: 20}}", node, "small.yaml")
            try node.declare("web", Self.base + "profile: small\nbeancounters: {numproc: 30}")
            try node.apply()
            let process = try #require(try node.running())
            #expect(try node.group().cpuQuota()?.quota == 50_000)
            #expect(try node.group().memory().max == 48 << 20)
            #expect(try node.group().pidsMax() == 30)

            try dropIn("spec: {beancounters: {numproc: 40}, cpulimit: null}\n", node, "90-local.yaml")
            try node.apply()
            #expect(try node.group().pidsMax() == 40)
            #expect(try node.group().cpuQuota() == nil, "null deletes, for all layers below")
            #expect(try node.running()?.pid == process.pid)

            // What is written in one place for many changes them all.
            try write("Profile", "small", "{ram: 64M, beancounters: {numproc: 20}}", node, "small.yaml")
            try node.apply()
            #expect(try node.group().memory().max == 64 << 20)
            let origins = try node.vzctl("show", "web", "--origin").output
            for (field, place) in [("ram", "small.yaml:"), ("numproc", "web.yaml.d/90-local.yaml:"), ("template", "web.yaml:")] {
                let line = origins.split(separator: "\n").first { $0.contains(field) } ?? ""
                #expect(line.contains(place), "\(field): \(line)")
            }
        }
    }

    @Test(arguments: ["spec: {cpuunits: lots}\n", "spec: [\n", "spec: {nosuch: 1}\n", "spec: {ctid: 5}\n"])
    func aBrokenDropInLeavesTheLastGoodOneInForce(_ broken: String) throws {
        try withNode { node in
            try node.declare("web", Self.base + "beancounters: {numproc: 30}")
            try dropIn("spec: {beancounters: {numproc: 40}}\n", node, "90-local.yaml")
            try node.apply()
            let process = try #require(try node.running())
            try dropIn(broken, node, "95-broken.yaml")
            try node.declare("web", Self.base + "beancounters: {numproc: 50}")
            try node.group().setPIDsMax(5)
            try node.apply()
            #expect(try node.group().pidsMax() == 40, "the last accepted form, drop-in included, is put back")
            #expect(try node.node().look(remembering: false).targets.first?.lastKnownGood?.contains("95-broken.yaml") == true)
            #expect(try node.running()?.pid == process.pid)
        }
    }

    @Test func aProfileThatGoesAwayHurtsNothingThatRuns() throws {
        try withNode { node in
            try write("Profile", "small", "{beancounters: {numproc: 20}}", node, "small.yaml")
            try node.declare("web", Self.base + "profile: small")
            try node.apply()
            let process = try #require(try node.running())
            try node.removeManifest("small.yaml")
            try node.apply()
            #expect(try node.running()?.pid == process.pid)
            #expect(try node.group().pidsMax() == 20)
        }
    }

    /// A limit that is not enforced is told, never passed over.
    @Test func whatIsNotEnforcedYetIsTold() throws {
        try withNode { node in
            try node.declare("web", Self.base + "quotaugidlimit: 100\nbeancounters: {dcachesize: 1000000, numproc: 30}")
            let unsupported = try node.apply().containers.flatMap(\.unsupported).map(\.field)
            #expect(Set(unsupported) == ["quotaugidlimit", "beancounters.dcachesize"])
            #expect(try node.running() != nil)
        }
    }
}
