internal import ArgumentParser
internal import Glibc
internal import VZKernel
internal import VZManifest
internal import VZModel
internal import VZReconciler

/// `vzctl export`: a container as OpenVZ's `CTID.conf`.
struct Export: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write OpenVZ's CTID.conf for a container.",
        discussion: """
            On standard error stands what the container has and OpenVZ cannot say. A container of this node is given by its name \
            or CTID, which needs root; manifests as files do not.
            Exit status: 0; 65 a manifest is invalid; 66 a file cannot be read; 68 there is no such container; 73 a file cannot \
            be written.
            """)

    @Argument(
        help: "Name or CTID of a container of this node, or files of manifests, profiles and defaults included.",
        completion: .file())
    var containers: [String]

    @Option(
        help: "Directory to write CTID.conf into; made when it is not there. Needed for more than one container.",
        completion: .directory)
    var output: String?

    @Flag(help: "Replace files that are there already.")
    var force = false

    func run() throws {
        try report {
            var ending = Ending()
            let specs = try specs(&ending)
            guard specs.count < 2 || output != nil else {
                throw Failure("there are \(specs.count) containers: give --output DIR to write a file for each", .usage)
            }
            for spec in specs {
                let result = OpenVZExport.export(spec)
                for note in result.notes { say("\(spec.name): note: \(note)") }
                guard let output else {
                    print(result.conf, terminator: "")
                    continue
                }
                if spec.ctid == nil { say("\(spec.name): note: spec.ctid: OpenVZ needs a number as the name of the file") }
                ending.write(result.conf, to: output, "\(spec.ctid.map { "\($0)" } ?? spec.name).conf", replacing: force)
            }
            if !ending.isGood { throw ending.code }
        }
    }

    private func specs(_ ending: inout Ending) throws -> [ContainerSpec] {
        var files: [ManifestFile] = []
        var specs: [ContainerSpec] = []
        for container in containers {
            guard container.contains("/") || ManifestFileName.isManifest(container) else {
                let target = try NodeAccess(changing: false).target(container)
                var spec = target.record.accepted
                spec.ctid = target.record.ctid
                specs.append(spec)
                continue
            }
            if let bytes = ending.read(container) { files.append(ManifestFile(path: container, bytes: bytes)) }
        }
        let set = ManifestSet.compose(files)
        for diagnostic in set.diagnostics { say(diagnostic.description) }
        if set.diagnostics.contains(where: { $0.severity == .error }) { ending.note(EX_DATAERR) }
        return specs + set.documents.map(\.spec)
    }
}
