// Readers of files under libFuzzer: fuzz-manifest yaml|conf [libFuzzer's own arguments]. Tests/fuzz/run calls it.
import CFuzzer
import Glibc
import VZManifest

/// What must hold for any bytes in a manifest: a verdict, and one that stays when it is written anew.
func manifest(_ bytes: [UInt8]) {
    let parsed = ManifestParser.parse(bytes, file: "f")
    precondition(!(parsed.documents.isEmpty && parsed.diagnostics.isEmpty && ManifestSet([parsed]).baseCount == 0), "no verdict")
    for diagnostic in parsed.diagnostics {
        precondition(diagnostic.location.line > 0 && diagnostic.location.column > 0, "no place")
        _ = diagnostic.withCaret()
    }
    for document in parsed.documents where document.fieldLocations["spec.profile"] == nil {
        let again = ManifestParser.parse(Array(ManifestWriter.yaml(document.spec).utf8), file: "g")
        precondition(again.documents.map(\.spec) == [document.spec], "written and read again, it is another")
    }
    // The same bytes as a drop-in, and in canonical form.
    let base = Array("apiVersion: vz/v1\nkind: Container\nmetadata: {name: a}\nspec: {}\n".utf8)
    _ = ManifestSet.compose([ManifestFile(path: "f", bytes: base, dropIns: [ManifestFile(path: "f.d/1.yaml", bytes: bytes)])])
    if let formatted = try? ManifestFormatter.format(bytes, file: "f") {
        precondition(
            ManifestParser.parse(formatted, file: "f").documents.map(\.spec) == parsed.documents.map(\.spec),
            "formatted, it is another")
    }
}

/// What must hold for any bytes in an OpenVZ configuration: a manifest that is none is told as such.
func configuration(_ bytes: [UInt8]) {
    for file in ["101.conf", "vz.conf", "ve-a.conf-sample"] { _ = OpenVZImport.parse(bytes, file: file) }
}

let usage = "usage: fuzz-manifest yaml|conf [libFuzzer's arguments]\n"
guard CommandLine.arguments.count > 1, ["yaml", "conf"].contains(CommandLine.arguments[1]) else {
    _ = write(STDERR_FILENO, usage, usage.utf8.count)
    exit(64)
}
var arguments = CommandLine.arguments.enumerated().filter { $0.offset != 1 }.map { strdup($0.element) }
var count = Int32(arguments.count)
arguments.append(nil)
let isYAML = CommandLine.arguments[1] == "yaml"
let status = arguments.withUnsafeMutableBufferPointer { buffer in
    var pointer = buffer.baseAddress
    // A C function knows nothing of what is around it.
    return isYAML
        ? LLVMFuzzerRunDriver(&count, &pointer) { data, size in
            manifest(Array(UnsafeBufferPointer(start: data, count: size)))
            return 0
        }
        : LLVMFuzzerRunDriver(&count, &pointer) { data, size in
            configuration(Array(UnsafeBufferPointer(start: data, count: size)))
            return 0
        }
}
exit(status)
