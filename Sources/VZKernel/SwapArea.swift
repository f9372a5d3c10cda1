internal import Glibc

/// A swap area in use (proc_swaps(5)).
public struct SwapArea: Hashable, Sendable {
    /// Of the device or file.
    public var path: String
    /// Bytes.
    public var size: Int64
    /// Bytes.
    public var used: Int64
    /// The kernel fills the area with the highest one first.
    public var priority: Int

    public init(path: String, size: Int64, used: Int64, priority: Int) {
        self.path = path
        self.size = size
        self.used = used
        self.priority = priority
    }

    /// The device, when it is compressed RAM.
    public var zram: ZRAMDevice? {
        guard path.hasPrefix("/dev/zram") else { return nil }
        return Int(path.dropFirst(9)).map { ZRAMDevice(number: $0) }
    }

    /// All of this host.
    public static func inUse() throws(KernelError) -> [SwapArea] { parse(try KernelFile.read("/proc/swaps")) }

    /// Name, type, sizes in KiB, priority; below a line of headings.
    static func parse(_ text: String) -> [SwapArea] {
        text.split(separator: "\n").dropFirst().compactMap { line in
            let fields = line.split { $0 == " " || $0 == "\t" }
            guard fields.count == 5, let size = Int64(fields[2]), let used = Int64(fields[3]), let priority = Int(fields[4]) else {
                return nil
            }
            return SwapArea(path: String(fields[0]), size: size << 10, used: used << 10, priority: priority)
        }
    }
}

/// What mkswap(8) writes into a swap area for people and programs to know it by.
public struct SwapMark: Hashable, Sendable {
    /// At most 15 bytes.
    public var label: String
    /// 16 bytes.
    public var uuid: [UInt8]

    public init(label: String, uuid: [UInt8]) {
        self.label = label
        self.uuid = uuid
    }

    /// As people write it: 8-4-4-4-12 hexadecimal digits.
    var uuidText: String {
        let digits = uuid.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }
        return [0..<4, 4..<6, 6..<8, 8..<10, 10..<16].map { digits[$0].joined() }.joined(separator: "-")
    }

    /// The mark in the first page of a swap area, `nil` when it is none: 1024 bytes for boot sectors, three numbers of 4 bytes, then
    /// both; the signature ends the page (union swap_header of the kernel's linux/swap.h).
    static func read(_ page: [UInt8]) -> SwapMark? {
        guard page.count == 4096, page[4086...].elementsEqual("SWAPSPACE2".utf8) else { return nil }
        let label = page[1052..<1068].prefix { $0 != 0 }
        return SwapMark(label: String(decoding: label, as: UTF8.self), uuid: Array(page[1036..<1052]))
    }
}
