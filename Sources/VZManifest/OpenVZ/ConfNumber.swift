internal import VZModel

/// Why a value of an OpenVZ configuration is not taken over.
enum ConfProblem: Error {
    /// It is wrong: what was expected, and what stands there.
    case refused(String)
    /// It is right but has no place in a manifest: why, and what to do instead.
    case unmapped(String)
}

/// The numbers of OpenVZ's configurations (`openvz.md` 6.3, measured on its tools), less what its tools get wrong.
enum ConfNumber {
    /// How the numbers of a key are written.
    enum Syntax {
        /// Whole numbers without a suffix.
        case plain
        /// Without a suffix bytes; the value is in bytes.
        case bytes
        /// Without a suffix pages; the value is in pages, a part of a page is dropped.
        case pages
        /// Without a suffix KiB; the value is in KiB, a part of one is dropped.
        case kibibytes
        /// Whole numbers with or without a suffix, as of inodes.
        case scaled

        var expectation: String {
            switch self {
            case .plain: "a whole number without a suffix"
            case .bytes: "a number of bytes, or one with B K M G T or P"
            case .pages: "a number of pages, or a size with B K M G T or P"
            case .kibibytes: "a number of KiB, or a size with B K M G T or P"
            case .scaled: "a number, or one with B K M G T or P"
            }
        }

        var divisor: UInt128 {
            switch self {
            case .plain, .bytes, .scaled: 1
            case .pages: 4096
            case .kibibytes: 1024
            }
        }

        /// `unlimited` is no size of a disk to OpenVZ.
        var knowsUnlimited: Bool { self != .kibibytes }
    }

    /// One or two numbers, and whether one of them was larger than OpenVZ can count.
    struct Bounds {
        var bounds: BarrierLimit
        var isTruncated = false
    }

    /// `N`, which is both, or `barrier:limit`.
    ///
    /// Unlike OpenVZ, which reads an empty side as 0, this wants both sides of a colon.
    static func bounds(_ text: String, _ syntax: Syntax) throws(ConfProblem) -> Bounds {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count <= 2 else { throw .refused("expected N or barrier:limit, got \(Quoting.shown(text))") }
        if parts.count == 2, parts.contains("") {
            throw .refused(
                "expected barrier:limit, got \(Quoting.shown(text)); OpenVZ reads the missing side as 0, which is hardly meant")
        }
        var values: [Int64] = []
        var isTruncated = false
        for part in parts {
            let (value, cut) = try number(String(part), syntax)
            values.append(value)
            isTruncated = isTruncated || cut
        }
        return Bounds(bounds: BarrierLimit(barrier: values[0], limit: values[values.count - 1]), isTruncated: isTruncated)
    }

    /// One number from 0. A leading blank is allowed, a sign is not.
    static func number(_ text: String, _ syntax: Syntax = .plain) throws(ConfProblem) -> (value: Int64, isTruncated: Bool) {
        let trimmed = text.drop { $0 == " " || $0 == "\t" }
        if trimmed.isEmpty {
            throw .refused("expected \(syntax.expectation), got nothing; OpenVZ reads that as 0, which is hardly meant")
        }
        if trimmed == "unlimited", syntax.knowsUnlimited { return (BarrierLimit.unlimited, false) }
        if trimmed.hasPrefix("-") {
            throw .refused(
                "expected \(syntax.expectation), got \(Quoting.shown(text)); OpenVZ reads a negative number as unlimited, which is hardly meant"
            )
        }
        guard let value = scaled(trimmed, syntax) else {
            throw .refused("expected \(syntax.expectation), got \(Quoting.shown(text))")
        }
        return value > UInt128(Int64.max) ? (BarrierLimit.unlimited, true) : (Int64(value), false)
    }

    /// `nil` when it is no number, or one beyond 64 bits.
    private static func scaled(_ text: Substring, _ syntax: Syntax) -> UInt128? {
        var digits = Array(text.utf8)[...]
        var unit: UInt128 = syntax.divisor
        var hasSuffix = false
        if case .plain = syntax {
        } else if let last = digits.last, let known = units[last | 0x20] {
            unit = known
            hasSuffix = true
            digits = digits.dropLast()
        }
        let parts = digits.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 1 || (parts.count == 2 && hasSuffix), parts.contains(where: { !$0.isEmpty }),
            parts.allSatisfy({ $0.allSatisfy { (48...57).contains($0) } })
        else { return nil }
        var whole: UInt128 = 0
        for digit in parts[0] {
            whole = whole * 10 + UInt128(digit - 48)
            if whole > UInt128(UInt64.max) { return nil }
        }
        var numerator: UInt128 = 0
        var denominator: UInt128 = 1
        // More digits than these do not change a whole number below 2^64 but by a hair.
        for digit in parts.count > 1 ? parts[1].prefix(18) : [] {
            numerator = numerator * 10 + UInt128(digit - 48)
            denominator *= 10
        }
        let amount = whole * unit + numerator * unit / denominator
        return amount / syntax.divisor <= UInt128(UInt64.max) ? amount / syntax.divisor : nil
    }

    private static let units: [UInt8: UInt128] = [
        UInt8(ascii: "b"): 1, UInt8(ascii: "k"): 1 << 10, UInt8(ascii: "m"): 1 << 20, UInt8(ascii: "g"): 1 << 30,
        UInt8(ascii: "t"): 1 << 40, UInt8(ascii: "p"): 4096,
    ]
}
