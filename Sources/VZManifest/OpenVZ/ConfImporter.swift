internal import VZModel

/// Turns the assignments of one file into a spec, and keeps account of each.
struct ConfImporter {
    let options: OpenVZImport.Options
    let kind: ManifestKind
    let file: String
    var spec: ContainerSpec
    var mapped: [ImportResult.Mapped] = []
    var notes: [ImportResult.Note] = []
    var diagnostics: [Diagnostic] = []

    // What only the end of the file decides about.

    /// As they stand in the file.
    var bounds: [Beancounter: BarrierLimit] = [:]
    var avnumproc: Int64?
    /// Virtuozzo's SLM: bytes of RAM, and whether it is switched on.
    var slmLimit: Int64?
    var slmMode: String?
    var diskQuota: Bool?
    /// The first assignment of each key.
    var first: [String: ConfAssignment] = [:]
    /// Whether nothing can be made of the file.
    private var isHopeless = false

    typealias Handler = @Sendable (inout ConfImporter, ConfAssignment) throws(ConfProblem) -> String

    init(file: String, options: OpenVZImport.Options) {
        self.file = file
        self.options = options
        switch ConfFileName(path: file) {
        case .global:
            kind = .defaults
            spec = ContainerSpec(name: "")
        case .sample(let name):
            kind = .profile
            spec = ContainerSpec(name: ConfFileName.label(name))
        case .named(let name):
            kind = .container
            spec = ContainerSpec(name: ConfFileName.label(name))
        case .container(let number):
            kind = .container
            spec = ContainerSpec(name: ConfFileName.label(number), ctid: ContainerID(text: number))
            if spec.ctid == nil { refuseNumber(number) }
        }
    }

    private mutating func refuseNumber(_ number: String) {
        let location = SourceLocation(file: file, line: 1, column: 1)
        if number.allSatisfy({ $0 == "0" }) {
            isHopeless = true
            diagnostics.append(
                Diagnostic(
                    location: location, message: "\(number).conf is the host's own configuration in OpenVZ, not a container's"))
        } else {
            diagnostics.append(
                Diagnostic(
                    location: location, field: "spec.ctid",
                    message:
                        "expected a file's name of a CTID \(ContainerID.range), got \(number.prefix(40)); the manifest has no ctid")
            )
        }
    }

    // MARK: - Reading

    mutating func read(_ assignments: [ConfAssignment]) {
        for assignment in assignments { read(assignment) }
    }

    /// The keys of the node's own file that the container's file does not have. What is no container's there is not told of for
    /// each.
    mutating func readGlobal(_ lexer: ConfLexer) {
        diagnostics += lexer.mistakes
        for assignment in lexer.assignments {
            let key = Self.name(of: assignment.key)
            if Self.handlers[key] != nil, !Self.neverFromGlobal.contains(key), first[key]?.isOwn != true { read(assignment) }
        }
    }

    private mutating func read(_ assignment: ConfAssignment) {
        if isHopeless { return }
        if notes.count + diagnostics.count >= InputBounds.mistakes {
            isHopeless = true
            refuse(
                assignment,
                "there is too much to tell of this file; the lines from here on are not read, and no manifest is made of it")
            return
        }
        let key = Self.name(of: assignment.key)
        if let earlier = first[key] {
            note(assignment, "given before at \(earlier.location); the first one counts")
            return
        }
        first[key] = assignment
        if kind == .profile, Self.neverFromSample.contains(key) {
            note(assignment, "OpenVZ never takes this from a sample")
            return
        }
        guard let handler = Self.handlers[key] else {
            note(assignment, Self.unmapped[key] ?? Self.unknown(assignment.key))
            return
        }
        do throws(ConfProblem) {
            take(assignment, as: try handler(&self, assignment))
        } catch {
            switch error {
            case .unmapped(let reason): note(assignment, reason)
            case .refused(let message): refuse(assignment, message)
            }
        }
    }

