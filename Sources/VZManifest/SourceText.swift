/// The bytes of a file, cut into pieces of one document each, with the places of its lines.
///
/// A line that begins with `---` starts a document wherever it stands, even inside an open quotation (YAML 1.2, 9.1.2). Cutting there
/// first, and reading each piece by itself, is what keeps a fault in one document from hiding the others.
struct SourceText {
    /// One document's bytes.
    struct Piece {
        var bytes: Range<Int>
        /// Number of its first line in the file, from 1.
        var firstLine: Int
        /// The first byte in it that cannot stand in a YAML file.
        var fault: Fault?
    }

    /// A byte that is not text, or a character that YAML does not allow.
    struct Fault {
        var offset: Int
        var message: String
    }

    let bytes: [UInt8]
    private(set) var pieces: [Piece] = []
    /// Offset of the first byte of each line.
    private var lineStarts: [Int] = []

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        bytes.withUnsafeBufferPointer { scan($0) }
    }

    /// Line and column, both from 1, of a byte.
    func position(of offset: Int) -> (line: Int, column: Int) {
        let next = lineStarts.partitioningIndex { $0 > offset }
        let start = next > 0 ? lineStarts[next - 1] : 0
        // Every byte but a continuation byte begins a character.
        let column = bytes[start..<min(offset, bytes.count)].count { $0 & 0xC0 != 0x80 }
        return (max(next, 1), column + 1)
    }

    /// The line for showing under a message; `nil` when there is no such line, or when it is too long for a terminal.
    func line(_ number: Int) -> String? {
        guard lineStarts.indices.contains(number - 1) else { return nil }
        let start = lineStarts[number - 1]
        let end = lineStarts.indices.contains(number) ? lineStarts[number] : bytes.count
        var content = bytes[start..<end]
        while let last = content.last, last == 10 || last == 13 { content = content.dropLast() }
        guard content.count <= 400 else { return nil }
        return Quoting.sameWidth(String(decoding: content, as: UTF8.self))
    }

    // MARK: - One pass over the bytes

    private mutating func scan(_ bytes: UnsafeBufferPointer<UInt8>) {
        let start = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
        var piece = Piece(bytes: start..<bytes.count, firstLine: 1)
        // Where the piece of a `---` begins: before the comments and directives above it, when nothing else stands between them
        // and the end of the document before.
        var head: (offset: Int, line: Int)? = (start, 1)
        var offset = start
        while offset < bytes.count {
            lineStarts.append(offset)
            let kind = Self.kind(of: bytes, lineAt: offset)
            if kind == .documentStart { cut(&piece, at: head ?? (offset, lineStarts.count)) }
            offset = Self.checkLine(bytes, from: offset, fault: &piece.fault)
            switch kind {
            case .documentEnd: head = (offset, lineStarts.count + 1)
            case .noContent: break
            case .documentStart, .content: head = nil
            }
        }
        pieces.append(piece)
    }

    /// Ends `piece` before `place`, and makes it the piece that begins there.
    private mutating func cut(_ piece: inout Piece, at place: (offset: Int, line: Int)) {
        guard place.offset > piece.bytes.lowerBound else { return }
        var next = Piece(bytes: place.offset..<piece.bytes.upperBound, firstLine: place.line)
        piece.bytes = piece.bytes.lowerBound..<place.offset
        if let fault = piece.fault, fault.offset >= place.offset { swap(&next.fault, &piece.fault) }
        pieces.append(piece)
        piece = next
    }

    private enum LineKind { case documentStart, documentEnd, noContent, content }

    private static func kind(of bytes: UnsafeBufferPointer<UInt8>, lineAt start: Int) -> LineKind {
        func marker(_ byte: UInt8) -> Bool {
            guard start + 3 <= bytes.count, (0..<3).allSatisfy({ bytes[start + $0] == byte }) else { return false }
            return start + 3 == bytes.count || [9, 10, 13, 32].contains(bytes[start + 3])
        }
        var offset = start
        switch bytes[start] {
        case UInt8(ascii: "-"): return marker(UInt8(ascii: "-")) ? .documentStart : .content
        case UInt8(ascii: "."): return marker(UInt8(ascii: ".")) ? .documentEnd : .content
        case UInt8(ascii: "%"): return .noContent
        default:
            while offset < bytes.count, bytes[offset] == 32 || bytes[offset] == 9 { offset += 1 }
            return offset == bytes.count || [10, 13, UInt8(ascii: "#")].contains(bytes[offset]) ? .noContent : .content
        }
    }

    /// Checks one line and gives the offset of the next.
    private static func checkLine(_ bytes: UnsafeBufferPointer<UInt8>, from start: Int, fault: inout Fault?) -> Int {
        var offset = start
        while offset < bytes.count {
            let byte = bytes[offset]
            if byte == 10 { return offset + 1 }
            if byte == 13 { return offset + (offset + 1 < bytes.count && bytes[offset + 1] == 10 ? 2 : 1) }
            if (32...126).contains(byte) || byte == 9 {
                offset += 1
                continue
            }
            let (length, problem) = check(bytes, at: offset)
            if let problem, fault == nil { fault = Fault(offset: offset, message: problem.message) }
            offset += length
        }
        return offset
    }

    /// What is wrong with a character.
    private enum Problem {
        case notUTF8(UInt8)
        case notText
        case lineSeparator(Unicode.Scalar)
        case notYAML(Unicode.Scalar)

        var message: String {
            switch self {
            case .notUTF8(let byte): "expected text in UTF-8, got the byte 0x" + String(byte, radix: 16, uppercase: true)
            case .notText: "expected text in UTF-8, got UTF-16 or something that is no text"
            case .lineSeparator(let scalar):
                "the line separator \(Self.name(scalar)) ends a line for some YAML readers only; expected a plain line break"
            case .notYAML(let scalar): "expected text, got the character \(Self.name(scalar)), which YAML does not allow"
            }
        }

        private static func name(_ scalar: Unicode.Scalar) -> String {
            let digits = String(scalar.value, radix: 16, uppercase: true)
            return "U+" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits
        }
    }

    /// The length of the character at `offset`, and what is wrong with it.
    private static func check(_ bytes: UnsafeBufferPointer<UInt8>, at offset: Int) -> (length: Int, problem: Problem?) {
        let first = bytes[offset]
        // A file in UTF-16 begins with a mark that is no UTF-8.
        let notUTF8 = offset == 0 && first >= 0xFE ? Problem.notText : .notUTF8(first)
        let length = first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0
        guard length > 0, offset + length <= bytes.count else { return (1, notUTF8) }
        var value = length == 1 ? UInt32(first) : UInt32(first) & (0x7F >> UInt32(length))
        for byte in bytes[(offset + 1)..<(offset + length)] {
            guard byte & 0xC0 == 0x80 else { return (1, notUTF8) }
            value = value << 6 | UInt32(byte & 0x3F)
        }
        let shortest: UInt32 = length == 4 ? 0x10000 : length == 3 ? 0x800 : 0
        guard value >= shortest, let scalar = Unicode.Scalar(value) else { return (1, notUTF8) }
        switch value {
        case 0x85, 0x2028, 0x2029: return (length, .lineSeparator(scalar))
        case 0..<0x20, 0x7F..<0xA0, 0xFEFF, 0xFFFE, 0xFFFF: return (length, .notYAML(scalar))
        default: return (length, nil)
        }
    }
}

extension Array where Element == Int {
    /// Index of the first element of a sorted array that `belongs`, by halving.
    fileprivate func partitioningIndex(where belongs: (Int) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if belongs(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
