import Glibc
import Testing

@testable import VZKernel

/// A system call that strace(1) saw.
struct SystemCall {
    var name: Substring
    /// As strace writes them, without the last bracket if there is one.
    var arguments: Substring

    /// Runs a program under strace: how it ended, and its calls about files and descriptors, those of its children too.
    static func traced(_ argv: [String], _ node: TestNode, also: String = "") throws -> (TestNode.Finished, [SystemCall]) {
        let log = node.directory + "/strace"
        // It follows the container's processes, too, after the program has ended.
        let trace = "trace=%file,%desc" + also
        unlink(log)
        let result = try node.run(["strace", "-D", "-f", "-q", "-s", "256", "-o", log, "-e", trace] + argv)
        try TestPlace.wait("strace tells the end of \(argv)") {
            // The process id is followed by one blank or, when it is short, by more.
            let lines = try TestFile.read(log).split(separator: "\n").map { $0.split(separator: " ", maxSplits: 2) }
            return lines.contains { $0.count == 3 && $0[0] == lines.first?[0] && $0[1] == "+++" && $0[2].hasPrefix("exited") }
        }
        return (result, try TestFile.read(log).split(separator: "\n").compactMap { SystemCall($0) })
    }

    /// From `PID NAME(ARGUMENTS`; `nil` for a resumed call, which was told before, a signal, or an end.
    private init?(_ line: Substring) {
        let text = line.drop { $0 != " " }.drop { $0 == " " }
        guard let bracket = text.firstIndex(of: "("), !text.hasPrefix("<"), !text.hasPrefix("+"), !text.hasPrefix("-") else {
            return nil
        }
        name = text[..<bracket]
        arguments = text[text.index(after: bracket)...]
    }

    /// Whether it changes something but what it writes to standard output and standard error.
    var writes: Bool {
        let word = name.drop { $0 == "f" || $0 == "l" }
        switch true {
        case name.hasPrefix("open"):
            return ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND", "O_TMPFILE"].contains { arguments.contains($0) }
        case name == "write" || name == "writev": return !["1,", "2,"].contains { arguments.hasPrefix($0) }
        default: return Self.writing.contains { word.hasPrefix($0) || name.hasPrefix($0) }
        }
    }

    private static let writing = [
        "creat", "pwrite", "mkdir", "mknod", "rename", "unlink", "rmdir", "link", "symlink", "chmod", "chown", "truncate",
        "fallocate", "setxattr", "removexattr", "utime", "futimesat", "mount", "umount", "move_mount", "fsmount", "pivot_root",
        "sendfile", "splice", "copy_file_range", "flock", "fsync", "fdatasync",
    ]
}
