/// The manual page vz-container(5), made of the table of fields.
public enum ManualPage {
    /// The page in man(7)'s macros; the same text every time.
    public static func text() -> String {
        var lines = [
            #".\" Made of the table of fields by "vzctl explain --man"; a test compares them."#,
            ".TH VZ\\-CONTAINER 5", ".SH NAME", "vz\\-container \\- manifests of containers in /etc/vz.d", ".SH DESCRIPTION",
        ]
        lines += paragraph(
            "A YAML document in /etc/vz.d, /run/vz.d or /usr/lib/vz.d declares one container (kind: Container), what containers that "
                + "name it start from (kind: Profile), or what every container of the node starts from (kind: Defaults). "
                + "A file may hold several documents.")
        lines += paragraph(
            "What a field is left with is built in, then set by the Defaults, the profile, the document, and the drop-ins in the "
                + "directory FILE.d in the order of their names; each goes before the ones above. Mappings are merged, lists are replaced, and "
                + "null in a drop-in takes away what is below (RFC 7386).")
        lines += [".SH VALUES"]
        lines += paragraph(
            "Sizes are decimal numbers with B, K, M, G, T (times 1024 each, in either case) or P (pages of 4096 bytes). "
                + "Durations are whole numbers with s, m or h. Two bounds are written as \"barrier:limit\" in quotation marks, as a mapping, or as "
                + "one number for both.")
        lines += [".SH FIELDS"]
        for field in FieldTable.all {
            lines += [".TP", ".B \(escaped(field.path))", safe(escaped(field.summary))]
            lines += [".br", safe(escaped(field.facts.map { "\($0.name): \($0.text)" }.joined(separator: "; ")) + ".")]
        }
        lines += [".SH SEE ALSO", "vzctl(8), capabilities(7)"]
        return lines.joined(separator: "\n") + "\n"
    }

    private static func paragraph(_ text: String) -> [String] { [".PP", safe(escaped(text))] }

    /// A line that begins with a point or an apostrophe would be a request.
    private static func safe(_ line: String) -> String { line.hasPrefix(".") || line.hasPrefix("'") ? "\\&" + line : line }

    private static func escaped(_ text: String) -> String {
        var out = ""
        for character in text {
            switch character {
            case "\\": out += "\\e"
            case "-": out += "\\-"
            case "…": out += "\\[u2026]"
            default: out.append(character)
            }
        }
        return out
    }
}
