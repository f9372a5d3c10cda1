internal import Glibc

/// Points in time as they are kept and shown: seconds since the epoch, and RFC 3339 in UTC.
public enum Timestamp {
    /// Now, in seconds since the epoch.
    public static var now: Int64 { Int64(time(nil)) }

    /// `2026-02-03T04:05:06Z`.
    public static func text(_ seconds: Int64) -> String {
        var time = time_t(seconds)
        var parts = tm()
        gmtime_r(&time, &parts)
        func two(_ n: Int32) -> String { n < 10 ? "0\(n)" : "\(n)" }
        return "\(1900 + Int(parts.tm_year))-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))T"
            + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))Z"
    }

    /// The same without punctuation, for names of files: `20260203T040506Z`.
    public static func compact(_ seconds: Int64) -> String { text(seconds).filter { $0 != "-" && $0 != ":" } }

    /// From the form that `compact` gives.
    public static func seconds(compact text: some StringProtocol) -> Int64? {
        let digits = text.utf8.filter { (48...57).contains($0) }.map { Int32($0 - 48) }
        guard text.utf8.count == 16, digits.count == 14, compactShape(text) else { return nil }
        func number(_ range: Range<Int>) -> Int32 { digits[range].reduce(0) { $0 * 10 + $1 } }
        var parts = tm()
        (parts.tm_year, parts.tm_mon, parts.tm_mday) = (number(0..<4) - 1900, number(4..<6) - 1, number(6..<8))
        (parts.tm_hour, parts.tm_min, parts.tm_sec) = (number(8..<10), number(10..<12), number(12..<14))
        let seconds = Int64(timegm(&parts))
        return compact(seconds) == String(text) ? seconds : nil
    }

    private static func compactShape(_ text: some StringProtocol) -> Bool {
        let bytes = Array(text.utf8)
        return bytes[8] == UInt8(ascii: "T") && bytes[15] == UInt8(ascii: "Z")
    }
}