    /// The key by its present name.
    private static func name(of key: String) -> String { aliases[key] ?? key }

    private static func unknown(_ key: String) -> String {
        let bare = key.split { $0 == " " || $0 == "\t" }.last.map(String.init) ?? ""
        if bare != key, handlers[bare] != nil || unmapped[bare] != nil {
            return "OpenVZ does not read this: expected \(bare)=\"value\" without blanks or words before it"
        }
        let known = Array(handlers.keys) + Array(unmapped.keys)
        if key != key.uppercased(), known.contains(key.uppercased()) {
            return "OpenVZ does not read this: expected \(key.uppercased()) in capital letters"
        }
        let near = key == key.uppercased() ? NearestName.of(key, among: known).map { "; did you mean \($0)?" } : nil
        return "OpenVZ does not know this key, nor does vz" + (near ?? "")
    }

    // MARK: - Account

    mutating func take(_ assignment: ConfAssignment, as field: String) {
        if !field.isEmpty { mapped.append(.init(key: assignment.key, location: assignment.location, field: field)) }
    }

    mutating func note(_ assignment: ConfAssignment, _ reason: String) {
        notes.append(.init(key: assignment.key, location: assignment.location, reason: reason))
    }

    mutating func refuse(_ assignment: ConfAssignment, _ message: String) {
        diagnostics.append(
            Diagnostic(
                location: assignment.location, message: "\(Quoting.visible(assignment.key)): \(message)",
                sourceLine: assignment.sourceLine))
    }

    // MARK: - The end

    mutating func result() -> ImportResult {
        let operands = self.operands
        let verdict = kind == .defaults ? [] : ConsistencyRules.check(operands, [.manifest, .openVZ])
        finishMemory()
        finishDisk()
        let remaining = remaining(of: verdict)
        let text = isHopeless ? nil : manifestText()
        return ImportResult(
            kind: kind, spec: spec, manifest: text, mapped: mapped, notes: notes.sorted { $0.location < $1.location },
            diagnostics: diagnostics.sorted(by: Diagnostic.inOrder), verdict: verdict, remaining: remaining,
            places: first.mapValues(\.location))
    }

    /// What OpenVZ's validator compares: the file's own numbers.
    private var operands: RuleOperands {
        var operands = RuleOperands(bounds: bounds)
        operands.avnumproc = avnumproc
        operands.diskspace = spec.diskspace
        operands.diskinodes = spec.diskinodes
        operands.hasDiskQuota = diskQuota == true && first["DISK_QUOTA"]?.isOwn == true
        return operands
    }

    /// Of the errors that OpenVZ finds, those that are left: missing parameters, and what the manifest breaks too. Of the
    /// manifest's, also those that OpenVZ does not ask for.
    private func remaining(of verdict: [Finding]) -> [Finding] {
        let missing = verdict.filter { ConsistencyRules.rule($0.rule)?.scope == .openVZ }
        // A manifest has no AVNUMPROC: what is asked of it later is asked now.
        return missing + ConsistencyRules.check(RuleOperands(spec), [.manifest])
    }

    /// The manifest. What its parser refuses is told, but for the consistency rules, which are told of already.
    private mutating func manifestText() -> String? {
        let text = ManifestWriter.yaml(kind: kind, spec, explicit: Set(mapped.map(\.field)))
        let mistakes = ManifestParser.parse(Array(text.utf8), file: file).diagnostics
        for mistake in mistakes where mistake.severity == .error && mistake.rule == nil {
            let place = mapped.first { $0.field == mistake.field }
            let location = place?.location ?? SourceLocation(file: file, line: 1, column: 1)
            diagnostics.append(
                Diagnostic(
                    location: location, field: mistake.field,
                    message: (place.map { "\($0.key): " } ?? "") + "a manifest cannot say this: \(mistake.message)"))
        }
        return text
    }
}
