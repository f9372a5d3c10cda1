import Glibc
import Testing

@testable import VZKernel

/// Groups themselves: made, found, joined, emptied, removed.
@Suite(.enabled(if: mayUseControlGroups)) struct ControlGroupTests {
    @Test func theHostsHierarchiesAreFound() throws {
        let tree = try ControlGroupTree.discover()
        #expect(!tree.hierarchies.isEmpty)
        let names = tree.hierarchies.map(\.name)
        #expect(Set(names).count == names.count)
        for controller in [ControlGroupTree.Controller.cpu, .cpuacct, .cpuset, .memory, .freezer, .io, .pids] {
            #expect(tree.supports(controller), "\(tree.missing(controller) ?? "")")
            #expect(tree.missing(controller) == nil)
        }
        if tree.unified != nil, tree.hierarchies.count == 1 {
            #expect(!tree.supports(.devices))
            #expect(tree.missing(.devices)?.contains("BPF") == true)
        }
    }

    @Test func everySettingHasANameAndIsSupportedOrSaysWhy() throws {
        try withControlGroups { tree in
            for setting in ControlGroupTree.Setting.allCases {
                let name = tree.name(of: setting)
                #expect(name.contains("."))
                if let reason = tree.unsupported(setting) { #expect(reason.contains(name)) }
            }
            #expect(tree.unsupported(.pidsMax) == nil)
            #expect(tree.name(of: .cpuWeight) == (tree.version(of: .cpu) == .v1 ? "cpu.shares" : "cpu.weight"))
        }
    }

    @Test func aGroupComesAndGoes() throws {
        try withControlGroups { tree in
            let group = try tree.group("101")
            #expect(try !group.exists)
            #expect(try group.processes() == [])
            #expect(try !group.isPopulated())
            try group.remove()
            try group.killAll()
            #expect(try group.waitUntilEmpty(deadline: .now))

            try group.create()
            try group.create()
            #expect(try group.exists)
            try tree.group("102").create()
            #expect(try tree.groupNames() == ["101", "102"])
            #expect(try group.openTasksForJoining(unified: true).count == tree.hierarchies.count)
            #expect(try (group.openUnifiedDirectory() != nil) == (tree.unified != nil))

            try group.remove()
            try group.remove()
            #expect(try !group.exists)
            #expect(try tree.groupNames() == ["102"])
        }
    }

    @Test func createMakesTheParentToo() throws {
        let tree = try ControlGroupTree.discover(parent: ControlGroupTestNames.next())
        defer { cleanUpControlGroups(tree) }
        #expect(try tree.groupNames() == [])
        try tree.removeParent()
        let group = try tree.group("101")
        try group.create()
        let program = try GroupProgram(["/bin/cat"], in: group)
        #expect(try group.processes() == [program.process])
    }

    @Test(arguments: ["", ".", "..", "a/b", "../x", "cpu.max", "tasks", "a b", "ä", String(repeating: "x", count: 201)])
    func namesThatCouldMeanSomethingElseAreRefused(name: String) throws {
        let tree = try ControlGroupTree.discover()
        #expect { try tree.group(name) } throws: { ($0 as? KernelError)?.errno == EINVAL }
        #expect(throws: KernelError.self) { try ControlGroupTree.discover(parent: name) }
    }

    @Test func createAndRemoveAtOnce() async throws {
        let tree = try ControlGroupTree.discover(parent: ControlGroupTestNames.next())
        defer { cleanUpControlGroups(tree) }
        let group = try tree.group("101")
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            for _ in 1...4 { tasks.addTask { try group.create() } }
            try await tasks.waitForAll()
        }
        for hierarchy in tree.hierarchies { #expect(try hierarchy.openGroup("\(tree.parent)/101") != nil) }
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            for _ in 1...4 { tasks.addTask { try group.remove() } }
            try await tasks.waitForAll()
        }
        #expect(try !group.exists)
    }

    @Test func processesOfNestedGroupsCountAndAreEnded() throws {
        try withControlGroups { tree in
            let group = try tree.group("101")
            try group.create()
            let outer = try GroupProgram(["/bin/cat"], in: group)
            let inner = try GroupProgram(["/bin/cat"], in: group)
            // As a container would do it: groups within its own, and a process moved into one.
            for hierarchy in tree.hierarchies {
                let path = "\(tree.parent)/101/nested"
                try #require(mkdirat(hierarchy.directory.raw, path, 0o755) == 0)
                if hierarchy.version == .v1, hierarchy.controllers.contains(.cpuset) { try hierarchy.makeGroup(path) }
                try KernelFile.write("\(inner.process)", to: "\(path)/cgroup.procs", at: hierarchy.directory)
            }
            #expect(try group.processes() == [outer.process, inner.process].sorted())
            #expect(try group.isPopulated())
            #expect(try !group.waitUntilEmpty(deadline: .now + .milliseconds(20)))
            try group.killAll()
            #expect(try group.waitUntilEmpty(deadline: .now + .seconds(30)))
            #expect(outer.wait() == -SIGKILL)
            #expect(inner.wait() == -SIGKILL)
            #expect(try !group.isPopulated())
            try group.remove()
            #expect(try !group.exists)
        }
    }

    @Test func waitingEndsWithTheLastProcess() throws {
        try withControlGroups { tree in
            let group = try tree.group("101")
            try group.create()
            let program = try GroupProgram.python("import time; time.sleep(0.2)", in: group)
            let start = ContinuousClock.now
            #expect(try group.waitUntilEmpty(deadline: start + .seconds(60)))
            #expect(program.wait() == 0)
            #expect(start.duration(to: .now) < .seconds(30))
        }
    }

    @Test func removalNamesWhatIsLeft() throws {
        try withControlGroups { tree in
            let group = try tree.group("101")
            try group.create()
            let program = try GroupProgram(["/bin/cat"], in: group)
            #expect {
                try group.remove()
            } throws: { error in
                let text = String(describing: error)
                return (error as? KernelError)?.errno == EBUSY && text.contains("/\(tree.parent)/101")
                    && text.contains(String(program.process))
            }
            #expect(program.lives)
            #expect(throws: KernelError.self) { try tree.removeParent() }
        }
    }

    @Test func nestedGroupsOfAnyNameAndDepthAreRemoved() throws {
        try withControlGroups { tree in
            let group = try tree.group("101")
            try group.create()
            for hierarchy in tree.hierarchies {
                let top = try #require(try hierarchy.openGroup("\(tree.parent)/101"))
                for name in [[0x61, 0xff, 0xfe], [0x2d, 0x72, 0x66], [0x2e, 0x2e, 0x2e], [0x20]] as [[UInt8]] {
                    try #require(mkdirat(top.raw, name.map { CChar(bitPattern: $0) } + [0], 0o755) == 0)
                }
            }
            // Deeper than there are file descriptors, and than a path may be long.
            let name = String(repeating: "d", count: 100)
            let hierarchy = try #require(tree.unified ?? tree.hierarchies.first)
            var current = try #require(try hierarchy.openGroup("\(tree.parent)/101"))
            for _ in 1...60 {
                try #require(mkdirat(current.raw, name, 0o755) == 0)
                current = try Descriptor.open(name, O_RDONLY | O_DIRECTORY, at: current)
            }
            try group.remove()
            #expect(try !group.exists)
        }
    }

    @Test func neighboursStayAsTheyAre() throws {
        try withControlGroups { tree in
            let group = try tree.group("101")
            let neighbour = try tree.group("1010")
            try group.create()
            try neighbour.create()
            try neighbour.setPIDsMax(77)
            try neighbour.setCPUWeight(200)
            try neighbour.setLabel("who", Array("neighbour".utf8))
            let stranger = try GroupProgram(["/bin/cat"], in: neighbour)
            let victim = try GroupProgram(["/bin/cat"], in: group)

            try group.setPIDsMax(5)
            try group.killAll()
            #expect(try group.waitUntilEmpty(deadline: .now + .seconds(30)))
            #expect(victim.wait() == -SIGKILL)
            try group.remove()

            #expect(stranger.lives)
            #expect(try neighbour.processes() == [stranger.process])
            #expect(try neighbour.pidsMax() == 77)
            #expect(try neighbour.cpuWeight() == 200)
            #expect(try neighbour.label("who") == Array("neighbour".utf8))
        }
    }

    @Test func labelsLiveAndDieWithTheGroup() throws {
        try withControlGroups { tree in
            let group = try tree.group("101")
            #expect { try group.label("started") } throws: { ($0 as? KernelError)?.errno == ENOENT }
            #expect { try group.setLabel("started", []) } throws: { ($0 as? KernelError)?.errno == ENOENT }
            try group.create()
            #expect(try group.label("started") == nil)
            let long = (0..<3000).map { UInt8(truncatingIfNeeded: $0) }
            for value in [Array("12345".utf8), [], [0, 255, 10], long] {
                try group.setLabel("started", value)
                #expect(try group.label("started") == value)
            }
            #expect(try group.label("other") == nil)
            try group.remove()
            try group.create()
            #expect(try group.label("started") == nil)
        }
    }

    @Test func forkingWithoutEndDoesNotOutrunTheKill() throws {
        try withControlGroups { tree in
            try killForkBomb(in: tree)
        }
    }

    @Test(.enabled(if: hasV1)) func theSameWithoutAUnifiedHierarchy() throws {
        let file = try temporaryMountInfo { !$0.contains(" - cgroup2 ") }
        defer { unlink(file) }
        let tree = try ControlGroupTree.discover(parent: ControlGroupTestNames.next(), mountInfo: file)
        try tree.prepareParent()
        defer { cleanUpControlGroups(tree) }
        #expect(tree.unified == nil)
        try killForkBomb(in: tree)
    }

    private func killForkBomb(in tree: ControlGroupTree) throws {
        let group = try tree.group("101")
        try group.create()
        try group.setPIDsMax(40)
        let script = """
            import os, sys
            sys.stdout.write("go\\n"); sys.stdout.flush()
            while True:
                try: os.fork()
                except OSError: pass
            """
        let program = try GroupProgram.python(script, in: group)
        #expect(try program.line() == "go")
        try group.killAll()
        #expect(try group.waitUntilEmpty(deadline: .now + .seconds(60)))
        #expect(program.wait() == -SIGKILL)
        try group.remove()
        #expect(try !group.exists)
    }

    @Test func aMissingHierarchyLeavesTheRestWorking() throws {
        // Of v1 the hierarchy of pids alone; on v2 none.
        let file = try temporaryMountInfo { $0.contains(" - cgroup ") && $0.hasSuffix(",pids") }
        defer { unlink(file) }
        let tree = try ControlGroupTree.discover(parent: ControlGroupTestNames.next(), mountInfo: file)
        try tree.prepareParent()
        defer { cleanUpControlGroups(tree) }
        let group = try tree.group("101")
        try group.create()
        #expect(!tree.supports(.cpu))
        #expect(tree.missing(.cpu)?.contains("cpu") == true)
        #expect(tree.unsupported(.cpuWeight) == tree.missing(.cpu))
        #expect { try group.cpuWeight() } throws: { ($0 as? KernelError)?.errno == EOPNOTSUPP }
        #expect { try group.setMemory(max: 1 << 20, swap: nil) } throws: { ($0 as? KernelError)?.errno == EOPNOTSUPP }
        #expect(try group.usage().memory == nil)
        guard tree.supports(.pids) else {
            #expect(tree.hierarchies.isEmpty)
            #expect { try group.setLabel("x", []) } throws: { ($0 as? KernelError)?.errno == EOPNOTSUPP }
            return
        }
        try group.setPIDsMax(12)
        #expect(try group.pidsMax() == 12)
        try group.setLabel("x", [1])
        #expect(try group.label("x") == [1])
        #expect(try group.usage().pids == 0)
    }

    @Test(.enabled(if: pidsAreOnV2)) func aControllerThatIsNotHandedDownIsToldAsTheReason() throws {
        try withControlGroups { tree in
            let unified = try #require(tree.unified)
            try KernelFile.write("-pids", to: "\(tree.parent)/cgroup.subtree_control", at: unified.directory)
            #expect(tree.unsupported(.pidsMax)?.contains("write +pids to") == true)
            #expect(tree.unsupported(.cpuWeight) == nil)
            let group = try tree.group("101")
            try group.create()
            #expect { try group.setPIDsMax(5) } throws: { ($0 as? KernelError)?.errno == EOPNOTSUPP }
            #expect { try group.pidsMax() } throws: { ($0 as? KernelError)?.errno == EOPNOTSUPP }
            let usage = try group.usage()
            #expect(usage.pids == nil)
            #expect(usage.memory != nil)
            try tree.prepareParent()
            #expect(tree.unsupported(.pidsMax) == nil)
            try group.setPIDsMax(5)
            #expect(try group.pidsMax() == 5)
        }
    }

    @Test func aMountThatIsNoneIsToldAsTheReason() throws {
        let file = "/tmp/\(ControlGroupTestNames.next())"
        let lines = "32 31 0:29 / /nowhere rw - cgroup cgroup rw,memory\n33 31 0:30 / /proc rw - cgroup cgroup rw,cpu\n"
        try Descriptor.open(file, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600).writeAll(lines.utf8)
        defer { unlink(file) }
        let tree = try ControlGroupTree.discover(mountInfo: file)
        #expect(tree.hierarchies.isEmpty)
        #expect(tree.missing(.memory)?.contains("/nowhere") == true)
        #expect(tree.missing(.cpu)?.contains("No such file") == true)
        #expect(throws: KernelError.self) { try ControlGroupTree.discover(mountInfo: "/nowhere") }
    }

    private static var pidsAreOnV2: Bool { (try? ControlGroupTree.discover())?.version(of: .pids) == .v2 }
    private static var hasV1: Bool { (try? ControlGroupTree.discover())?.version(of: .freezer) == .v1 }

    /// The host's mounts without those that a test does not want.
    private func temporaryMountInfo(keeping: (Substring) -> Bool) throws -> String {
        let lines = try KernelFile.read("/proc/self/mountinfo").split(separator: "\n").filter(keeping)
        let file = "/tmp/\(ControlGroupTestNames.next())"
        try Descriptor.open(file, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600).writeAll(lines.joined(separator: "\n").utf8)
        return file
    }
}
