/// What a string in a manifest may be. The pattern and the lengths say the same in JSON Schema; `TextRule.accepts` decides.
struct TextRule: Sendable {
    /// What to write in "expected …".
    let expectation: String
    /// The rule as a regular expression of ECMA 262, for JSON Schema.
    let pattern: String
    /// In bytes of UTF-8.
    let length: ClosedRange<Int>
    /// All texts that are accepted, where they are a closed set.
    let words: [String]
    private let allowed: @Sendable (_ bytes: [UInt8]) -> Bool
    private let canonical: (@Sendable (_ text: String) -> String?)?

    init(
        expectation: String, pattern: String, length: ClosedRange<Int>, words: [String] = [],
        allowed: @escaping @Sendable (_ bytes: [UInt8]) -> Bool = { _ in true },
        canonical: (@Sendable (_ text: String) -> String?)? = nil
    ) {
        self.expectation = expectation
        self.pattern = pattern
        self.length = length
        self.words = words
        self.canonical = canonical
        self.allowed = allowed
    }

    /// Of `lxcfs` and `lxcfs:off` the other one; `nil` where there is none.
    func opposite(of word: String) -> String? {
        let other = word.hasSuffix(Self.off) ? String(word.dropLast(Self.off.count)) : word + Self.off
        return words.contains(word) && words.contains(other) ? other : nil
    }

    func accepts(_ text: String) -> Bool { read(text) != nil }

    /// The text in the one spelling of what it means; `nil` when it is not accepted.
    func read(_ text: String) -> String? {
        let bytes = Array(text.utf8)
        guard length.contains(bytes.count), !hasControl(bytes), allowed(bytes) else { return nil }
        guard let canonical else { return text }
        return canonical(text)
    }

    /// A container's name: a DNS label in lower case. Digits alone would be a CTID to every command that takes either.
    static let name = TextRule(
        expectation: "a DNS label of a-z, 0-9 and - that is not a number, 1…63 characters",
        pattern: "^(?![0-9]+$)[a-z0-9]([a-z0-9-]*[a-z0-9])?$", length: 1...63
    ) { $0.allSatisfy { isLower($0) || isDigit($0) || $0 == hyphen } && hasNoOuterHyphen($0) && !$0.allSatisfy(isDigit) }

    /// RFC 1123, and no longer than sethostname(2) takes.
    static let hostname = domain("a host name (RFC 1123) of at most 64 bytes", length: 1...64)

    /// RFC 1035's length of a name.
    static let domain = domain("a domain name (RFC 1123) of at most 253 bytes", length: 1...253)

    private static func domain(_ expectation: String, length: ClosedRange<Int>) -> TextRule {
        TextRule(
            expectation: expectation,
            pattern: "^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$",
            length: length
        ) { isDomain($0) }
    }

    private static func isDomain(_ bytes: [UInt8]) -> Bool {
        bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).allSatisfy { label in
            (1...63).contains(label.count) && hasNoOuterHyphen(label)
                && label.allSatisfy { isLetter($0) || isDigit($0) || $0 == hyphen }
        }
    }

    /// A template's name becomes a name in a directory: no path separator and no leading point.
    static let template = TextRule(
        expectation: "a template's name of A-Z a-z 0-9 . _ - that begins with a letter or digit, at most 128 characters",
        pattern: "^[A-Za-z0-9][A-Za-z0-9._-]*$", length: 1...128
    ) { bytes in
        bytes.allSatisfy { isLetter($0) || isDigit($0) || $0 == hyphen || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "_") }
            && bytes.first.map { isLetter($0) || isDigit($0) } ?? false
    }

    /// An absolute path to a program.
    static let program = TextRule(
        expectation: "the absolute path of a program, without control characters", pattern: "^/" + noControls,
        length: 2...4095
    ) { $0.first == UInt8(ascii: "/") }

    /// execve(2) takes 131,072 bytes with the final NUL for one string.
    static let argument = TextRule(
        expectation: "a string of at most 131071 bytes without control characters", pattern: "^" + noControls, length: 0...131_071
    ) { _ in true }

    static let environmentName = TextRule(
        expectation: "a variable's name of 1…255 bytes without = and control characters",
        pattern: "^[^=\\u0000-\\u001f\\u007f-\\u009f]+$", length: 1...255
    ) { !$0.contains(UInt8(ascii: "=")) }

    /// With the name and the `=`, what execve(2) takes for one string.
    static let environmentValue = TextRule(
        expectation: "a string of at most 130815 bytes without control characters", pattern: "^" + noControls, length: 0...130_815
    ) { _ in true }

    static let labelName = TextRule(
        expectation: "a label's name of 1…255 bytes without control characters", pattern: "^[^\\u0000-\\u001f\\u007f-\\u009f]+$",
        length: 1...255
    ) { _ in true }

    static let labelValue = TextRule(
        expectation: "a string of at most 255 bytes without control characters", pattern: "^" + noControls, length: 0...255
    ) { _ in true }

    static let noControls = "[^\\u0000-\\u001f\\u007f-\\u009f]*$"
    static let hyphen = UInt8(ascii: "-")
    static func isLower(_ byte: UInt8) -> Bool { (97...122).contains(byte) }
    static func isLetter(_ byte: UInt8) -> Bool { isLower(byte | 0x20) }
    static func isDigit(_ byte: UInt8) -> Bool { (48...57).contains(byte) }
    static func hasNoOuterHyphen(_ bytes: some BidirectionalCollection<UInt8>) -> Bool {
        bytes.first != hyphen && bytes.last != hyphen
    }
}

/// Whether there is a control character: C0, DEL, or C1, which is C2 80 to C2 9F in UTF-8. In a name, a path or an argument it could end a
/// line of some file or write to a terminal.
private func hasControl(_ bytes: [UInt8]) -> Bool {
    var last: UInt8 = 0
    for byte in bytes {
        if byte < 0x20 || byte == 0x7F || last == 0xC2 && (0x80...0x9F).contains(byte) { return true }
        last = byte
    }
    return false
}
