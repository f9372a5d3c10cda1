import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// What must be refused, or done without: each with a message that names it, and with nothing changed.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct BadInputTests {
    private static let base = "ctid: 101\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]\n"

    /// Everything below a directory, by find(1): names, types, sizes, modes and times.
    private func listing(_ path: String) throws -> String {
        try Command.run(["find", path, "-printf", "%p %y %s %m %C@\\n"])
    }

    @Test(arguments: ["proc", "dev", "sys"]) func aMountPointThatLeadsElsewhereIsRefused(name: String) throws {
        try withNode { node in
            try node.start()
            let outside = node.directory + "/outside"
            try Descriptor.makeDirectories(outside)
            let point = "\(node.root())/\(name)"
            for kind in ["absolute link", "relative link", "dangling link", "file"] {
                try node.declare("web", "ctid: 101\nstate: stopped")
                try node.apply()
                try Command.run(["rm", "-rf", "--one-file-system", "--", point])
                switch kind {
                case "absolute link": #expect(symlink(outside, point) == 0)
                case "relative link": #expect(symlink("../../../../outside", point) == 0)
                case "dangling link": #expect(symlink(outside + "/none", point) == 0)
                default: try TestFile.write("", to: point)
                }
                let before = try listing(outside)
                let mounts = try KernelFile.read("/proc/self/mountinfo")
                try node.declare("web", Self.base)
                #expect { try node.apply() } throws: {
                    "\($0)".contains("use /\(name) of the root of CT 101 as a mount point") && "\($0)".contains(point)
                }
                #expect(try listing(outside) == before, "\(kind)")
                #expect(try KernelFile.read("/proc/self/mountinfo") == mounts)
                #expect(try !node.group().exists)
                #expect(try node.running() == nil)
            }
            // A directory again: nothing of it lingers.
            #expect(unlink(point) == 0)
            try node.apply()
            #expect(try node.running() != nil)
        }
    }

    @Test func aRootThatIsALinkIsRefused() throws {
        try withNode { node in
            let outside = node.directory + "/outside"
            try Descriptor.makeDirectories(outside)
            try Descriptor.makeDirectories("\(node.paths.containers)/101")
            #expect(symlink(outside, node.root()) == 0)
            try node.declare("web", Self.base)
            #expect { try node.apply() } throws: { "\($0)".contains("open the root of CT 101 at \(node.root())") }
            #expect(try Descriptor.open(outside, O_RDONLY | O_DIRECTORY).names() == [])
        }
    }

    /// Devices inside are ours even when the container's root has an own idea of them.
    @Test func whatARootBringsAlongInDevMeansNothing() throws {
        try withNode { node in
            try node.start()
            try node.declare("web", "ctid: 101\nstate: stopped")
            try node.apply()
            let null = node.root() + "/dev/null"
            #expect(symlink("/etc/passwd", null) == 0)
            #expect(mknod(node.root() + "/zero", S_IFCHR | 0o666, dev_t(1 << 8 | 5)) == 0)
            try node.declare("web", Self.base)
            try node.apply()
            #expect(try node.output("stat -c %t:%T /dev/null") == "1:3")
            #expect(try node.sh("head -c 1 /zero").1.contains("Permission denied"))
        }
    }

    @Test func anInitThatIsNotThere() throws {
        try withNode { node in
            for (program, error) in [("/no/such", ENOENT), ("/etc/passwd", EACCES), ("/bin", EACCES)] {
                try node.declare("web", "ctid: 101\ntemplate: busybox\ninit: [\(program)]")
                #expect { try node.apply() } throws: {
                    ($0 as? KernelError)?.errno == error && "\($0)".hasPrefix("execute \"\(program)\": ")
                }
                #expect(try !node.group().exists)
            }
            #expect(try node.plan().containers.flatMap(\.changes).map(\.action).contains(.start))
        }
    }

    @Test func aTemplateThatIsNotThere() throws {
        try withNode { node in
            try node.declare("web", "ctid: 101\ntemplate: nosuch")
            #expect { try node.apply() } throws: {
                "\($0)".contains("find template \"nosuch\"") && "\($0)".contains("vzctl template create nosuch --from PATH")
            }
            #expect(try !node.group().exists)
            #expect(try Descriptor.open("\(node.paths.containers)/101", O_RDONLY | O_DIRECTORY).names() == [])
            #expect(try node.node().core.present() == [])
        }
    }

    /// The hierarchies that this process sees are what `mountInfo` says: the file is cut as a host would be that lacks some.
    @Test func aHierarchyThatIsMissingIsToldAndTheRestWorks() throws {
        try withNode { node in
            let discovered = node.controlGroups
            guard discovered.version(of: .pids) == .v1 else { return try aControllerThatIsOff(node) }
            let lines = try KernelFile.read("/proc/self/mountinfo").split(separator: "\n").filter { line in
                !(line.contains(" - cgroup ") && (line.hasSuffix(",pids") || line.hasSuffix(",memory")))
            }
            let file = node.directory + "/mountinfo"
            try TestFile.write(lines.joined(separator: "\n"), to: file)
            let tree = try ControlGroupTree.discover(parent: node.paths.controlGroup, mountInfo: file)
            let core = IsolationCore(paths: node.paths, tree: tree, host: try HostCapabilities(preparing: tree))
            try check(core, missing: ["beancounters.numproc", "ram", "swap"], "no mounted cgroup hierarchy has the controller")
        }
    }

    private func aControllerThatIsOff(_ node: TestNode) throws {
        let tree = node.controlGroups
        try tree.prepareParent()
        let unified = try #require(tree.unified)
        try KernelFile.write("-pids", to: "\(tree.parent)/cgroup.subtree_control", at: unified.directory)
        let core = IsolationCore(paths: node.paths, tree: tree, host: try HostCapabilities(tree))
        try check(core, missing: ["beancounters.numproc"], "the controller pids is not enabled")
    }

    private func check(_ core: IsolationCore, missing: [String], _ reason: String) throws {
        let ctid = try #require(ContainerID(101))
        var spec = ContainerSpec(name: "web", ctid: ctid, template: "busybox", init: ["/bin/sleep", "1000000"])
        spec.cpuunits = 3000
        (spec.ram, spec.swap) = (64 << 20, 32 << 20)
        spec.beancounters[.numproc] = BarrierLimit(both: 60)
        let wish = Facets.wish(for: spec, on: core.host)
        #expect(Set(wish.unsupported.map(\.field)) == Set(missing))
        #expect(wish.unsupported.allSatisfy { $0.reason.contains(reason) }, "\(wish.unsupported)")
        let desired = DesiredContainer(
            ctid: ctid, name: "web", source: "web.yaml:1", state: .running, template: spec.template,
            start: StartParameters(init: spec.`init`, env: [:]), wish: wish)
        let before = try core.observe(ctid)
        try core.execute(
            Planner.changes(from: before.container, to: desired), on: before.handle, for: desired, idBase: 0x7100_0000)
        let after = try core.observe(ctid)
        #expect(after.container.isRunning)
        #expect(Planner.changes(from: after.container, to: desired) == [])
        #expect(after.container.settings.first { $0.field == "cpuunits" }?.value == "3000")
        #expect(after.container.settings.allSatisfy { !missing.contains($0.field) })
        var stopped = desired
        stopped.state = .stopped
        try core.execute(
            Planner.changes(from: after.container, to: stopped), on: after.handle, for: stopped, idBase: 0x7100_0000)
        #expect(try core.present() == [])
    }

    @Test func withoutRootNothingButLookingAtManifests() throws {
        try withNode { node in
            try node.declare("web", Self.base)
            // Where a user can reach them, as they are when installed.
            let programs = node.directory + "/bin"
            try Descriptor.makeDirectories(programs)
            for program in ["vzctl", "vzd"] { try Command.run(["ln", "-s", "\(TestPlace.programs)/\(program)", programs]) }
            try Command.run(["chmod", "755", node.directory, TestPlace.directory, programs, node.paths.manifests[0]])
            let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]
            let validate = try node.run(nobody + ["\(programs)/vzctl", "validate", node.paths.manifests[0]])
            #expect(validate.exit == .code(0), "\(validate)")
            #expect(validate.output == "1 file: 1 valid document, 0 mistakes\n")
            for verb in [["plan"], ["apply"], ["list"], ["stop", "web"], ["exec", "web", "id"]] {
                let refused = try node.run(nobody + ["\(programs)/vzctl"] + verb)
                #expect(refused.exit == .code(77), "\(verb): \(refused)")
                #expect(refused.errors == "vzctl: this verb needs root: run it as root\n")
                #expect(refused.output == "")
            }
            let daemon = try node.run(nobody + ["\(programs)/vzd"])
            #expect(daemon.exit == .code(77) && daemon.errors.contains("vzd needs root"), "\(daemon)")
            #expect(try Descriptor.open(node.paths.state, O_RDONLY | O_DIRECTORY).names() == ["template"])
            #expect(try Descriptor.open(node.paths.run, O_RDONLY | O_DIRECTORY).names() == [])
            for hierarchy in node.controlGroups.hierarchies {
                #expect(faccessat(hierarchy.directory.raw, node.paths.controlGroup, F_OK, 0) < 0)
            }
        }
    }

    /// A group of somebody else's stays, whatever it is called and wherever it lies.
    @Test func groupsOfOthersStayAsTheyAre() throws {
        try withNode { node in
            let tree = node.controlGroups
            try tree.prepareParent()
            let stranger = try ControlGroupTree.discover(parent: ControlGroupTestNames.next())
            try stranger.prepareParent()
            defer { cleanUpControlGroups(stranger) }
            let beside = try stranger.group("101")
            let inside = try tree.group("not-a-ctid")
            for group in [beside, inside] {
                try group.create()
                try group.setPIDsMax(77)
            }
            let program = try GroupProgram(["/bin/cat"], in: inside)
            let neighbour = try GroupProgram(["/bin/cat"], in: beside)

            let process = try node.start("web", ctid: 101)
            try node.declare("web", "ctid: 101\nstate: stopped")
            try node.apply()
            #expect(!process.isRunning)
            try node.removeManifest("web.yaml")
            try node.apply()
            #expect(program.lives && neighbour.lives)
            #expect(try beside.pidsMax() == 77 && inside.pidsMax() == 77)
            #expect(try tree.groupNames() == ["not-a-ctid"])
            #expect(try inside.processes() == [program.process])
        }
    }
}
