import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// `iolimit`, `iopslimit` and `ioprio`, on the disk of the tests and on a loop device.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct IOTests {
    /// The device under the node's roots.
    private func device(_ node: TestNode) throws -> BlockDevice {
        try #require(node.node().core.host.storage?.stack.tops.first)
    }

    private func storage(_ node: TestNode) throws -> RootStorage {
        let core = try node.node().core
        try core.lookAtHost()
        return try #require(core.host.storage)
    }

    /// The seconds that a script takes inside.
    private func seconds(_ node: TestNode, _ script: String) throws -> Double {
        let began = ContinuousClock.now
        _ = try node.output(script)
        return began.duration(to: .now) / .seconds(1)
    }

    private func settings(_ node: TestNode, _ field: String) throws -> [String] {
        try node.observe().container.settings.filter { $0.field == field }.map { "\($0.kernelValue)" }
    }

    // MARK: Limits

    @Test func iolimitHoldsReadsAndWrites() throws {
        try withNode { node in
            let process = try node.start("web", ctid: 101, "iolimit: 1M")
            let write = "dd if=/dev/zero of=/file bs=64k count=48 oflag=direct 2>/dev/null"
            let read = "dd if=/file of=/dev/null bs=64k iflag=direct 2>/dev/null"
            // 3 MiB in 3 s: half as long would be twice the limit.
            for script in [write, read] {
                let took = try seconds(node, script)
                #expect((1.8...12).contains(took), "\(script): \(took) s")
            }
            #expect(try settings(node, "iolimit") == ["1048576"])
            // 0 takes it away again, from the kernel too.
            try node.declare("web", "ctid: 101\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]\niolimit: 0")
            #expect(try node.apply().containers.flatMap(\.changes).map(\.disruption) == [.live])
            #expect(try node.group().ioLimits().isEmpty)
            #expect(try node.running()?.pid == process.pid)
        }
    }

    @Test func iopslimitHoldsOperations() throws {
        try withNode { node in
            try node.start("web", ctid: 101, "iopslimit: 40")
            let write = "dd if=/dev/zero of=/file bs=4k count=120 oflag=direct 2>/dev/null"
            let read = "dd if=/file of=/dev/null bs=4k iflag=direct 2>/dev/null"
            for script in [write, read] {
                let took = try seconds(node, script)
                #expect((1.8...12).contains(took), "\(script): \(took) s")
            }
            #expect(try settings(node, "iopslimit") == ["40"])
            #expect(try settings(node, "iolimit") == ["max"])
        }
    }

    @Test func limitsChangeWhileItWrites() throws {
        try withNode { node in
            let writer = "init: [/bin/dd, if=/dev/zero, of=/file, bs=64k, count=4000, oflag=direct]\n"
            let process = try node.start("web", ctid: 101, writer + "iolimit: 512K")
            func size() throws -> Int { Int(try TestFile.status(node.root() + "/file").st_size) }
            func declare(_ line: String) throws {
                try node.declare("web", "ctid: 101\ntemplate: busybox\n" + writer + line)
                try node.apply()
            }
            let began = ContinuousClock.now
            try TestPlace.wait("2 MiB written") { try TestFile.exists(node.root() + "/file") && size() >= 2 << 20 }
            let slow = began.duration(to: .now) / .seconds(1)
            #expect(slow > 2, "\(slow) s for 2 MiB at 512 KiB a second")
            // Freed, it writes in no time what it would take minutes for.
            let before = try size()
            try declare("iolimit: 0")
            try TestPlace.wait("80 MiB more") { try size() > before + 80 << 20 }
            #expect(try node.running()?.pid == process.pid)
            // Bound again in the middle of it.
            try declare("iolimit: 512K")
            let (then, bound) = (ContinuousClock.now, try size())
            try TestPlace.wait("1 MiB more, or the end") { try size() >= bound + 1 << 20 || size() == 4000 << 16 }
            let passed = then.duration(to: .now) / .seconds(1)
            let rate = Double(try size() - bound) / passed
            #expect(try size() == 4000 << 16 || rate < 1.5 * 1024 * 1024, "\(rate) bytes a second")
            #expect(try node.plan().isEmpty)
        }
    }

    @Test func aLimitIsDriftWhenSomebodyElseChangesIt() throws {
        try withNode { node in
            try node.start("web", ctid: 101, "iolimit: 2M\niopslimit: 100")
            let device = try device(node)
            let group = try node.group()
            try group.setIOBytes(5_000_000, on: device.number)
            try group.setIOOperations(nil, on: device.number)
            let plan = try node.plan()
            let changes = plan.containers.flatMap(\.changes)
            #expect(changes.map(\.field) == ["iolimit", "iopslimit"], "\(plan.text())")
            #expect(changes.allSatisfy { $0.reason == .drift })
            #expect(plan.text().contains("→ 2M each for reads and writes"), "\(plan.text())")
            try node.apply()
            #expect(
                try group.ioLimits() == [
                    device.number: IOLimits(
                        readBytes: 2 << 20, writeBytes: 2 << 20, readOperations: 100, writeOperations: 100)
                ])
            #expect(try node.plan().isEmpty)
        }
    }

    // MARK: Where the root is

    /// A file system in a file, on a loop device. The mount is the caller's to end, and the loop device ends with it.
    private func mountLoop(_ node: TestNode, at place: String) throws {
        let image = node.directory + "/image"
        try Command.run(["truncate", "-s", "96M", image])
        try Command.run(["mkfs.ext4", "-q", "-F", image])
        try Descriptor.makeDirectories(place)
        try Command.run(["mount", "-o", "loop", image, place])
    }

    private func stopAll(_ node: TestNode) throws {
        for ctid in try node.node().core.present() {
            let group = try node.group(ctid.number)
            try group.killAll()
            _ = try group.waitUntilEmpty(deadline: .now + .seconds(30))
            try group.remove()
        }
    }

    /// Also when the body fails: the containers end, and nothing stays mounted.
    private func withMount(_ node: TestNode, _ place: String, _ body: () throws -> Void) throws {
        defer {
            #expect(throws: Never.self) {
                try stopAll(node)
                try Command.run(["umount", place])
            }
        }
        try body()
    }

    @Test func aRootOnALoopDeviceIsLimitedThere() throws {
        try withNode { node in
            try mountLoop(node, at: node.paths.containers)
            try withMount(node, node.paths.containers) {
                try node.start("web", ctid: 101, "iolimit: 1M")
                let loop = try device(node)
                #expect(loop.name.hasPrefix("loop"))
                let took = try seconds(node, "dd if=/dev/zero of=/file bs=64k count=48 oflag=direct 2>/dev/null")
                #expect((1.8...12).contains(took), "\(took) s")

                // What another device was given goes when the root is no longer on it, as drift does.
                let disk = try #require(storage(node).stack.disks.first)
                try #require(disk != loop)
                try node.group().setIOBytes(1_000_000, on: disk.number)
                #expect(try node.plan().containers.flatMap(\.changes).map(\.field) == ["iolimit"])
                try node.apply()
                #expect(try Array(node.group().ioLimits().keys) == [loop.number])
            }
        }
    }

    @Test func oneRootElsewhereIsLimitedElsewhere() throws {
        try withNode { node in
            try node.start("web", ctid: 101, "iolimit: 3M")
            try node.start("db", ctid: 102, "iolimit: 3M")
            let common = try device(node)
            try stopAll(node)
            // The same root, moved to a file system of its own.
            let aside = node.directory + "/aside"
            try mountLoop(node, at: aside)
            try Command.run(["cp", "-a", node.root(101) + "/.", aside])
            try Command.run(["chown", "0:0", aside])
            try Command.run(["mount", "--move", aside, node.root(101)])
            try withMount(node, node.root(101)) {
                try node.apply()
                let own = try #require(node.node().core.host.otherStorage["101"]?.stack.tops.first)
                #expect(own != common)
                #expect(try Array(node.group(101).ioLimits().keys) == [own.number])
                #expect(try Array(node.group(102).ioLimits().keys) == [common.number])
                #expect(try node.plan().isEmpty)
            }
        }
    }

    @Test func whatCannotBeLimitedIsToldAndTheRestIsDone() throws {
        try withNode { node in
            try Descriptor.makeDirectories(node.paths.containers)
            try Command.run(["mount", "-t", "tmpfs", "tmpfs", node.paths.containers])
            try withMount(node, node.paths.containers) {
                try node.declare(
                    "web",
                    "ctid: 101\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]\niolimit: 1M\niopslimit: 5\nioprio: 7\ncpuunits: 2000"
                )
                let plan = try node.plan()
                let told = plan.containers.flatMap(\.unsupported)
                #expect(Set(told.map(\.field)) == ["ioprio", "iolimit", "iopslimit"], "\(plan.text())")
                #expect(told.allSatisfy { $0.reason.contains("the root is on tmpfs, which is on no block device") }, "\(told)")
                // Linux 6.3 and later map the ids of tmpfs: there the container starts, with all else.
                guard let release = try? KernelFile.read("/proc/sys/kernel/osrelease"), Doctor.isAtLeast((6, 3), release) else {
                    return
                }
                try node.apply()
                #expect(try node.running() != nil)
                #expect(try node.group().cpuWeight() == node.controlGroups.cpuWeightScale.default * 2)
                #expect(try node.plan().isEmpty)
            }
        }
    }

    // MARK: Weights

    @Test func weightsThatDoNotActAreToldOnlyToWhoAsks() throws {
        try withNode { node in
            try node.declare("web", "ctid: 101\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]")
            let device = try device(node)
            guard case .nothing(let reason) = try storage(node).sharing else { return }
            #expect(try node.plan().containers.flatMap(\.unsupported).isEmpty)
            try node.declare("web", "ctid: 101\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]\nioprio: 6")
            let told = try node.plan().containers.flatMap(\.unsupported).filter { $0.field == "ioprio" }
            #expect(told.map(\.reason) == [reason])
            #expect(reason.contains("weights do not act on \(device.name) (scheduler"), "\(reason)")
            let doctor = try node.vzctl("doctor")
            #expect(doctor.output.contains("weights do not act on \(device.name)"), "\(doctor)")
        }
    }

    @Test func bfqOfALoopDeviceIsMadeStrict() throws {
        try withNode { node in
            guard try node.node().core.host.supports(.ioWeight) else { return }
            try mountLoop(node, at: node.paths.containers)
            try withMount(node, node.paths.containers) {
                let loop = try #require(storage(node).stack.tops.first)
                _ = try? Command.run(["modprobe", "-q", "bfq"])
                // A loop device keeps its scheduler, and that one its settings, for the next file.
                let scheduler = "/sys/dev/block/\(loop.number)/queue/scheduler"
                let before = loop.scheduler ?? "none"
                try KernelFile.write("none", to: scheduler)
                try KernelFile.write("bfq", to: scheduler)
                defer { #expect(throws: Never.self) { try KernelFile.write(before == "bfq" ? "none" : before, to: scheduler) } }
                #expect(BFQ.keepsToWeights(on: loop) == false)
                try node.start("web", ctid: 101, "ioprio: 4")
                #expect(BFQ.keepsToWeights(on: loop) == false, "nobody asked for a share")
                try node.start("web", ctid: 101, "ioprio: 7")
                #expect(BFQ.keepsToWeights(on: loop) == true)
                #expect(try settings(node, "ioprio") == ["640", "\(loop.name) on"])
                #expect(try node.plan().isEmpty)
                for (name, value) in [("strict_guarantees", "0"), ("low_latency", "1")] {
                    try KernelFile.write(value, to: "/sys/dev/block/\(loop.number)/queue/iosched/\(name)")
                    let plan = try node.plan()
                    #expect(plan.text().contains("drifted weights act nowhere → weights act on \(loop.name)"), "\(plan.text())")
                    try node.apply()
                    #expect(BFQ.keepsToWeights(on: loop) == true)
                }
            }
        }
    }

    private static var hasIOCost: Bool { (try? ControlGroupTree.discover())?.hasIOCost == true }

    @Test(.enabled(if: hasIOCost)) func ioCostSharesADiskByTheModelThatWasGiven() throws {
        try withNode { node in
            let tree = node.controlGroups
            guard case .ioCost(let disks) = try storage(node).sharing, let disk = disks.first else { return }
            defer { #expect(throws: Never.self) { try tree.disableIOCost(on: disk) } }
            let model = "rbps=4000000 rseqiops=400 rrandiops=400 wbps=4000000 wseqiops=400 wrandiops=400"
            try TestFile.write("\(disk.name): nonsense\n", to: node.paths.ioCost)
            let writer = "init: [/bin/sh, -c, \"while :; do dd if=/dev/zero of=/file bs=64k count=4000 oflag=direct; done\"]\n"
            #expect { try node.start("web", ctid: 101, "ioprio: 0\n" + writer) } throws: { "\($0)".contains("expected rbps=") }
            try TestFile.write("# given\n\(disk.name): \(model)\n", to: node.paths.ioCost)
            try node.start("web", ctid: 101, "ioprio: 0\n" + writer)
            try node.start("db", ctid: 102, "ioprio: 7\n" + writer)
            #expect(try tree.ioCostDevices() == [disk.number])
            func sizes() throws -> [Int] {
                try [101, 102].map { ctid in Int(try TestFile.status(node.root(ctid) + "/file").st_size) }
            }
            TestPlace.wait("both write") { [101, 102].allSatisfy { TestFile.exists(node.root($0) + "/file") } }
            let before = try sizes()
            var after = before
            try TestPlace.wait("24 MB more") {
                after = try sizes()
                return after[0] + after[1] - before[0] - before[1] > 24_000_000
            }
            let ratio = Double(after[1] - before[1]) / Double(max(after[0] - before[0], 1))
            #expect((1.4...2.8).contains(ratio), "\(ratio), expected 2")

            try tree.disableIOCost(on: disk)
            #expect(try node.plan().containers.flatMap(\.changes).map(\.reason) == [.drift, .drift])
            try node.apply()
            #expect(try tree.ioCostDevices() == [disk.number])
            #expect(try node.plan().isEmpty)
        }
    }

    @Test(.enabled(if: hasIOCost)) func aDiskIsMeasuredOnce() throws {
        try withNode { node in
            let tree = node.controlGroups
            guard case .ioCost(let disks) = try storage(node).sharing, let disk = disks.first else { return }
            defer { #expect(throws: Never.self) { try tree.disableIOCost(on: disk) } }
            try node.start("web", ctid: 101, "ioprio: 7")
            let text = try TestFile.read(node.paths.ioCost)
            #expect(text.hasPrefix("\(disk.name): rbps="), "\(text)")
            #expect(IOCostModel(text: text.split(separator: "\n")[0].dropFirst(disk.name.count + 1)) != nil)
            try tree.disableIOCost(on: disk)
            try node.apply()
            #expect(try TestFile.read(node.paths.ioCost) == text)
        }
    }
}
