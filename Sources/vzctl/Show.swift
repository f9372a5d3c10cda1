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

    func run() throws {
        try report {
            let access = try NodeAccess(changing: false)
            let target = try access.target(name)
            let seen = try access.node.core.observe(target.record.ctid)
            var spec = target.record.accepted
            spec.ctid = target.record.ctid
            var notes = ["source: \(target.desired.source)"]
            if let why = target.lastKnownGood { notes.append("in force since before its file broke: \(why)") }
            notes.append("root: \(ContainerRoot(ctid: target.record.ctid, paths: access.node.paths).path)")
            notes.append("ids on the host: \(target.record.idBase)…\(target.record.idBase + ContainerStart.idCount - 1)")
            if let process = seen.handle.process {
                notes.append("running, process 1 is \(process.pid) on the host")
                notes += seen.container.settings.map { "\($0.field): \($0.value) (\($0.kernelName) \($0.kernelValue))" }
            } else {
                notes.append("not running")
            }
            print(notes.map { "# \($0)" }.joined(separator: "\n"))
            print(ManifestWriter.yaml(spec), terminator: "")
        }
    }
}
