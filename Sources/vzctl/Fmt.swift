internal import ArgumentParser
internal import Glibc
internal import VZKernel
internal import VZManifest
internal import VZReconciler

/// `vzctl fmt`: manifests in their canonical form.
struct Fmt: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write manifests in canonical order and spelling; comments are kept.",
        discussion: """
            A file with a mistake, or with something that would be lost, is left as it is. Exit status: 0 done; 1 with --check when a file \
            would change; 65 when a file is left as it is for a reason; 66 when a path cannot be read or written.
            """)

    @Argument(help: "Files and directories; - is standard input, which goes to standard output.", completion: .file())
    var paths: [String]

    @Flag(help: "Name the files that would change, and change nothing.")
    var check = false

    func run() throws {
        var outcome = Outcome()
        if paths.contains("-") { try formatInput(&outcome) }
        let reading = ManifestDirectory.read(given: paths.filter { $0 != "-" })
        for problem in reading.problems {
            say(problem.description)
            outcome.unusable += 1
        }
        for file in reading.files where !file.path.hasSuffix(".json") {
            format(file, isDropIn: Self.isDropIn(file.path), &outcome)
            for dropIn in file.dropIns where !dropIn.path.hasSuffix(".json") { format(dropIn, isDropIn: true, &outcome) }
        }
        if outcome.unusable > 0 { throw ExitCode(EX_NOINPUT) }
        if outcome.refused > 0 { throw ExitCode(EX_DATAERR) }
        if check, outcome.changed > 0 { throw ExitCode(ExitStatus.failed.rawValue) }
    }

    private struct Outcome {
        var changed = 0
        var refused = 0
        var unusable = 0
    }

    private func formatInput(_ outcome: inout Outcome) throws {
        do {
            let bytes = try Descriptor(adopting: dup(STDIN_FILENO)).readAll(
                limit: ManifestDirectory.sizeLimit, named: "standard input")
            let formatted = try ManifestFormatter.format(bytes, file: "<stdin>")
            if formatted != bytes { outcome.changed += 1 }
            if !check { print(String(decoding: formatted, as: UTF8.self), terminator: "") }
        } catch let refusal as ManifestFormatter.Refusal {
            for diagnostic in refusal.diagnostics { say(diagnostic.description) }
            outcome.refused += 1
        }
    }

    private func format(_ file: ManifestFile, isDropIn: Bool, _ outcome: inout Outcome) {
        do {
            let formatted = try ManifestFormatter.format(file.bytes, file: file.path, isDropIn: isDropIn)
            guard formatted != file.bytes else { return }
            outcome.changed += 1
            print(file.path)
            if !check { try Self.replace(file.path, with: formatted) }
        } catch let refusal as ManifestFormatter.Refusal {
            for diagnostic in refusal.diagnostics { say(diagnostic.description) }
            outcome.refused += 1
        } catch {
            say("\(error)")
            outcome.unusable += 1
        }
    }

    /// Whether a file stands in a directory of drop-ins.
    private static func isDropIn(_ path: String) -> Bool {
        let parts = path.split(separator: "/")
        guard parts.count > 1 else { return false }
        return ManifestFileName.manifest(ofDropIns: String(parts[parts.count - 2])) != nil
    }

    /// Puts a new file in the place of the old one, of the same owner and mode: whoever reads meanwhile sees one of the two whole.
    private static func replace(_ path: String, with bytes: [UInt8]) throws(KernelError) {
        guard let resolved = realpath(path, nil) else { throw KernelError("write \"\(path)\"", errno: errno) }
        let target = String(cString: resolved)
        free(resolved)
        var status = stat()
        guard stat(target, &status) == 0 else { throw KernelError("write \"\(path)\"", errno: errno) }
        let temporary = "\(target).vzctl-\(getpid())~"
        do throws(KernelError) {
            let file = try Descriptor.open(temporary, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
            try write(bytes, to: file, temporary)
            guard fchown(file.raw, status.st_uid, status.st_gid) == 0, fchmod(file.raw, status.st_mode & 0o7777) == 0,
                fsync(file.raw) == 0, rename(temporary, target) == 0
            else { throw KernelError("write \"\(path)\"", errno: errno) }
        } catch {
            unlink(temporary)
            throw error
        }
    }

    private static func write(_ bytes: [UInt8], to file: Descriptor, _ path: String) throws(KernelError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(file.raw, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw KernelError("write \"\(path)\"", errno: errno) }
            rest = rest.dropFirst(count)
        }
    }
}
