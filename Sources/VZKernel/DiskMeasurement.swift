internal import CLinux
internal import Glibc
internal import Synchronization

/// Measures what a file system's disk can do, by direct I/O on a file without a name: it is gone with the descriptor, and with us.
public enum DiskMeasurement {
    /// Six runs of `milliseconds` each, on at most `size` bytes of disk; several threads keep the disk busy.
    /// - Parameter directory: on the disk.
    /// - Throws: `KernelError` of open(2) (`EOPNOTSUPP`: no files without a name, `EINVAL`: no direct I/O), or of the first request
    ///   that failed.
    public static func run(
        in directory: String, milliseconds: Int = 500, size: Int = 64 << 20
    ) throws(KernelError) -> IOCostModel {
        let file = try Descriptor.open(directory, Int32(VZ_O_TMPFILE | VZ_O_DIRECT) | O_RDWR, mode: 0o600)
        let (large, small) = (1 << 20, 4096)
        let time = Duration.milliseconds(milliseconds)
        // The first run fills the file; what it did not get to is left out of the others.
        let (wbps, written) = try phase(file, block: large, blocks: size / large, writes: true, random: false, time)
        let blocks = min(written, size / large) * large / small
        func operations(writes: Bool, random: Bool) throws(KernelError) -> Int64 {
            try phase(file, block: small, blocks: blocks, writes: writes, random: random, time).perSecond
        }
        let wseqiops = try operations(writes: true, random: false)
        let wrandiops = try operations(writes: true, random: true)
        let rbps = try phase(file, block: large, blocks: blocks * small / large, writes: false, random: false, time).perSecond
        let rseqiops = try operations(writes: false, random: false)
        let rrandiops = try operations(writes: false, random: true)
        return IOCostModel(
            rbps: rbps * Int64(large), rseqiops: rseqiops, rrandiops: rrandiops, wbps: wbps * Int64(large), wseqiops: wseqiops,
            wrandiops: wrandiops)
    }

    private static let threads = 8

    /// Requests of one size and kind, for a time. - Returns: how many a second, 1 or more, and how many in all.
    private static func phase(
        _ file: Descriptor, block: Int, blocks: Int, writes: Bool, random: Bool, _ time: Duration
    ) throws(KernelError) -> (perSecond: Int64, count: Int) {
        let work = DiskWork(file: file, block: block, blocks: max(blocks, 1), writes: writes, random: random, time: time)
        var running: [pthread_t] = []
        let began = ContinuousClock.now
        for _ in 0..<threads {
            var thread = pthread_t()
            let box = Unmanaged.passRetained(work)
            let error = pthread_create(&thread, nil, runDiskWork, box.toOpaque())
            if error == 0 { running.append(thread) } else { box.release() }
        }
        for thread in running { pthread_join(thread, nil) }
        let passed = max(began.duration(to: .now) / .nanoseconds(1), 1)
        let (count, error) = (work.done.load(ordering: .relaxed), work.error.load(ordering: .relaxed))
        guard error == 0, count > 0 else {
            throw KernelError("measure the disk by direct I/O", errno: error == 0 ? EAGAIN : error)
        }
        return (max(Int64(Double(count) * 1e9 / passed), 1), count)
    }
}

/// What the threads of one run share.
private final class DiskWork: Sendable {
    let file: Descriptor
    let block, blocks: Int
    let writes, random: Bool
    let end: ContinuousClock.Instant
    let next = Atomic(0)
    let done = Atomic(0)
    let error = Atomic<Int32>(0)

    init(file: Descriptor, block: Int, blocks: Int, writes: Bool, random: Bool, time: Duration) {
        (self.file, self.block, self.blocks, self.writes, self.random) = (file, block, blocks, writes, random)
        end = .now + time
    }

    func run() {
        // Direct I/O takes whole pages. What is written is a random page again and again, against disks that save on zeros.
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: block, alignment: 4096)
        defer { buffer.deallocate() }
        for at in stride(from: 0, to: min(block, 4096), by: 256) { _ = getentropy(buffer.baseAddress.map { $0 + at }, 256) }
        if let page = buffer.baseAddress {
            for at in stride(from: 4096, to: block, by: 4096) { memcpy(page + at, page, 4096) }
        }
        // At least one request each, however slow the disk.
        repeat {
            let number = next.add(1, ordering: .relaxed).oldValue
            // A step of many blocks, and with no divisor in common with a power of two, comes to all of them.
            let at = (random ? number &* 40_503 : number) % blocks * block
            let count = writes ? pwrite(file.raw, buffer.baseAddress, block, at) : pread(file.raw, buffer.baseAddress, block, at)
            if count == block {
                done.add(1, ordering: .relaxed)
            } else if count >= 0 || errno != EINTR {
                error.store(count < 0 ? errno : EIO, ordering: .relaxed)
            }
        } while ContinuousClock.now < end && error.load(ordering: .relaxed) == 0
    }
}

private func runDiskWork(_ box: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let box else { return nil }
    Unmanaged<DiskWork>.fromOpaque(box).takeRetainedValue().run()
    return nil
}
