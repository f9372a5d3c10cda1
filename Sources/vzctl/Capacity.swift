internal import ArgumentParser
internal import VZIsolation
internal import VZKernel
internal import VZManifest
internal import VZModel
internal import VZReconciler

/// `vzctl capacity`: OpenVZ's vzmemcheck and vzcpucheck over manifests.
struct CapacityCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "capacity",
        abstract: "Show what all containers are promised and allowed, as parts of what this host has.",
        discussion: """
            Reckoned from the manifests; what runs is not looked at. Promises that add up to more than the host has are told on \
            standard error.
            Exit status: 0; 65 a manifest is invalid: the valid ones are reckoned; 66 a file cannot be read.
            """)

    @Argument(help: "Files of manifests instead of the node's own.", completion: .file())
    var files: [String] = []

    func run() throws {
        try report {
            var ending = Ending()
            let set = ManifestSet.compose(read(&ending))
            let mistakes = set.diagnostics.filter { $0.severity == .error }
            for mistake in mistakes { say(mistake.description) }
            if !mistakes.isEmpty { ending.note(ExitStatus.invalidData.rawValue) }
            let specs = set.documents.map(\.spec)
            let host = try HostFigures.ofThisHost()
            print(Capacity.memoryTable(specs, host: host))
            print("")
            print(Capacity.cpuTable(specs, host: host))
            for finding in Capacity.warnings(for: specs, host: host) { say("vzctl: \(finding)") }
            if !ending.isGood { throw ending.code }
        }
    }

    private func read(_ ending: inout Ending) -> [ManifestFile] {
        if !files.isEmpty { return files.compactMap { path in ending.read(path).map { ManifestFile(path: path, bytes: $0) } } }
        let reading = ManifestDirectory(paths: NodePaths(environment: Node.environment).manifests).read()
        for problem in reading.problems {
            say("\(problem)")
            ending.note(ExitStatus.invalidData.rawValue)
        }
        return reading.files
    }
}

extension HostFigures {
    /// What `/proc` says of this host.
    static func ofThisHost() throws(KernelError) -> HostFigures {
        HostFigures(
            meminfo: try KernelFile.read("/proc/meminfo"), cpuinfo: try KernelFile.read("/proc/cpuinfo"),
            threadsMax: try KernelFile.read("/proc/sys/kernel/threads-max"))
    }
}
