import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel

/// Whether the kernel makes zram devices, and counts swap.
let mayMakeSwapSpace =
    (ZRAMDevice.isLoaded || ZRAMDevice.isLoadable)
    && (try? ControlGroupTree.discover(parent: "vz-test"))?.unsupported(.swapMax) == nil

/// Swap on a disk of the virtual machine, behind ours; elsewhere the host's is left as it is.
func withDiskSwap(_ body: (String) throws -> Void) throws {
    guard TestPlace.isVirtualMachine else { return try body("") }
    let disk = "/dev/vdb"
    try Command.run(["mkswap", disk])
    try Command.run(["swapon", disk])
    defer { #expect(throws: Never.self) { try Command.run(["swapoff", disk]) } }
    try body(disk)
}

/// Bytes that a disk was given to write, since the boot (block/stat.rst: the seventh figure, in units of 512 bytes).
func writtenBytes(_ disk: String) throws -> Int64 {
    let figures = try KernelFile.read("/sys/class/block/\(disk.dropFirst("/dev/".count))/stat").split(separator: " ")
    return try #require(figures.count > 6 ? Int64(figures[6]) : nil) * 512
}

/// Bytes that the host has written to swap areas of any kind, since the boot (pswpout of proc_vmstat(5), in pages).
func swappedOutBytes() throws -> Int64 {
    let line = try KernelFile.read("/proc/vmstat").split(separator: "\n").first { $0.hasPrefix("pswpout ") }
    return try #require(line.flatMap { Int64($0.dropFirst("pswpout ".count)) }) * 4096
}

/// Takes the host's memory away for a while but for so much, as huge pages that nobody uses; this process is not the one to suffer.
func withScarceMemory(leaving bytes: Int64, _ body: () throws -> Void) throws {
    let file = "/proc/sys/vm/nr_hugepages"
    let own = try #require(try OOMScore.own)
    try KernelFile.write("-500", to: "/proc/self/oom_score_adj")
    defer {
        #expect(throws: Never.self) {
            try KernelFile.write("0", to: file)
            try KernelFile.write("\(own)", to: "/proc/self/oom_score_adj")
        }
    }
    try KernelFile.write("3", to: "/proc/sys/vm/drop_caches")
    let memory = try HostMemory.now()
    try KernelFile.write("\(max((memory.available - bytes) >> 21, 0))", to: file)
    try body()
}
