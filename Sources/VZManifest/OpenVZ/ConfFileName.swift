internal import VZModel

/// What the name of an OpenVZ configuration says (`openvz.md` 6.1).
enum ConfFileName: Equatable {
    /// `101.conf`: the container's number as it stands there.
    case container(String)
    /// `UUID.conf` of Virtuozzo 7, or any other name: a container without a number.
    case named(String)
    /// `ve-NAME.conf-sample`, with or without an architecture behind it.
    case sample(String)
    /// `vz.conf`.
    case global

    init(path: String) {
        let name = path.split(separator: "/").last.map(String.init) ?? ""
        if name == "vz.conf" {
            self = .global
        } else if let range = name.firstRange(of: ".conf-sample") {
            let head = name[..<range.lowerBound]
            let tail = name[range.upperBound...]
            self = .sample((head.hasPrefix("ve-") ? String(head.dropFirst(3)) : String(head)) + tail)
        } else {
            var stem = name[...]
            for ending in [".conf", ".ve.conf"] where name.hasSuffix(ending) { stem = name.dropLast(ending.count) }
            if name == "ve.conf" {
                // Virtuozzo 7 keeps the file beside the container's data, in a directory of the container's own name.
                stem = path.split(separator: "/").dropLast().last ?? "ve"
            }
            self =
                !stem.isEmpty && stem.utf8.allSatisfy { (48...57).contains($0) } ? .container(String(stem)) : .named(String(stem))
        }
    }

    /// A manifest's name as near as possible to `text`: a DNS label that is no number.
    static func label(_ text: String) -> String {
        var label = ""
        for byte in text.lowercased().utf8 {
            let isUsable = (97...122).contains(byte) || (48...57).contains(byte)
            if isUsable {
                label.unicodeScalars.append(Unicode.Scalar(byte))
            } else if !label.isEmpty, !label.hasSuffix("-") {
                label += "-"
            }
        }
        if label.utf8.allSatisfy({ (48...57).contains($0) || $0 == UInt8(ascii: "-") }) { label = "ct" + label }
        label = String(label.prefix(63))
        while label.hasSuffix("-") { label.removeLast() }
        return label
    }
}
