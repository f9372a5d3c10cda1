/// A digest of bytes by which accidents are told, not attackers: FNV-1a of 64 bits (draft-eastlake-fnv).
public struct Digest: Equatable, Sendable {
    private var sum: UInt64 = 0xcbf2_9ce4_8422_2325

    public init() {}

    /// Takes bytes in. Where one part ends and the next begins makes no difference: see `add(part:)`.
    public mutating func add(_ bytes: some Sequence<UInt8>) {
        for byte in bytes { sum = (sum ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
    }

    /// Takes a part in that differs from the same bytes cut otherwise: its length goes before it.
    public mutating func add(part bytes: some Collection<UInt8>) {
        add("\(bytes.count)\n".utf8)
        add(bytes)
    }

    public mutating func add(part text: some StringProtocol) { add(part: text.utf8) }

    /// 16 hexadecimal digits.
    public var text: String {
        let digits = String(sum, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
