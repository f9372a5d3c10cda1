internal import ArgumentParser
internal import Glibc
internal import VZIsolation
internal import VZKernel
internal import VZManifest
internal import VZModel
internal import VZPlan
internal import VZReconciler

/// `vzctl capacity`: OpenVZ's vzmemcheck and vzcpucheck over manifests.
struct CapacityCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "capacity",
        abstract: "Show what all containers hold, are promised and allowed, as parts of what this host has.",
        discussion: """
            Promises and limits are reckoned from the manifests. What is held is observed in the kernel, by root, and without FILE \
            arguments only; "-" stands for what is not known and for a container that does not run. The allocations held are what \
            processes may write and share with no one, an upper estimate of OpenVZ's privvmpages. Promises that add up to more than \
            the host has are told on standard error.
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
            print(Capacity.memoryTable(specs, held: try files.isEmpty && geteuid() == 0 ? held(by: specs) : [:], host: host))
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

    /// What those of the containers hold that run, by name. One runs as a spec's when it has its CTID, or the name where there is none.
    private func held(by specs: [ContainerSpec]) throws -> [String: Capacity.Held] {
        let core = try IsolationCore(paths: NodePaths(environment: Node.environment), preparing: false)
        var byID: [ContainerID: Capacity.Held] = [:]
        var byName: [String: Capacity.Held] = [:]
        for ctid in try core.present() {
            let seen = try core.observe(ctid)
            guard seen.container.isRunning, let held = try Self.held(in: seen.handle.group) else { continue }
            byID[ctid] = held
            if let name = core.name(of: ctid) { byName[name] = held }
        }
        return specs.reduce(into: [:]) { all, spec in all[spec.name] = spec.ctid.map { byID[$0] } ?? byName[spec.name] }
    }

    /// `nil` when the group has gone.
    private static func held(in group: ControlGroup) throws -> Capacity.Held? {
        do throws(KernelError) {
            let usage = try group.usage()
            return Capacity.Held(
                kernel: usage.kernel, ram: usage.memory, swap: usage.swap, allocations: try group.allocations(),
                processes: usage.pids)
        } catch {
            guard error.errno == ENOENT else { throw error }
            return nil
        }
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
