/// A number of bytes as an OpenVZ administrator writes it: `512M`, `1.5G`, `131072P`.
enum Size {
    /// Bytes of a page, the unit that sizes of memory are rounded up to (`openvz.md` 3.1).
    static let page: Int64 = 4096
    /// The largest size: the last whole page below 2^63.
    static let largest = Int64.max / page * page
    /// What `parse` reads, for JSON Schema; to be anchored at its start.
    static let pattern = "[0-9]+([Bb]|(\\.[0-9]+)?[KkMmGgTtPp])?$"

    enum Problem: Error, Equatable {
        case noSize
        case tooLarge
    }

    /// Bytes from a decimal number and one of B K M G T (times 1024 each) or P (pages of 4096 bytes), in either case; without a
    /// suffix, bytes. A fraction of a byte counts as one byte. Not rounded to pages.
    static func parse(_ text: String) throws(Problem) -> Int64 {
        var bytes = Array(text.utf8)[...]
        var unit: Int64 = 1
        var fractionAllowed = false
        if let suffix = bytes.last, let known = units[suffix | 0x20] {
            unit = known
            fractionAllowed = known > 1
            bytes = bytes.dropLast()
        }
        let parts = bytes.split(separator: UInt8(ascii: "."), maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 1 || fractionAllowed else { throw .noSize }
        for part in parts where part.isEmpty || !part.allSatisfy({ (48...57).contains($0) }) { throw .noSize }
        let whole = CoreScalar.decimal(parts[0]).multipliedReportingOverflow(by: unit)
        let fraction = parts.count > 1 ? Self.fraction(parts[1], of: unit) : 0
        let sum = whole.partialValue.addingReportingOverflow(fraction)
        guard !whole.overflow, !sum.overflow, sum.partialValue <= largest else { throw .tooLarge }
        return sum.partialValue
    }

    /// The next whole number of pages, as bytes; `largest` at most.
    static func roundedToPages(_ bytes: Int64) -> Int64 {
        bytes > largest ? largest : (bytes + (page - 1)) / page * page
    }

    /// The shortest text without a fraction that `parse` reads back as `bytes`.
    static func text(_ bytes: Int64) -> String {
        for (letter, unit) in [("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)] as [(String, Int64)]
        where bytes != 0 && bytes % unit == 0 {
            return "\(bytes / unit)\(letter)"
        }
        return String(bytes)
    }

    private static let units: [UInt8: Int64] = [
        UInt8(ascii: "b"): 1, UInt8(ascii: "k"): 1 << 10, UInt8(ascii: "m"): 1 << 20, UInt8(ascii: "g"): 1 << 30,
        UInt8(ascii: "t"): 1 << 40, UInt8(ascii: "p"): page,
    ]

    /// `unit` × 0.digits, rounded up. Beyond 18 digits only counts whether there is anything.
    private static func fraction(_ digits: ArraySlice<UInt8>, of unit: Int64) -> Int64 {
        let head = digits.prefix(18)
        var (numerator, denominator): (UInt64, UInt64) = (0, 1)
        for digit in head {
            numerator = numerator * 10 + UInt64(digit - 48)
            denominator *= 10
        }
        let product = numerator.multipliedFullWidth(by: UInt64(unit))
        let (quotient, remainder) = denominator.dividingFullWidth((product.high, product.low))
        let more = remainder > 0 || digits.dropFirst(18).contains { $0 != 48 }
        return Int64(quotient) + (more ? 1 : 0)
    }
}
