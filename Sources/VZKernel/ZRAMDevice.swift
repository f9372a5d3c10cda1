internal import Glibc

/// A block device in compressed RAM (admin-guide/blockdev/zram.rst): as a swap area it is slower than RAM, and no disk is written.
public struct ZRAMDevice: Hashable, Sendable {
    public let number: Int
    public var path: String { "/dev/zram\(number)" }
    private static let control = "/sys/class/zram-control"
    private var directory: String { "/sys/block/zram\(number)" }

    public init(number: Int) { self.number = number }

    /// Whether the kernel makes such devices, as it is now.
    public static var isLoaded: Bool { access("\(control)/hot_add", R_OK) == 0 }

    /// Whether the kernel has it as a module that is not loaded.
    public static var isLoadable: Bool {
        guard let release = try? KernelFile.read("/proc/sys/kernel/osrelease"),
            let file = try? Descriptor.open("/lib/modules/\(release)/modules.dep", O_RDONLY),
            let bytes = try? file.readAll(limit: 16 << 20, named: "modules.dep")
        else { return false }
        return String(decoding: bytes, as: UTF8.self).contains("/zram.ko")
    }

    /// Loads the module; without a device, where nobody else says how many.
    public static func load() throws(KernelError) { try Command.run(["modprobe", "zram", "num_devices=0"], patience: 30) }

    /// All that there are, in use or not.
    public static func all() -> [ZRAMDevice] {
        let names = (try? Descriptor.open("/sys/block", O_RDONLY | O_DIRECTORY).names()) ?? []
        return names.compactMap { $0.hasPrefix("zram") ? Int($0.dropFirst(4)).map { ZRAMDevice(number: $0) } : nil }
            .sorted { $0.number < $1.number }
    }

    /// Makes one, without a size.
    public static func add() throws(KernelError) -> ZRAMDevice {
        let text = try KernelFile.read("\(control)/hot_add")
        guard let number = Int(text) else { throw KernelError("read \(control)/hot_add", detail: "expected a number, got \(text)") }
        return ZRAMDevice(number: number)
    }

    /// How large it claims to be; 0: it was given no size. `nil`: it is not there.
    public var size: Int64? { (try? KernelFile.read("\(directory)/disksize")).flatMap { Int64($0) } }

    /// Gives one without a size its size in bytes. RAM is taken only as it is written.
    public func setSize(_ bytes: Int64) throws(KernelError) { try KernelFile.write(String(bytes), to: "\(directory)/disksize") }

    /// What marks it as a swap area.
    public var mark: SwapMark? {
        guard let size, size > 0, let file = try? Descriptor.open(path, O_RDONLY) else { return nil }
        var page = [UInt8](repeating: 0, count: 4096)
        return pread(file.raw, &page, page.count, 0) == page.count ? SwapMark.read(page) : nil
    }

    /// Puts a swap area on it. What was on it is lost.
    public func makeSwap(_ mark: SwapMark) throws(KernelError) {
        try Command.run(["mkswap", "-q", "-L", mark.label, "-U", mark.uuidText, path], patience: 60)
    }

    /// - Parameter priority: 0…32767.
    public func startSwapping(priority: Int) throws(KernelError) {
        try Command.run(["swapon", "-p", String(priority), path], patience: 60)
    }

    /// Takes what is on it back into RAM, and the device away.
    public func remove(swapping: Bool) throws(KernelError) {
        if swapping { try Command.run(["swapoff", path]) }
        // Whoever looks at new devices (udev) may have it open for a moment.
        for attempt in 1...50 {
            do throws(KernelError) {
                return try KernelFile.write(String(number), to: "\(Self.control)/hot_remove")
            } catch  where error.errno == EBUSY && attempt < 50 {
                poll(nil, 0, 20)
            } catch  where error.errno == ENODEV {
                return
            }
        }
    }
}
