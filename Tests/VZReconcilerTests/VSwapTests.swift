import Testing
import VZModel
import VZPlan

@testable import VZIsolation
@testable import VZKernel

/// By what a host slows down who is over his RAM, and how much swap space it needs for that: pure decisions.
@Suite struct VSwapDecisionTests {
    private static let gib = Int64(1) << 30

    private static func area(_ path: String, _ priority: Int) -> SwapArea {
        SwapArea(path: path, size: gib, used: 0, priority: priority)
    }

    private static let ours = area("/dev/zram1", 32767)
    private static let foreign = area("/dev/zram0", 100)
    private static let disk = area("/dev/sda2", -2)
    private static let first = area("/swapfile", 32767)

    @Test(arguments: [
        ([ours], false, true, VSwapMechanism.zram),
        ([ours, foreign, disk], true, true, .zram),
        ([disk, ours, first], false, true, .outranked(by: ["/swapfile"])),
        ([foreign], false, true, .foreignZRAM),
        ([foreign, disk], false, false, .foreignZRAM),
        ([], false, true, .onDemand),
        ([disk], true, true, .onDemand),
        ([disk], true, false, .zswap),
        ([disk], false, false, .disk),
        ([], true, false, .none),
    ])
    func mechanism(_ areas: [SwapArea], zswap: Bool, canMake: Bool, _ expected: VSwapMechanism) {
        let facts = VSwapMechanism.Facts(areas: areas, ours: [Self.ours.path], zswap: zswap, canMakeZRAM: canMake)
        let mechanism = VSwapMechanism(facts)
        #expect(mechanism == expected)
        #expect(!mechanism.description.isEmpty && !mechanism.consequence.isEmpty)
        let isSound = [.zram, .foreignZRAM, .onDemand].contains(expected)
        #expect((mechanism.mend == nil) == isSound)
        #expect((mechanism.refusal != nil) == (expected == .none))
    }

    /// In MiB: promised, there, RAM, short, with a disk behind; what is added.
    @Test(arguments: [
        (0, 0, 8192, false, false, 0), (64, 0, 8192, false, false, 256), (1024, 0, 8192, false, false, 1024),
        (1024, 1024, 8192, false, true, 0), (1100, 1024, 8192, false, true, 1024), (100, 1024, 8192, false, false, 0),
        // At most the RAM, in all.
        (20_000, 0, 8192, false, true, 8192), (20_000, 8192, 8192, false, true, 0), (6000, 5000, 8192, false, true, 3192),
        (100, 0, 128, false, false, 128),
        // What is promised while the host is short goes to the disk, where there is one.
        (1024, 0, 8192, true, true, 0), (1024, 0, 8192, true, false, 1024),
    ])
    func whatLacks(_ promised: Int64, _ have: Int64, _ ram: Int64, isShort: Bool, hasDisk: Bool, _ expected: Int64) {
        let more = VSwap.lacking(promised: promised << 20, have: have << 20, ram: ram << 20, isShort: isShort, hasDisk: hasDisk)
        #expect(more == expected << 20)
    }

    @Test func onlyWhatIsEmptyAndNotNeededIsTakenAway() {
        func part(_ number: Int, _ used: Int64, inUse: Bool = true) -> VSwap.Part {
            VSwap.Part(device: ZRAMDevice(number: number), size: Self.gib, used: used, isInUse: inUse)
        }
        let parts = [part(1, (16 << 20) + 4096), part(2, 0), part(3, 0), part(4, 0, inUse: false)]
        func idle(_ promised: Int64) -> [Int] {
            VSwap.idle(parts, promised: promised, have: 3 * Self.gib).map(\.device.number)
        }
        #expect(idle(0) == [2, 3, 4])
        // Some pages of the host's own keep it only as long as somebody is promised some of it.
        let touched = [VSwap.Part(device: parts[0].device, size: Self.gib, used: 16 << 20, isInUse: true)]
        #expect(VSwap.idle(touched, promised: 0, have: Self.gib).count == 1)
        #expect(VSwap.idle(touched, promised: 1, have: 3 * Self.gib).isEmpty)
        #expect(idle(Self.gib + 1) == [2, 4])
        #expect(idle(2 * Self.gib + 1) == [4])
    }

