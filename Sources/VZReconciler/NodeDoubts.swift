internal import Synchronization
internal import VZManifest
internal import VZModel

/// What was read and is not believed yet.
struct Doubts: Sendable {
    var containers: Absences<ContainerID>
    var defaults: Absences<String>
    /// Where the `kind: Defaults` document was last seen.
    var defaultsFile: String?
    /// Whether that is written down.
    var isSaved = true

    init(patience: Duration) {
        containers = Absences(patience: patience)
        defaults = Absences(patience: patience)
    }
}

extension Node {
    /// "Every container starts from what stands in this file."
    private struct DefaultsPlace: Codable {
        var file: String
    }

    /// Of the containers whose manifests are gone those whose removal does not count yet.
    func recent(
        _ removed: Set<ContainerID>, _ input: Acceptance.Input, at now: ContinuousClock.Instant
    ) -> Set<ContainerID> {
        guard !input.isAcknowledged else { return [] }
        return doubts.withLock { $0.containers.recent(among: removed, generation: input.generation, at: now) }
    }

    /// How long after `now` to look again for what was not believed then.
    func again(after now: ContinuousClock.Instant) -> Duration? {
        doubts.withLock { doubts in
            [doubts.containers.nextDue(at: now), doubts.defaults.nextDue(at: now)].compactMap { $0 }.min().map { $0 - now }
        }
    }

    /// Takes back every manifest when the defaults, which all of them start from, are gone in a way that cannot be meant: without them
    /// each would say something else, and nobody would have said it.
    /// - Parameter file: where they are seen now.
    /// - Returns: what there is to tell.
    func doubtDefaults(
        _ input: inout Acceptance.Input, _ file: String?, remembering: Bool, at now: ContinuousClock.Instant
    ) -> [String] {
        let known = doubts.withLock { $0.defaultsFile } ?? recall(DefaultsPlace.self, "defaults")?.file
        let missing = file == nil ? known : nil
        var why = missing.flatMap { reasonToMiss($0, input) }
        // Not in doubt for another reason, it may still be on its way from one file to another.
        let gone = why == nil && !input.isAcknowledged ? Set([missing].compactMap { $0 }) : []
        doubts.withLock { doubts in
            if !doubts.defaults.recent(among: gone, generation: input.generation, at: now).isEmpty {
                why = "it is gone, and waited for to stay away"
            }
            doubts.defaultsFile = why == nil ? file : known
        }
        if let why, let known {
            let message =
                "\(known): the kind: Defaults document that was here cannot be read, and no manifest counts without it: \(why)"
            for document in input.documents { input.rejected[document.spec.name] = message }
            input.documents = []
            return [message]
        }
        if remembering, file != known || !doubts.withLock(\.isSaved) {
            doubts.withLock { $0.isSaved = false }
            noting("remember the file of the kind: Defaults document") {
                if let file { try host.write(DefaultsPlace(file: file), "defaults") } else { try host.remove("defaults") }
                doubts.withLock { $0.isSaved = true }
            }
        }
        return []
    }

    /// Why the defaults that were in a file may still be meant; `nil` when they were taken away for certain.
    private func reasonToMiss(_ file: String, _ input: Acceptance.Input) -> String? {
        if let fault = input.faulty[file] { return fault }
        switch input.files.contains(file) ? .certain : input.removal(file) {
        case .unknown(let why): return why
        case .emptied where !input.isAcknowledged: return "its directory is empty; if that is meant: vzctl ack \(input.generation)"
        case .emptied, .certain: return nil
        }
    }
}
