/// Something that a host can do, or cannot: with what follows from that, and what mends it.
public struct Finding: Equatable, Sendable, Codable {
    /// A field of manifests, or a part of the host: `iolimit`, `kernel`.
    public var subject: String
    public var isFine: Bool
    /// What there is.
    public var found: String
    /// What is not to be had; `nil` when all is fine.
    public var consequence: String?
    public var mend: String?

    private enum CodingKeys: String, CodingKey {
        case subject, found, consequence, mend
        case isFine = "ok"
    }

    static func fine(_ subject: String, _ found: String) -> Finding { Finding(subject: subject, isFine: true, found: found) }

    static func missing(_ subject: String, _ found: String, _ consequence: String, mend: String) -> Finding {
        Finding(subject: subject, isFine: false, found: found, consequence: consequence, mend: mend)
    }

    /// - Parameter reason: what is missing, and behind the first semicolon what mends it.
    static func missing(_ subject: String, reason: String, _ consequence: String) -> Finding {
        let parts = reason.split(separator: ";", maxSplits: 1).map { $0.drop { $0 == " " } }
        return missing(
            subject, parts.first.map(String.init) ?? reason, consequence,
            mend: parts.count > 1 ? String(parts[1]) : "use another kernel or another place for the state directory")
    }
}
