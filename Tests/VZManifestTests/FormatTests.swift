import Testing
import VZModel

@testable import VZManifest

@Suite struct FormatTests {
    private func format(_ text: String, isDropIn: Bool = false) throws -> String {
        String(decoding: try ManifestFormatter.format(Array(text.utf8), file: "f", isDropIn: isDropIn), as: UTF8.self)
    }

    private func refusal(_ text: String) -> [String] {
        do throws(ManifestFormatter.Refusal) {
            _ = try ManifestFormatter.format(Array(text.utf8), file: "f")
            return []
        } catch {
            return error.diagnostics.map(\.description)
        }
    }

    @Test func orderSpellingAndComments() throws {
        let text = """
            # the head

            kind: 'Container'   # a container
            metadata: {labels: {tier: 'front', a: "1"}, name: web}


            # of the version
            apiVersion: "vz/v1"
            # what it is
            spec:   # beside spec
                # about memory
                ram: 0.25G # a quarter

                # two lines
                # about init
                init:
                - /bin/sh          # the shell
                # its flag
                - -c
                - 'a # b'
                # behind init
                cpuunits: 0x3E8
                network:
                    veth:
                    - address: ['192.168.1.5/24']   # its address
                      name: eth0
                      # its own
                      mac: '02:00:00:00:01:0A'
                    venet: [10.0.0.1,
                            '2001:DB8:0::1']
                beancounters: {numproc: "240:240", kmemsize: {barrier: 1048576, limit: 2M}}
                env:
                    # first
                    B: 'b'
                    A: a
                    # behind env
                # behind spec
            # at the end
            """
        let expected = """
            # the head

            # of the version
            apiVersion: vz/v1
            kind: Container     # a container
            metadata:
              name: web
              labels: {tier: front, a: "1"}
            # what it is
            spec:   # beside spec
              # two lines
              # about init
              init:
                - /bin/sh          # the shell
                # its flag
                - "-c"
                - "a # b"
              env:
                # first
                B: b
                A: a
                # behind env
              # behind init
              cpuunits: 1000
              # about memory
              ram: 256M    # a quarter
              beancounters:
                kmemsize: "1M:2M"
                numproc: 240
              network:
                venet: [10.0.0.1, "2001:db8::1"]
                veth:
                  - name: eth0
                    # its own
                    mac: "02:00:00:00:01:0a"
                    address: [192.168.1.5/24]       # its address
              # behind spec
            # at the end

            """
        #expect(try format(text) == expected)
        #expect(try format(expected) == expected)
    }

    @Test func severalDocumentsAndCarriageReturns() throws {
        let one = "apiVersion: vz/v1\nkind: Container\nmetadata:\n  name: one\nspec: {}\n"
        let text = "# a\n---  # b\n" + one + "# behind\n---\n---\n# c\n" + one.replacing("one", with: "two") + "...\n"
        let expected = "# a\n# b\n" + one + "# behind\n---\n# c\n" + one.replacing("one", with: "two")
        #expect(try format(text) == expected)
        #expect(try format(text.replacing("\n", with: "\r\n")) == expected)
        #expect(try format("\u{FEFF}" + text) == expected)
    }

    @Test func aDropInMayDelete() throws {
        let text = "spec: {ram: ~, env: {A: null, B: b}, network: null, beancounters: {kmemsize: {limit: 3145728}}}"
        let expected = """
            spec:
              env: {A: null, B: b}
              ram: null
              beancounters:
                kmemsize: {limit: 3M}
              network: null

            """
        #expect(try format(text, isDropIn: true) == expected)
        #expect(try format(expected, isDropIn: true) == expected)
    }

    private static let least = "apiVersion: vz/v1\nkind: Container\nmetadata: {name: a}\n"

