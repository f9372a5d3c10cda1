/// How text from a file is shown in a message: never so that it can write to the terminal by itself.
enum Quoting {
    /// `text` between quotation marks, escaped as YAML escapes it, cut when it is long.
    static func shown(_ text: String) -> String {
        let scalars = text.unicodeScalars
        let head = String(String.UnicodeScalarView(scalars.prefix(60)))
        return doubleQuoted(head) + (scalars.count > 60 ? "…" : "")
    }

    /// `text` with every control and format character as an escape.
    static func visible(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: isUnprintable) else { return text }
        return text.unicodeScalars.map { isUnprintable($0) ? escape($0) : String($0) }.joined()
    }

    /// `line` with every control and format character but the tab replaced by one character, so that columns stay.
    static func sameWidth(_ line: String) -> String {
        String(String.UnicodeScalarView(line.unicodeScalars.map { $0 != "\t" && isUnprintable($0) ? "\u{FFFD}" : $0 }))
    }

    /// A double-quoted YAML scalar that reads back as exactly `text`.
    static func doubleQuoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\t": out += "\\t"
            case _ where isUnprintable(scalar): out += escape(scalar)
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out + "\""
    }

    private static func escape(_ scalar: Unicode.Scalar) -> String {
        let digits = String(scalar.value, radix: 16, uppercase: true)
        let (letter, width) = scalar.value < 0x100 ? ("x", 2) : scalar.value < 0x10000 ? ("u", 4) : ("U", 8)
        return "\\" + letter + String(repeating: "0", count: width - digits.count) + digits
    }

    private static func isUnprintable(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.value < 0x7F { return scalar.value < 0x20 }
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .unassigned, .surrogate: return true
        default: return false
        }
    }
}
