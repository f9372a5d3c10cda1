internal import Glibc
internal import VZModel

// What strings may be that name things of the kernel: addresses, interfaces, devices, capabilities, paths.
extension TextRule {
    static let description = TextRule(
        expectation: "a text of at most 1024 bytes without control characters", pattern: "^" + noControls, length: 0...1024
    ) { _ in true }

    static let numbers = TextRule(
        expectation: "numbers and ascending ranges within 0…4095, such as 0-3,5, or all",
        pattern: "^(all|\(upTo4095)(-\(upTo4095))?(,\(upTo4095)(-\(upTo4095))?)*)$", length: 1...1024,
        canonical: { NumberSet(text: $0)?.text })

    // MARK: Network

    /// An address without a prefix, such as a name server's.
    static let address = TextRule(
        expectation: "an IPv4 or IPv6 address", pattern: "^(\(notNowhere)\(ipv4)|\(notNowhere)\(ipv6))$", length: 2...45,
        canonical: { IPAddress($0, prefix: .none)?.text })

    /// OpenVZ's IP_ADDRESS: an address, with or without a prefix.
    static let addressWithOrWithoutPrefix = TextRule(
        expectation: "an IPv4 or IPv6 address, with or without /PREFIX",
        pattern: "^(\(notNowhere)\(ipv4)(/\(upTo32))?|\(notNowhere)\(ipv6)(/\(upTo128))?)$", length: 2...49,
        canonical: { IPAddress($0, prefix: .optional)?.text })

    static let addressWithPrefix = TextRule(
        expectation: "an IPv4 or IPv6 address with /PREFIX",
        pattern: "^(\(notNowhere)\(ipv4)/\(upTo32)|\(notNowhere)\(ipv6)/\(upTo128))$", length: 4...49,
        canonical: { IPAddress($0, prefix: .required)?.text })

    /// IFNAMSIZ is 16 with the final NUL. `lo` and `venet…` are OpenVZ's own in every container (`openvz.md` 6.7).
    static let interfaceName = TextRule(
        expectation: "an interface's name of A-Z a-z 0-9 . _ -, at most 15 bytes, neither lo nor venet…",
        pattern: "^(?!lo$|venet)[A-Za-z0-9][A-Za-z0-9._-]*$", length: 1...15
    ) { bytes in
        let name = String(decoding: bytes, as: UTF8.self)
        return isInterfaceName(bytes) && name != "lo" && !name.hasPrefix("venet")
    }

    static let hostInterfaceName = TextRule(
        expectation: "an interface's name of A-Z a-z 0-9 . _ -, at most 15 bytes", pattern: "^[A-Za-z0-9][A-Za-z0-9._-]*$",
        length: 1...15
    ) { isInterfaceName($0) }

    /// An Ethernet address of one station: the lowest bit of the first byte is 0.
    static let mac = TextRule(
        expectation: "a MAC address of one station, such as 02:00:00:00:01:01, in quotation marks",
        pattern: "^(?!00:00:00:00:00:00$)[0-9A-Fa-f][02468ACEace](:[0-9A-Fa-f]{2}){5}$", length: 17...17,
        canonical: { isStation(Array($0.utf8)) ? $0.lowercased() : nil })

    private static func isStation(_ bytes: [UInt8]) -> Bool {
        let parts = bytes.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        guard parts.count == 6, parts.allSatisfy({ $0.count == 2 && $0.allSatisfy { hex($0) != nil } }) else { return false }
        return (hex(bytes[1]) ?? 1) % 2 == 0 && bytes.contains { $0 != UInt8(ascii: "0") && $0 != UInt8(ascii: ":") }
    }

    // MARK: Devices, features, capabilities