    @Test(arguments: [
        (least + "spec: {ram: 0}", "f:4:13: spec.ram: expected a size above 0, such as 512M, got 0"),
        (least + "spec: &a {}", "f:4:7: not formatted: an anchor would be lost: write out what its aliases stand for"),
        (least + "spec: {ram: !!int 5}", "f:4:13: not formatted: a tag would be lost: leave it out"),
        ("%YAML 1.2\n---\n" + least + "spec: {}", "f:1:1: not formatted: a directive would be lost: leave it out"),
        (
            least + "spec:\n  init: [/a, # why\n    b]",
            "f:5:14: not formatted: a comment inside of a value has no place that could be kept: put it above"
        ),
        (
            least + "spec:\n  ram:\n    # why\n    5M",
            "f:6:5: not formatted: a comment inside of a value has no place that could be kept: put it above"
        ),
        (
            least + "spec:\n  hostname: >- # why\n    a",
            "f:5:16: not formatted: # in or beside a text behind | or > may be a comment: write the text in quotation marks"
        ),
        (
            "{\"apiVersion\": \"vz/v1\", \"kind\": \"Container\", \"metadata\": {\"name\": \"a\"}, \"spec\": {}}",
            "f:1:1: not formatted: this document stands in brackets, as JSON does"
        ),
    ])
    func whatWouldLoseSomethingIsLeftAsItIs(text: String, message: String) {
        #expect(refusal(text) == [message])
    }

    @Test(
        arguments: (Repository.files(in: Repository.root + "/examples")
            + Repository.files(in: Repository.root + "/examples/profiles")).filter {
                $0.hasSuffix(".yaml")
            })
    func theExamplesAreCanonical(path: String) throws {
        let bytes = try Repository.bytes(path)
        let formatted = try ManifestFormatter.format(bytes, file: path)
        #expect(String(decoding: formatted, as: UTF8.self) == String(decoding: bytes, as: UTF8.self))
    }

    /// Formatted or refused; and when formatted, then with the same meaning, which the formatter itself would refuse otherwise.
    @Test(arguments: Fixture.all)
    func fixtures(fixture: Fixture) throws {
        let bytes = try Repository.bytes(fixture.path)
        do throws(ManifestFormatter.Refusal) {
            let formatted = try ManifestFormatter.format(bytes, file: "f")
            #expect(try ManifestFormatter.format(formatted, file: "f") == formatted)
            let (before, after) = (ManifestParser.parse(bytes, file: "f"), ManifestParser.parse(formatted, file: "f"))
            #expect(before.documents.map(\.spec) == after.documents.map(\.spec))
            #expect(before.documents.map(\.labels) == after.documents.map(\.labels))
        } catch {
            #expect(!error.diagnostics.contains { $0.message.contains("cannot be formatted safely") })
        }
    }

    /// Lines of a canonical manifest shuffled within their group, with comments and empty lines strewn among them.
    @Test func randomOrderAndComments() throws {
        var random = Pseudorandom(state: 11)
        for round in 0..<300 {
            let spec = RoundTripTests.randomSpec(&random)
            let canonical = ManifestWriter.yaml(spec)
            // Blocks of the lines below spec: a field with the lines that belong to it.
            var blocks: [[String]] = []
            let lines = canonical.split(separator: "\n").map(String.init)
            let start = (lines.firstIndex { $0.hasPrefix("spec:") } ?? 0) + 1
            for line in lines[start...] {
                if line.hasPrefix("   "), !blocks.isEmpty { blocks[blocks.count - 1].append(line) } else { blocks.append([line]) }
            }
            blocks.shuffle(using: &random)
            var comments = 0
            func comment() -> String {
                comments += 1
                return "# comment \(comments): \"x\" 'y' [z] #"
            }
            var text = lines[..<start].map { $0 + "\n" }.joined()
            for block in blocks {
                if Bool.random(using: &random) { text += "\n" }
                if Bool.random(using: &random) { text += "  \(comment())\n" }
                for line in block { text += line + (Bool.random(using: &random) ? "  \(comment())\n" : "\n") }
            }
            if Bool.random(using: &random) { text += "\(comment())\n" }
            let formatted = try format(text)
            #expect(parse(formatted).documents.map(\.spec) == [spec], "round \(round)")
            for number in 1..<(comments + 1) { #expect(formatted.contains("# comment \(number): ")) }
        }
    }
}
