import Glibc
import Testing

@testable import VZKernel

/// From the number of a file system down to the disks: as sysfs describes them, and sysfs itself in a directory of ours.
@Suite struct BlockDeviceTests {
    private static let host: [String: BlockDeviceEntry] = [
        "254:0": BlockDeviceEntry(name: "vda", scheduler: "mq-deadline"),
        "254:1": BlockDeviceEntry(name: "vda1", disk: "254:0"),
        "8:0": BlockDeviceEntry(name: "sda", scheduler: "bfq"),
        "8:2": BlockDeviceEntry(name: "sda2", disk: "8:0"),
        "7:0": BlockDeviceEntry(name: "loop0", backing: "254:1", scheduler: "none"),
        "7:1": BlockDeviceEntry(name: "loop1", backing: "0:30", scheduler: "none"),
        "7:2": BlockDeviceEntry(name: "loop2", backing: "253:0", scheduler: "none"),
        "253:0": BlockDeviceEntry(name: "dm-0", slaves: ["254:1", "8:2"]),
        "253:1": BlockDeviceEntry(name: "dm-1", slaves: ["253:0"]),
        "253:2": BlockDeviceEntry(name: "dm-2", slaves: ["7:0"]),
        "253:8": BlockDeviceEntry(name: "dm-8", slaves: ["253:9"]),
        "253:9": BlockDeviceEntry(name: "dm-9", slaves: ["253:8"]),
    ]

    @Test(arguments: [
        (["254:0"], ["vda"], ["vda"], ["vda"]), (["254:1"], ["vda"], ["vda"], ["vda"]),
        // The loop device itself has a scheduler; the disk below its file is what it all comes to.
        (["7:0"], ["loop0"], ["loop0"], ["vda"]), (["7:1"], ["loop1"], ["loop1"], ["loop1"]),
        (["7:2"], ["loop2"], ["loop2"], ["sda", "vda"]),
        // Device mapper has none.
        (["253:0"], ["dm-0"], ["sda", "vda"], ["sda", "vda"]), (["253:1"], ["dm-1"], ["sda", "vda"], ["sda", "vda"]),
        (["253:2"], ["dm-2"], ["loop0"], ["vda"]),
        // A file system on several.
        (["8:2", "254:1"], ["sda", "vda"], ["sda", "vda"], ["sda", "vda"]),
        // Not known at all; in a circle, which the kernel never says.
        (["0:30"], [], [], []), (["9:9"], [], [], []), (["253:8"], ["dm-8"], [], []),
    ])
    func stacks(_ numbers: [String], _ tops: [String], _ queues: [String], _ disks: [String]) {
        let stack = BlockStack(under: numbers) { Self.host[$0] }
        #expect(stack.tops.map(\.name) == tops)
        #expect(stack.queues.map(\.name) == queues)
        #expect(stack.disks.map(\.name) == disks)
    }

    @Test(arguments: [
        ("none [mq-deadline] kyber bfq", "mq-deadline"), ("[none]", "none"), ("[bfq] none", "bfq"), ("none", nil), ("", nil),
    ])
    func schedulers(_ text: String, _ active: String?) {
        #expect(BlockDeviceReader.active(text) == active)
    }

    // MARK: A sysfs of our own

    private func withSysfs(_ body: (_ sys: String) throws -> Void) throws {
        let top = "\(TestPlace.directory)/\(ControlGroupTestNames.next())"
        defer { _ = try? Command.run(["rm", "-rf", "--one-file-system", "--", top]) }
        let sys = top + "/sys"
        func file(_ path: String, _ text: String) throws {
            let parent = path.split(separator: "/").dropLast().joined(separator: "/")
            try Descriptor.makeDirectories("\(sys)/\(parent)")
            try TestFile.write(text + "\n", to: "\(sys)/\(path)")
        }
        func link(_ path: String, _ target: String) throws {
            let parent = path.split(separator: "/").dropLast().joined(separator: "/")
            try Descriptor.makeDirectories("\(sys)/\(parent)")
            if symlink("\(sys)/\(target)", "\(sys)/\(path)") != 0 { throw KernelError("link", errno: errno) }
        }
        for (path, number, name) in [
            ("vda", "254:0", "vda"), ("vda/vda1", "254:1", "vda1"), ("dm-0", "253:0", "dm-0"), ("loop0", "7:0", "loop0"),
            ("vdb", "254:16", "vdb"),
        ] {
            try file("devices/\(path)/uevent", "MAJOR=0\nDEVNAME=\(name)\nDEVTYPE=disk")
            try file("devices/\(path)/dev", number)
            try link("dev/block/\(number)", "devices/\(path)")
            try link("class/block/\(name)", "devices/\(path)")
        }
        try file("devices/vda/vda1/partition", "1")
        try file("devices/vda/queue/scheduler", "[none] mq-deadline")
        try file("devices/vdb/queue/scheduler", "none [bfq]")
        try file("devices/loop0/queue/scheduler", "[none]")
        try link("devices/dm-0/slaves/vda1", "devices/vda/vda1")
        try file("fs/btrfs/0000-1111/label", "")
        try link("fs/btrfs/0000-1111/devices/vda1", "devices/vda/vda1")
        try link("fs/btrfs/0000-1111/devices/vdb", "devices/vdb")
        try body(sys)
    }