    /// OpenVZ's DEVICES (`openvz.md` 6.4): loop devices are refused there too, since they reach into the host's files.
    static let device = TextRule(
        expectation: "b|c:MAJOR:MINOR|all:MODE with a MODE of r w q, or none, such as c:10:200:rw; not b:7, the loop devices",
        pattern: "^(c|b(?!:7:)):\(upTo4095):(all|0|[1-9][0-9]{0,6}):(none|(?=[rwq])r?w?q?)$", length: 7...24
    ) { bytes in
        let parts = bytes.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false).map {
            String(decoding: $0, as: UTF8.self)
        }
        guard parts.count == 4, parts[0] == "b" || parts[0] == "c", let major = decimal(parts[1]), major <= 4095 else {
            return false
        }
        guard parts[2] == "all" || decimal(parts[2]).map({ $0 < 1 << 20 }) ?? false else { return false }
        return ["none", "r", "w", "q", "rw", "rq", "wq", "rwq"].contains(parts[3]) && !(parts[0] == "b" && major == 7)
    }

    /// OpenVZ's FEATURES (`openvz.md` 6.4) as those that are on; one that is on by itself can be turned off, spelled as there.
    static let feature = closed(
        "a feature",
        ["tun", "fuse", "nfs", "nfsd", "ppp", "bridge", "sysfs", "sit", "ipip", "ipgre", "time", "lxcfs", "lxcfs" + off],
        isListed: true)

    /// What a word of a list ends in that turns the same word without it off.
    static let off = ":off"

    /// Linux' names (capabilities(7)), which hold OpenVZ's but for its own two (`openvz.md` 6.4).
    static let capability = closed(
        "a capability in lower case without cap_",
        [
            "audit_control", "audit_read", "audit_write", "block_suspend", "bpf", "checkpoint_restore", "chown", "dac_override",
            "dac_read_search", "fowner", "fsetid", "ipc_lock", "ipc_owner", "kill", "lease", "linux_immutable", "mac_admin",
            "mac_override", "mknod", "net_admin", "net_bind_service", "net_broadcast", "net_raw", "perfmon", "setfcap", "setgid",
            "setpcap", "setuid", "sys_admin", "sys_boot", "sys_chroot", "sys_module", "sys_nice", "sys_pacct", "sys_ptrace",
            "sys_rawio", "sys_resource", "sys_time", "sys_tty_config", "syslog", "wake_alarm",
        ])

    static let mountOption = closed("a mount option", ["ro", "rw", "nosuid", "nodev", "noexec", "noatime"])

    private static func closed(_ what: String, _ words: [String], isListed: Bool = false) -> TextRule {
        let expectation = words.count > 12 && !isListed ? what : "\(what): \(words.joined(separator: ", "))"
        return TextRule(
            expectation: expectation, pattern: "^(\(words.joined(separator: "|")))$", length: 1...32, words: words
        ) { words.contains(String(decoding: $0, as: UTF8.self)) }
    }

    // MARK: Paths

    static let directory = TextRule(
        expectation: "an absolute path below / without . and .. as a part, and without / at its end",
        pattern: "^(/(?!\\.{1,2}(/|$))[^/\\u0000-\\u001f\\u007f-\\u009f]+)+$", length: 2...4095
    ) { bytes in
        let parts = bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        return parts.count > 1 && parts[0].isEmpty
            && parts.dropFirst().allSatisfy { !$0.isEmpty && $0 != [46] && $0 != [46, 46] }
    }

    /// A JSON pointer (RFC 6901) to a field below `spec`.
    static let pointer = TextRule(
        expectation: "a JSON pointer below spec, such as /cpuunits", pattern: "^(/[^/\\u0000-\\u001f\\u007f-\\u009f]+)+$",
        length: 2...1024
    ) { bytes in
        let parts = bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        return parts.count > 1 && parts[0].isEmpty && parts.dropFirst().allSatisfy { !$0.isEmpty }
    }

    // MARK: Parts

    private static let upTo4095 = "(0|[1-9][0-9]{0,2}|[1-3][0-9]{3}|40[0-8][0-9]|409[0-5])"
    private static let upTo32 = "(3[0-2]|[12]?[0-9])"
    private static let upTo128 = "(12[0-8]|1[01][0-9]|[1-9]?[0-9])"
    /// 0.0.0.0 and :: are no address.
    private static let notNowhere = "(?!(0\\.0\\.0\\.0|::)(/|$))"
    private static let octet = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
    private static let ipv4 = "\(octet)(\\.\(octet)){3}"
    /// Wider than the truth, which no regular expression of a sane length says.
    private static let ipv6 = "[0-9A-Fa-f]*:[0-9A-Fa-f:]*(:\(octet)(\\.\(octet)){3})?"

    private static func isInterfaceName(_ bytes: [UInt8]) -> Bool {
        guard let first = bytes.first, isLetter(first) || isDigit(first) else { return false }
        return bytes.allSatisfy { isLetter($0) || isDigit($0) || "._-".utf8.contains($0) }
    }

    private static func hex(_ byte: UInt8) -> Int? {
        byte < 0x80 ? Character(Unicode.Scalar(byte)).hexDigitValue : nil
    }

    /// Without a sign or a leading zero.
    private static func decimal(_ text: String) -> Int? {
        guard (1...7).contains(text.utf8.count), text.utf8.allSatisfy(isDigit), text == "0" || !text.hasPrefix("0") else {
            return nil
        }
        return Int(text)
    }
}

/// An address in its one spelling: RFC 5952 for IPv6, four decimal numbers without leading zeros for IPv4.
struct IPAddress {
    enum Prefix { case none, optional, required }

    let text: String

    /// `nil` when `text` is no address, is 0.0.0.0 or ::, or has or lacks a prefix where it shall not.
    init?(_ text: String, prefix: Prefix) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let host = parts.first else { return nil }
        let isIPv6 = host.contains(":")
        guard let canonical = Self.canonical(String(host), isIPv6 ? AF_INET6 : AF_INET) else { return nil }
        guard canonical != "0.0.0.0", canonical != "::" else { return nil }
        guard parts.count == 2 else {
            if prefix == .required { return nil }
            self.text = canonical
            return
        }
        guard prefix != .none, (1...3).contains(parts[1].utf8.count), parts[1].utf8.allSatisfy(TextRule.isDigit),
            let bits = Int(parts[1]), bits <= (isIPv6 ? 128 : 32), parts[1] == String(bits)
        else { return nil }
        self.text = "\(canonical)/\(bits)"
    }

    private static func canonical(_ host: String, _ family: Int32) -> String? {
        var address = in6_addr()
        guard !host.utf8.contains(0), inet_pton(family, host, &address) == 1 else { return nil }
        var buffer = [CChar](repeating: 0, count: 64)
        guard inet_ntop(family, &address, &buffer, socklen_t(buffer.count)) != nil else { return nil }
        return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}
