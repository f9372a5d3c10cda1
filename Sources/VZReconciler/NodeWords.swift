internal import VZIsolation
internal import VZKernel
public import VZManifest
public import VZModel

/// Fields that an administrator sets, and manifests on trial.
extension Node {
    // MARK: Fields

    /// Sets fields of one container for some time, or until they are taken back.
    /// - Throws: `KernelError` when the manifest would not be valid with them.
    public func set(
        _ assignments: [FieldAssignment.Assignment], of target: Target, _ word: (String) -> Overrides.Word<String>
    ) throws {
        try setOverrides(of: target.record.ctid) { said in
            for assignment in assignments { said.fields[assignment.path] = word(assignment.dropIn) }
            if let mistake = said.mistake(over: target.record.accepted) {
                throw KernelError("set fields of \(target.record.name)", detail: mistake)
            }
        }
    }

    /// Takes back fields that were set for some time. - Returns: those that were.
    public func unset(_ paths: [String], of ctid: ContainerID) throws -> [String] {
        var taken: [String] = []
        try setOverrides(of: ctid) { said in
            taken = paths.filter { said.fields[$0] != nil }
            for path in taken { said.fields[path] = nil }
        }
        return taken
    }

    /// Sets fields of one container in a drop-in of its manifest, `web.yaml.d/90-local.yaml`, and takes others out of it.
    /// - Returns: the drop-in's path.
    /// - Throws: `KernelError`, `FieldAssignment.Refusal`; nothing was written then.
    public func save(
        _ assignments: [FieldAssignment.Assignment], unsetting: [String] = [], of target: Target
    ) throws -> String {
        let manifest = place(of: target.record.source.file)
        let directory = manifest + ".d"
        let path = directory + "/90-local.yaml"
        let lock = try lock(target.record.ctid)
        defer { withExtendedLifetime(lock) {} }
        var before: String?
        do throws(KernelError) {
            before = String(decoding: try Descriptor.open(path, 0).readAll(named: path), as: UTF8.self)
        } catch {
            if error.errno != 2 { throw error }  // ENOENT: there is none yet
        }
        let after = try FieldAssignment.merge(
            before, setting: assignments.map(\.dropIn), unsetting: unsetting, of: target.record.name)
        if let mistake = mistake(in: target, withDropIn: path, after) {
            throw KernelError("write \(path)", detail: mistake)
        }
        guard let after else {
            try KernelFile.remove(path)
            return path
        }
        try Descriptor.makeDirectory(directory, mode: 0o755)
        try KernelFile.replace(path, with: Array(after.utf8))
        return path
    }

    /// Where an administrator's version of a manifest stands: at the file itself, but for the vendor's, the lowest of several
    /// directories, in the one above it.
    private func place(of file: String) -> String {
        guard let vendor = paths.manifests.first, paths.manifests.count > 1, file.hasPrefix(vendor + "/") else { return file }
        return paths.manifests[1] + "/" + file.dropFirst(vendor.count + 1)
    }

    /// What would be wrong with a manifest when one of its drop-ins held `text`.
    private func mistake(in target: Target, withDropIn path: String, _ text: String?) -> String? {
        let reading = ManifestDirectory(paths: paths.manifests).read()
        var files = reading.files
        guard let index = files.firstIndex(where: { $0.path == target.record.source.file }) else {
            let place = target.record.source.file
            let problem = reading.problems.first { $0.path == place } ?? reading.unavailable.first
            return problem.map { "\($0)" } ?? "its manifest \(place) is not there"
        }
        files[index].dropIns.removeAll { $0.path == path }
        if let text {
            files[index].dropIns.append(ManifestFile(path: path, bytes: Array(text.utf8)))
            files[index].dropIns.sort { Self.name($0.path) < Self.name($1.path) }
        }
        let set = ManifestSet.compose(files)
        if let reason = set.rejected[target.record.name] { return reason }
        return set.diagnostics.first { $0.severity == .error && $0.location.file == path }.map { "\($0)" }
    }

    private static func name(_ path: String) -> Substring { path.split(separator: "/").last ?? path[...] }

    // MARK: Trials

    /// One container's manifest that is to be put on trial.
    public struct Candidate: Sendable {
        public var target: Target
        public var spec: ContainerSpec
        public var file: ManifestFile
    }

    /// The containers that files declare otherwise than they are.
    /// - Throws: `KernelError` that says why they cannot be put on trial.
    public func candidates(_ paths: [String]) throws -> [Candidate] {
        let asked = try look(only: paths, remembering: false)
        if let mistake = asked.diagnostics.first { throw KernelError("read \(paths.joined(separator: ", "))", detail: mistake) }
        let now = try look(remembering: true)
        let files = Dictionary(
            ManifestDirectory.read(given: paths).files.map { ($0.path, $0) }, uniquingKeysWith: { first, _ in first })
        var found: [Candidate] = []
        for document in asked.documents.values.sorted(by: { $0.spec.name < $1.spec.name }) {
            let action = "put \(document.spec.name) on trial"
            guard let target = now.targets.first(where: { $0.record.name == document.spec.name && !$0.record.retired }) else {
                throw KernelError(
                    action, detail: "it is new, so that there is nothing to go back to: put its manifest among the node's")
            }
            if let ctid = document.spec.ctid, ctid != target.record.ctid {
                throw KernelError(action, detail: "expected CTID \(target.record.ctid), which it has, got \(ctid)")
            }
            guard let file = files[document.location.file] else { continue }
            let beside = now.documents.values.filter { $0.location.file == target.record.source.file }.map(\.spec.name)
            let here = asked.documents.values.filter { $0.location.file == document.location.file }.map(\.spec.name)
            if let missing = beside.first(where: { !here.contains($0) }) {
                throw KernelError(
                    action,
                    detail: "\(target.record.source.file), which it would replace, declares \(missing) too: give that as well")
            }
            if document.spec != target.record.accepted { found.append(Candidate(target: target, spec: document.spec, file: file)) }
        }
        return found
    }

    /// Puts manifests on trial until a time; then the ones before are in force again.
    /// - Returns: what `confirm` names.
    public func putOnTrial(_ candidates: [Candidate], until: Int64, owner: String, reason: String) throws -> String {
        let id = Outcome.newID()
        for candidate in candidates {
            let name = String(Self.name(candidate.target.record.source.file))
            let trial = Overrides.Trial(
                id: id, manifest: ManifestWriter.yaml(candidate.spec), file: name,
                text: String(decoding: candidate.file.bytes, as: UTF8.self))
            try setOverrides(of: candidate.target.record.ctid) {
                $0.trial = .init(trial, owner: owner, reason: reason, since: Timestamp.now, until: until)
            }
        }
        return id
    }

    /// Makes what is on trial the node's own manifests; with `cancelling`, goes back at once.
    /// - Parameter id: of one trial; `nil`: of all.
    /// - Returns: the containers that were on trial.
    public func endTrial(_ id: String?, cancelling: Bool) throws -> [Target] {
        let tried = try look(remembering: false).targets.filter { target in
            target.overrides.trial.map { id == nil || $0.value.id == id } ?? false
        }
        if !cancelling {
            for target in tried {
                guard let trial = target.overrides.trial?.value else { continue }
                try KernelFile.replace(place(of: target.record.source.file), with: Array(trial.text.utf8))
            }
            // What was tried is in force without a gap: the files are read before the trial ends.
            _ = try look(remembering: true)
        }
        for target in tried { try setOverrides(of: target.record.ctid) { $0.trial = nil } }
        return tried
    }
}
