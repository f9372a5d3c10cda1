internal import ArgumentParser
internal import Glibc
internal import VZKernel
internal import VZManifest
internal import VZModel
internal import VZReconciler

/// `vzctl import`: manifests from OpenVZ's configurations, without root, daemon or OpenVZ.
struct Import: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Turn OpenVZ's CTID.conf, vz.conf and *.conf-sample into manifests.",
        discussion: """
            The manifests go to standard output, or each to NAME.yaml in a directory. On standard error stands what became of \
            every line that is not in the manifest, or not as it stood there, and what OpenVZ's own vzcfgvalidate finds. Whether \
            a container runs is not in its file: state is running, or stopped with DISABLED=yes.
            Exit status: 0 everything was taken over or told of; 65 something is wrong and was left out; 66 a file cannot be read; \
            73 a manifest cannot be written, or is there already.
            """)

    @Argument(help: "OpenVZ's files.", completion: .file())
    var files: [String]

    @Option(help: "Directory to write NAME.yaml into; made when it is not there.", completion: .directory)
    var output: String?

    @Flag(help: "Replace manifests that are there already.")
    var force = false

    @Option(help: "The node's vz.conf, whose values hold where a container's file has none.", completion: .file())
    var global: String?

    @Option(help: "How many CPUs the node had, for CPULIMIT=\"25%\".")
    var hostCPUs: Int?

    func validate() throws {
        if let hostCPUs, !(1...4096).contains(hostCPUs) { throw ValidationError("--host-cpus: expected 1…4096, got \(hostCPUs)") }
    }

    func run() throws {
        var ending = Ending()
        var options = OpenVZImport.Options(hostCPUs: hostCPUs)
        if let global {
            guard let bytes = ending.read(global) else { throw ending.code }
            options.global = (bytes, global)
        }
        var texts: [String] = []
        for file in files {
            guard let bytes = ending.read(file) else { continue }
            let result = OpenVZImport.parse(bytes, file: file, options: options)
            tell(result, of: file)
            if !result.isClean { ending.note(EX_DATAERR) }
            guard let text = result.manifest else { continue }
            if let output {
                let name = result.kind == .defaults ? "defaults" : result.spec.name
                ending.write(text, to: output, "\(name).yaml", replacing: force)
            } else {
                texts.append(text)
            }
        }
        if !texts.isEmpty { print(texts.joined(separator: "---\n"), terminator: "") }
        if !ending.isGood { throw ending.code }
    }

    private func tell(_ result: ImportResult, of file: String) {
        for note in result.notes { say("\(note)") }
        for diagnostic in result.diagnostics { say("\(diagnostic)") }
        for finding in result.verdict + result.remaining.filter({ !result.verdict.contains($0) }) {
            let isMended = finding.severity == .error && !result.remaining.contains(finding)
            let place = result.location(of: finding).map { "\($0)" } ?? file
            say("\(place): \(finding)" + (isMended ? "; mended in the manifest" : ""))
        }
    }
}

/// How a verb over several files ends: the first thing that went wrong decides.
struct Ending {
    private var status: Int32 = 0
    var isGood: Bool { status == 0 }
    var code: ExitCode { ExitCode(status) }

    mutating func note(_ status: Int32) {
        if isGood { self.status = status }
    }

    /// The bytes of a file of at most 1 MiB; `nil` after telling why it cannot be read.
    mutating func read(_ path: String) -> [UInt8]? {
        do throws(KernelError) {
            return try Descriptor.open(path, O_RDONLY).readAll(limit: ManifestDirectory.sizeLimit, named: path)
        } catch {
            say("vzctl: \(error)")
            note(EX_NOINPUT)
            return nil
        }
    }

    /// Writes a file as a whole or not at all, and tells of it.
    /// - Parameter replacing: whether a file of that name may be there.
    mutating func write(_ text: String, to directory: String, _ name: String, replacing: Bool) {
        let path = directory.hasSuffix("/") ? directory + name : "\(directory)/\(name)"
        do throws(KernelError) {
            if mkdir(directory, 0o755) != 0, errno != EEXIST {
                throw KernelError("make the directory \"\(directory)\"", errno: errno)
            }
            let temporary = "\(directory)/.\(name).\(getpid())"
            defer { unlink(temporary) }
            do {
                let file = try Descriptor.open(temporary, O_WRONLY | O_CREAT | O_EXCL, mode: 0o644)
                try file.writeAll(text.utf8, named: temporary)
            }
            if replacing {
                guard rename(temporary, path) == 0 else { throw KernelError("replace \"\(path)\"", errno: errno) }
            } else {
                // Unlike rename(2), link(2) never replaces.
                guard link(temporary, path) == 0 else {
                    throw KernelError("write \"\(path)\"", errno: errno, detail: errno == EEXIST ? "use --force to replace it" : "")
                }
            }
            say("vzctl: wrote \(path)")
        } catch {
            say("vzctl: \(error)")
            note(EX_CANTCREAT)
        }
    }
}
