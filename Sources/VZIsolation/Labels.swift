internal import VZKernel
internal import VZModel
internal import VZPlan

/// Facts about a running container that the kernel keeps for us, as extended attributes of its control group: they are there after a
/// restart of ours, need no file, and die with the container.
enum Labels {
    static let name = "name"
    /// On the directory of a root, as the name is.
    static let template = "template"
    private static let start = "start"
    private static let set = "set"

    static func write(_ parameters: StartParameters, name: String, to group: ControlGroup) throws(KernelError) {
        try group.setLabel(self.name, sealed(self.name, Array(name.utf8)))
        try group.setLabel(start, sealed(start, encode(parameters)))
    }

    static func startParameters(of group: ControlGroup) throws(KernelError) -> StartParameters? {
        try bytes(start, of: group).flatMap(decode)
    }

    static func name(of group: ControlGroup) throws(KernelError) -> String? {
        try bytes(name, of: group).map { String(decoding: $0, as: UTF8.self) }
    }

    private static func bytes(_ key: String, of group: ControlGroup) throws(KernelError) -> [UInt8]? {
        try group.label(key).flatMap { unsealed(key, $0) }
    }

    /// A label is not believed unless it is what was written: a digest of key and value goes before the value.
    static func sealed(_ key: String, _ value: [UInt8]) -> [UInt8] {
        var digest = Digest()
        digest.add(part: key)
        digest.add(part: value)
        return Array(digest.text.utf8) + value
    }

    /// The value; `nil` when it is not what was written.
    static func unsealed(_ key: String, _ bytes: [UInt8]) -> [UInt8]? {
        let value = Array(bytes.dropFirst(16))
        return sealed(key, value) == bytes ? value : nil
    }

    /// Adds to what we last wrote. Only the explanation of a change (drift or wanted) rests on it, so a loss is no failure.
    static func note(_ settings: [Setting], on group: ControlGroup) {
        guard var known = try? lastSet(on: group) else { return }
        for setting in settings { known[setting.kernelName] = setting.kernelValue }
        // What a weight stands for depends on the scale that was in force when it was written.
        if let units = settings.first(where: { $0.field == "cpuunits" }) {
            known[units.field] = Int64(units.value).map(Setting.Value.number)
        }
        let lines = known.sorted { $0.key < $1.key }.map { "\($0.key)\0\(text($0.value))\0" }
        try? group.setLabel(set, sealed(set, Array(lines.joined().utf8)))
    }

    static func lastSet(on group: ControlGroup) throws(KernelError) -> [String: Setting.Value] {
        guard let bytes = try bytes(set, of: group) else { return [:] }
        let parts = strings(bytes)
        var known: [String: Setting.Value] = [:]
        for i in stride(from: 0, to: parts.count - 1, by: 2) { known[parts[i]] = value(parts[i + 1]) }
        return known
    }

    private static func text(_ value: Setting.Value) -> String {
        switch value {
        case .number(let n): "n\(n)"
        case .text(let text): "t\(text)"
        case .unlimited: "u"
        }
    }

    private static func value(_ text: String) -> Setting.Value? {
        switch text.first {
        case "n": Int64(text.dropFirst()).map(Setting.Value.number)
        case "t": .text(String(text.dropFirst()))
        case "u": .unlimited
        default: nil
        }
    }

    /// The number of arguments, the arguments, then NAME=VALUE, each ended by NUL, which none of them can hold.
    static func encode(_ parameters: StartParameters) -> [UInt8] {
        let parts =
            [String(parameters.`init`.count)] + parameters.`init`
            + parameters.env.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        return Array(parts.map { $0 + "\0" }.joined().utf8)
    }

    static func decode(_ bytes: [UInt8]) -> StartParameters? {
        let parts = strings(bytes)
        guard let count = parts.first.flatMap({ Int($0) }), count >= 0, parts.count > count else { return nil }
        var env: [String: String] = [:]
        for pair in parts[(1 + count)...] {
            guard let equals = pair.firstIndex(of: "=") else { return nil }
            env[String(pair[..<equals])] = String(pair[pair.index(after: equals)...])
        }
        return StartParameters(init: Array(parts[1...count]), env: env)
    }

    private static func strings(_ bytes: [UInt8]) -> [String] {
        var parts = bytes.split(separator: 0, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
        if parts.last == "" { parts.removeLast() }
        return parts
    }
}
