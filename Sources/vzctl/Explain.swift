internal import ArgumentParser
internal import VZManifest

/// `vzctl explain`: what a field of a manifest means.
struct Explain: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Tell what a field of a manifest means; without a field, list all.")

    @Argument(help: "Path of the field, such as cpuunits or spec.beancounters.numproc.")
    var field: String?

    @Flag(help: "Print the manual page vz-container(5) of all fields.")
    var man = false

    func validate() throws {
        guard let field, FieldTable.field(field) == nil else { return }
        let hint = FieldTable.suggestion(for: field).map { "; did you mean \($0)?" } ?? "; vzctl explain lists all fields."
        throw ValidationError("no field \"\(field)\"\(hint)")
    }

    func run() {
        if man {
            print(ManualPage.text(), terminator: "")
            return
        }
        if let field, let known = FieldTable.field(field) {
            print(known.explanation)
            return
        }
        let width = FieldTable.all.map(\.path.count).max() ?? 0
        for field in FieldTable.all {
            print(field.path + String(repeating: " ", count: width + 2 - field.path.count) + field.summary)
        }
    }
}