    /// In MiB: what is in ours; sizes of areas on disks, each with 10 in it.
    @Test(arguments: [
        ([Int64](), [Int64](), 0, ""), ([], [100], 0, ""), ([0], [], 0, "no swap on a disk"), ([40], [], 0, "no swap on a disk"),
        ([0], [10], 1, ""), ([40, 50], [100], 2, ""), ([40, 51], [100], 0, "the 91 MiB"), ([40, 60], [100, 20], 2, ""),
    ])
    func whatMovesToADiskIsAllOrNothing(_ used: [Int64], _ disks: [Int64], _ moved: Int, _ told: String) {
        let parts = used.enumerated().map { n, used in
            VSwap.Part(device: ZRAMDevice(number: n), size: Self.gib, used: used << 20, isInUse: true)
        }
        let unused = VSwap.Part(device: ZRAMDevice(number: 9), size: Self.gib, used: 0, isInUse: false)
        let areas = disks.map { SwapArea(path: "/dev/sda2", size: $0 << 20, used: 10 << 20, priority: -2) }
        let (devices, obstacle) = VSwap.movable(parts + [unused], areas + [Self.foreign])
        #expect(devices.count == moved)
        #expect(told.isEmpty ? obstacle == nil : obstacle?.contains(told) == true, "\(obstacle ?? "")")
    }

    @Test func shortageHasHysteresis() {
        var shortage = HostShortage()
        func look(_ available: Int64, _ stalled: Double?) -> Bool {
            _ = shortage.take(HostMemory(total: 1000, available: available, stalled: stalled))
            return shortage.isShort
        }
        #expect(!look(60, 0) && look(40, 0) && look(60, 0) && look(99, nil))
        #expect(!look(100, nil) && !look(60, 9) && look(60, 11) && look(150, 3))
        #expect(!look(150, 2))
        // Containers that are over their ram wait for memory, and the host has plenty.
        #expect(!look(900, 90) && look(40, 90) && !look(200, 90))
        let isNews = shortage.take(HostMemory(total: 1000, available: 900, stalled: 0))
        #expect(!isNews)
    }

    @Test func figuresOfTheKernelAreRead() {
        let swaps = """
            Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority
            /dev/zram12                             partition\t262140\t\t1024\t\t32767
            /var/my\\040swap                         file\t\t1024\t\t0\t\t-2
            """
        let areas = SwapArea.parse(swaps)
        #expect(areas.map(\.path) == ["/dev/zram12", "/var/my\\040swap"])
        #expect(areas.map(\.used) == [1 << 20, 0] && areas.map(\.priority) == [32767, -2])
        #expect(areas.map(\.zram) == [ZRAMDevice(number: 12), nil])
        #expect(SwapArea.parse("Filename Type Size Used Priority\n").isEmpty)
        let memory = HostMemory.parse(
            "MemTotal:  100 kB\nMemFree: 5 kB\nMemAvailable:   50 kB",
            pressure: "some avg10=9.00 x\nfull avg10=1.25 avg60=0.00 total=5")
        #expect(memory == HostMemory(total: 102_400, available: 51_200, stalled: 1.25))
        #expect(HostMemory.parse("MemTotal: 1 kB", pressure: nil).stalled == nil)
    }

    @Test func theMarkIsReadAsItIsWritten() {
        var page = [UInt8](repeating: 0, count: 4096)
        #expect(SwapMark.read(page) == nil)
        let mark = SwapMark(label: "vz-vswap", uuid: Array(0..<16))
        page.replaceSubrange(1036..<1052, with: mark.uuid)
        page.replaceSubrange(1052..<1060, with: Array("vz-vswap".utf8))
        page.replaceSubrange(4086..<4096, with: Array("SWAPSPACE2".utf8))
        #expect(SwapMark.read(page) == mark)
        #expect(mark.uuidText == "00010203-0405-0607-0809-0a0b0c0d0e0f")
    }

    // 16 GiB of RAM.
    @Test(arguments: [
        (Int64?.some(0), Int64(0)), (1, -1), (64 << 20, -4), (8 << 30, -500), (16 << 30, -999), (1 << 50, -999), (nil, -999),
    ])
    func guaranteesAreDeductedWhereTheKernelLooksForAProcessToEnd(_ bytes: Int64?, _ score: Int64) {
        #expect(GuaranteeFacet.oomScore(guaranteed: bytes, ram: 16 << 30) == score)
        #expect(GuaranteeFacet.oomScore(guaranteed: bytes, ram: nil) == nil)
    }
}
