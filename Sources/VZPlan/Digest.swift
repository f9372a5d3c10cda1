/// A number that tells whether bytes are the same as at another time: FNV-1a with 64 bits, against accidents and not against attackers.
public struct Digest: Equatable, Sendable {
    public private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

    public init() {}

    /// Adds bytes; where one part ends and the next begins counts too.
    public mutating func add(_ bytes: some Collection<UInt8>) {
        for byte in bytes { value = (value ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        var length = UInt64(bytes.count)
        for _ in 0..<8 {
            value = (value ^ (length & 0xff)) &* 0x0000_0100_0000_01b3
            length >>= 8
        }
    }

    public mutating func add(_ text: String) { add(Array(text.utf8)) }

    /// 16 hexadecimal digits.
    public var text: String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
