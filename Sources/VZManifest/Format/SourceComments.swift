/// The comments and empty lines of a text, in order, to be taken one after the other.
struct SourceComments {
    /// A comment, or an empty line.
    struct Item: Equatable {
        var line: Int
        /// From 1; 0 for an empty line.
        var column: Int
        /// From `#` on, without blanks at its end; empty for an empty line.
        var text: String
        /// Whether nothing else stands on its line.
        var isAlone: Bool
    }

    private var items: ArraySlice<Item>

    /// All comments' texts, in order.
    var texts: [String] { items.map(\.text).filter { !$0.isEmpty } }

    /// None.
    init() { items = [] }

    /// - Parameter scalars: where every scalar stands, in which `#` is text.
    init(_ bytes: [UInt8], scalars: [SourceTree.Span]) throws(SourceTree.Refusal) {
        var found: [Item] = []
        var spans = scalars[...]
        for (index, line) in Self.lines(bytes).enumerated() {
            let number = index + 1
            while let span = spans.first, span.end.line < number { spans = spans.dropFirst() }
            let here = spans.prefix { $0.start.line <= number }
            guard let first = line.firstIndex(where: { $0 != " " && $0 != "\t" }) else {
                if !here.contains(where: { $0.start.line < number && $0.end.line > number }) {
                    found.append(Item(line: number, column: 0, text: "", isAlone: true))
                }
                continue
            }
            for column in line.indices where line[column] == "#" {
                guard column == 0 || line[column - 1] == " " || line[column - 1] == "\t" else { continue }
                let mark = YAMLMark(line: number, column: column + 1)
                if let span = here.first(where: {
                    $0.start <= mark && mark < $0.end || $0.start.line == number && $0.style == .blockScalar && $0.start < mark
                }) {
                    guard span.style != .blockScalar else {
                        throw SourceTree.Refusal(
                            mark: mark,
                            message: "# in or beside a text behind | or > may be a comment: write the text in quotation marks")
                    }
                    continue
                }
                var text = line[column...]
                while let last = text.last, last == " " || last == "\t" { text = text.dropLast() }
                found.append(
                    Item(line: number, column: column + 1, text: String(String.UnicodeScalarView(text)), isAlone: first == column))
                break
            }
        }
        items = found[...]
    }

    private static func lines(_ bytes: [UInt8]) -> [[Unicode.Scalar]] {
        var scalars = Array(String(decoding: bytes, as: UTF8.self).unicodeScalars)[...]
        if scalars.first == "\u{FEFF}" { scalars = scalars.dropFirst() }
        var lines: [[Unicode.Scalar]] = [[]]
        var isBehindReturn = false
        for scalar in scalars {
            if scalar == "\n", isBehindReturn {
                isBehindReturn = false
                continue
            }
            isBehindReturn = scalar == "\r"
            if scalar == "\n" || scalar == "\r" { lines.append([]) } else { lines[lines.count - 1].append(scalar) }
        }
        return lines
    }

    // MARK: Taking

    /// Those that stand alone before a line.
    mutating func alone(before line: Int) -> [Item] {
        let taken = items.prefix { $0.line < line && $0.isAlone }
        items = items.dropFirst(taken.count)
        return Array(taken)
    }

    /// Those that stand alone before a line, as far as they are indented at least to a column, without empty lines at the end.
    mutating func alone(before line: Int, fromColumn column: Int) -> [Item] {
        var taken = Array(items.prefix { $0.line < line && $0.isAlone && ($0.column == 0 || $0.column >= column) })
        while let last = taken.last, last.text.isEmpty { taken.removeLast() }
        items = items.dropFirst(taken.count)
        return taken
    }

    /// The one at the end of a line.
    mutating func behind(line: Int) -> Item? {
        guard let next = items.first, next.line == line, !next.isAlone else { return nil }
        items = items.dropFirst()
        return next
    }

    /// Takes the empty lines away that stand before a line, and gives the first comment there.
    mutating func left(before line: Int) -> Item? {
        while let next = items.first, next.line < line {
            if !next.text.isEmpty { return next }
            items = items.dropFirst()
        }
        return nil
    }
}