    @Test func sysfsIsRead() throws {
        try withSysfs { sys in
            let reader = BlockDeviceReader(sys: sys, mountInfo: "/proc/self/mountinfo")
            let vda = BlockDevice(number: "254:0", name: "vda", scheduler: "none")
            let vdb = BlockDevice(number: "254:16", name: "vdb", scheduler: "bfq")
            let (part, none) = (try reader.entry("254:1"), try reader.entry("1:1"))
            #expect(part == BlockDeviceEntry(name: "vda1", disk: "254:0") && none == nil)
            let (onPart, onMapped) = (try reader.devices(under: "/", on: "254:1"), try reader.devices(under: "/", on: "253:0"))
            #expect(onPart.stack == BlockStack(tops: [vda], queues: [vda], disks: [vda]))
            let mapped = BlockDevice(number: "253:0", name: "dm-0")
            #expect(onMapped.stack == BlockStack(tops: [mapped], queues: [vda], disks: [vda]))
            _ = vdb
        }
    }

    @Test func theFileOfALoopDeviceLeadsOn() throws {
        try withSysfs { sys in
            let image = "\(sys)/image"
            try TestFile.write("x", to: image)
            try Descriptor.makeDirectories("\(sys)/devices/loop0/loop")
            try TestFile.write(image + "\n", to: "\(sys)/devices/loop0/loop/backing_file")
            let reader = BlockDeviceReader(sys: sys)
            let number = try #require(try BlockDeviceReader.fileSystem(of: image))
            #expect(try reader.entry("7:0")?.backing == number)
            #expect(try reader.devices(under: "/", on: "7:0").stack.tops.map(\.name) == ["loop0"])
        }
    }

    /// btrfs, overlay and tmpfs have numbers of their own; the mount tells what they are on.
    @Test func aFileSystemWithoutANumberOfADevice() throws {
        try withSysfs { sys in
            let table = "\(sys)/mountinfo"
            try TestFile.write(
                """
                22 1 254:1 / / rw - ext4 /dev/vda1 rw
                23 22 0:30 / /srv/with\\040blank rw,relatime shared:1 - tmpfs tmpfs rw,size=1k
                24 22 0:31 / /srv/pool rw - zfs tank/data rw

                """, to: table)
            let reader = BlockDeviceReader(sys: sys, mountInfo: table)
            #expect(try reader.devices(under: "/srv/with blank/x", on: "0:30").withoutDevice == "tmpfs")
            #expect(try reader.devices(under: "/srv/pool", on: "0:31") == .init(stack: BlockStack(), withoutDevice: "zfs"))
            let mounts = MountEntry.list(try TestFile.read(table))
            #expect(mounts.map(\.mountPoint) == ["/", "/srv/with blank", "/srv/pool"])
            #expect(mounts.holding("/srv/poolish")?.mountPoint == "/")
            #expect(mounts.holding("/srv/with blank")?.options == ["rw", "size=1k"])
        }
    }

    // MARK: Numbers of the kernel's

    @Test(arguments: [
        ("", [:]),
        ("254:0 rbps=1048576 wbps=max riops=max wiops=40\n", ["254:0": IOLimits(readBytes: 1_048_576, writeOperations: 40)]),
        (
            "7:0 rbps=1 wbps=2 riops=3 wiops=4\n8:16 rbps=max wbps=max riops=max wiops=max\nnonsense\n",
            ["7:0": IOLimits(readBytes: 1, writeBytes: 2, readOperations: 3, writeOperations: 4)]
        ),
    ])
    func limitsOfV2(_ text: String, _ limits: [String: IOLimits]) {
        #expect(ControlGroup.parseIOMax(text) == limits)
    }

    @Test func modelsOfIOCost() throws {
        let text = "rbps=1 rseqiops=2 rrandiops=3 wbps=4 wseqiops=5 wrandiops=6"
        let model = try #require(IOCostModel(text: " wbps=4 wseqiops=5 wrandiops=6 rbps=1 rseqiops=2 rrandiops=3"))
        #expect(model.description == text)
        #expect(model.scaled(by: 0.5).description == "rbps=1 rseqiops=1 rrandiops=1 wbps=2 wseqiops=2 wrandiops=3")
        for bad in [
            "", "rbps=1", text + " x=7", text + " rbps=1", text.replacing("=3", with: "=0"), text.replacing("=3", with: "=a"),
        ] {
            #expect(IOCostModel(text: bad) == nil, "\(bad)")
        }
    }

    /// On the disk below this test, whatever it is.
    @Test func theFileSystemOfThisTestIsFound() throws {
        let place = TestPlace.directory
        let number = try #require(try BlockDeviceReader.fileSystem(of: place))
        let found = try BlockDeviceReader().devices(under: place, on: number)
        guard !number.hasPrefix("0:") else { return }
        #expect(found.stack.tops.count == 1 && !found.stack.disks.isEmpty, "\(found)")
    }
}
