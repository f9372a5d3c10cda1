internal import ArgumentParser
internal import VZIsolation
internal import VZKernel
internal import VZManifest
internal import VZModel
internal import VZPlan
internal import VZReconciler

/// `vzctl show`: the manifest in force, and what the kernel holds.
struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the manifest in force for a container, with every default, and what the kernel holds of it.")

    @Argument(help: "Name or CTID.")
    var name: String

    @Flag(help: "Print every effective value with the file:line that it comes from, or built-in.")
    var origin = false

    func run() throws {
        try report {
            let access = try NodeAccess(changing: false)
            if origin { return try printOrigins(access) }
            let target = try access.target(name)
            let seen = try access.node.core.observe(target.record.ctid)
            var spec = target.record.accepted
            spec.ctid = target.record.ctid
            var notes = ["source: \(target.desired.source)"]
            if let scale = access.node.core.host.scaled(by: target.cpuScale).cpuScaleNote { notes.append(scale) }
            if let why = target.lastKnownGood { notes.append("in force since before its file broke: \(why)") }
            notes.append("root: \(ContainerRoot(ctid: target.record.ctid, paths: access.node.paths).path)")
            notes.append("ids on the host: \(target.record.idBase)…\(target.record.idBase + ContainerStart.idCount - 1)")
            if let process = seen.handle.process {
                notes.append("running, process 1 is \(process.pid) on the host")
                let lastSet = try access.node.core.lastSet(seen.handle)
                let settings = Facets.told(seen.container.settings, by: target.cpuScale) { lastSet }
                notes += settings.map { "\($0.field): \($0.value) (\($0.kernelName) \($0.kernelValue))" }
            } else {
                notes.append("not running")
            }
            print(notes.map { "# \($0)" }.joined(separator: "\n"))
            print(ManifestWriter.yaml(spec), terminator: "")
        }
    }

    private func printOrigins(_ access: NodeAccess) throws {
        let look = try access.look()
        guard
            let target = look.targets.first(where: { $0.record.name == name || String($0.record.ctid.number) == name })
        else {
            _ = try access.target(name)
            return
        }
        // Of a manifest that stays in force since before its file broke only the values are kept.
        let document = target.lastKnownGood == nil ? look.documents[target.record.name] : nil
        let kept = "kept since \(target.record.source.file) was accepted"
        var rows = ManifestWriter.values(target.record.accepted).map { path, value, isDefault in
            let place = document?.fieldLocations[path].map { "\($0.file):\($0.line)" }
            let origin = place ?? (isDefault ? "built-in" : document == nil ? kept : "built-in")
            return (path: path, value: value, origin: origin)
        }
        if let profile = document?.profile, let place = document?.fieldLocations["spec.profile"] {
            rows.insert(("spec.profile", profile, "\(place.file):\(place.line)"), at: 0)
        }
        if target.record.accepted.ctid == nil {
            rows.insert(("spec.ctid", "\(target.record.ctid)", "allocated by this node"), at: 0)
        }
        let paths = rows.map(\.path.count).max() ?? 0
        let values = min(rows.map(\.value.count).max() ?? 0, 40)
        for row in rows { print(row.path.padded(to: paths + 2) + row.value.padded(to: values + 2) + row.origin) }
    }
}

extension String {
    /// Filled up with blanks; a longer text gets two.
    fileprivate func padded(to width: Int) -> String { self + String(repeating: " ", count: max(width - count, 2)) }
}
