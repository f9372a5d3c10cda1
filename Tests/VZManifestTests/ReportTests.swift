import Testing

@testable import VZManifest

@Suite struct ReportTests {
    private let report = DiagnosticReport([
        Diagnostic(
            location: SourceLocation(file: "a dir/x%y,z:.yaml", line: 3, column: 7), field: "spec.ram",
            message: "expected \"a\"\nand 100 %"),
        Diagnostic(
            location: SourceLocation(file: "/etc/vz.d/web.yaml", line: 1, column: 1), field: "spec.beancounters.tcpsndbuf",
            message: "small",
            severity: .warning, rule: "ubc-tcp-buffer-minimum"),
        Diagnostic(location: SourceLocation(file: "b", line: 2, column: 1), message: "better", severity: .advice, rule: "unknown"),
    ])

    @Test func text() {
        #expect(
            report.text(.text).split(separator: "\n").dropFirst(2) == [
                "/etc/vz.d/web.yaml:1:1: warning: spec.beancounters.tcpsndbuf: small [ubc-tcp-buffer-minimum]",
                "b:2:1: advice: better [unknown]",
            ])
        #expect(report.summary(files: 2, valid: 1) == "2 files: 1 valid document, 1 mistake, 1 warning, 1 advice")
        #expect(DiagnosticReport([]).summary(files: 1, valid: 2) == "1 file: 2 valid documents, 0 mistakes")
    }

    @Test func github() {
        #expect(
            report.text(.github) == """
                ::error file=a dir/x%25y%2Cz%3A.yaml,line=3,col=7::spec.ram: expected "a"%0Aand 100 %25
                ::warning file=/etc/vz.d/web.yaml,line=1,col=1,title=ubc-tcp-buffer-minimum::spec.beancounters.tcpsndbuf: small
                ::notice file=b,line=2,col=1,title=unknown::better

                """)
    }

    @Test func json() {
        #expect(DiagnosticReport([]).text(.json) == "{\n  \"format_version\": 1,\n  \"valid\": true,\n  \"diagnostics\": []\n}\n")
        let text = report.text(.json)
        #expect(text.contains(#""valid": false"#) && text.contains(#""message": "expected \"a\"\u000aand 100 %""#))
        #expect(text.contains(#""rule": "ubc-tcp-buffer-minimum""#))
    }

    @Test func sarif() {
        let text = report.text(.sarif)
        for part in [
            #""version": "2.1.0""#, #""uri": "a%20dir/x%25y%2Cz%3A.yaml""#, #""uri": "file:///etc/vz.d/web.yaml""#,
            #""level": "note""#,
            #""startColumn": 7"#, #""ruleId": "manifest""#, #""id": "ubc-tcp-buffer-minimum""#,
            #""columnKind": "unicodeCodePoints""#,
        ] {
            #expect(text.contains(part), "\(part)")
        }
    }

    @Test func theManualPageIsFresh() throws {
        let committed = String(
            decoding: try Repository.bytes(Repository.root + "/Sources/vzctl/Manual/vz-container.5"), as: UTF8.self)
        #expect(committed == ManualPage.text(), "write it anew: vzctl explain --man > Sources/vzctl/Manual/vz-container.5")
        for field in FieldTable.all {
            #expect(committed.contains(".B \(field.path.replacing("-", with: "\\-"))\n"), "\(field.path)")
        }
    }
}
