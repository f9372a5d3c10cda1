internal import Glibc
internal import VZKernel

/// The commit that is checked out where a file lies.
///
/// Read from the repository's own files; no program is run and no setting of the repository is heeded, so that its owner does not
/// matter. Looked at are a few small files: 64 parents, 8 symbolic references, 16 MiB of packed references at most.
public enum GitRevision {
    /// The commit of the work tree that `directory` lies in, 40 or 64 hexadecimal digits; `nil` outside of a work tree, before the
    /// first commit, and for repositories that keep their references otherwise than in files.
    public static func of(directory: String) -> String? {
        guard let start = realPath(directory) else { return nil }
        var components = start.split(separator: "/")[...]
        for _ in 0..<64 {
            let place = "/" + components.joined(separator: "/")
            if let repository = repository(at: place) { return revision(of: repository) }
            if components.isEmpty { return nil }
            components.removeLast()
        }
        return nil
    }

    /// A repository and where it keeps the references that its work trees share.
    private struct Repository {
        var own: String
        var common: String
    }

    private static func repository(at place: String) -> Repository? {
        let path = place == "/" ? "/.git" : place + "/.git"
        var info = stat()
        guard stat(path, &info) == 0 else { return nil }
        var own = path
        if info.st_mode & S_IFMT == S_IFREG {
            guard let text = read(path, limit: 8192), let prefix = text.firstRange(of: "gitdir: "),
                prefix.lowerBound == text.startIndex
            else { return nil }
            own = resolve(String(text[prefix.upperBound...]), in: place)
        }
        guard let head = read(own + "/HEAD", limit: 8192), !head.isEmpty else { return nil }
        let common = read(own + "/commondir", limit: 8192).map { resolve($0, in: own) } ?? own
        return Repository(own: own, common: common)
    }

    private static func revision(of repository: Repository) -> String? {
        var name = "HEAD"
        for _ in 0..<8 {
            // HEAD and a few others belong to the work tree, the rest to all work trees.
            guard
                let value = read("\(repository.own)/\(name)", limit: 8192) ?? read("\(repository.common)/\(name)", limit: 8192)
                    ?? packed(name, in: repository)
            else { return nil }
            guard let prefix = value.firstRange(of: "ref: "), prefix.lowerBound == value.startIndex else {
                return isRevision(value) ? value : nil
            }
            name = String(value[prefix.upperBound...])
            guard isReference(name) else { return nil }
        }
        return nil
    }

    private static func packed(_ name: String, in repository: Repository) -> String? {
        guard let text = read(repository.common + "/packed-refs", limit: 16 << 20) else { return nil }
        for line in text.utf8.split(separator: UInt8(ascii: "\n")) {
            guard line.count > name.utf8.count + 40, line.suffix(name.utf8.count).elementsEqual(name.utf8) else { continue }
            let words = line.split(separator: UInt8(ascii: " "))
            guard words.count == 2, words[1].elementsEqual(name.utf8), let revision = String(words[0]) else { continue }
            return isRevision(revision) ? revision : nil
        }
        return nil
    }

    private static func isRevision(_ text: some StringProtocol) -> Bool {
        (text.utf8.count == 40 || text.utf8.count == 64)
            && text.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
    }

    /// Below `refs/`, and never out of the repository.
    private static func isReference(_ name: String) -> Bool {
        name.hasPrefix("refs/") && !name.utf8.contains(0) && name.utf8.count < 1024
            && !name.split(separator: "/", omittingEmptySubsequences: false).contains { $0.isEmpty || $0 == "." || $0 == ".." }
    }

    private static func resolve(_ path: String, in directory: String) -> String {
        path.hasPrefix("/") ? path : "\(directory)/\(path)"
    }

    /// A regular file's text without its last line break; `nil` when there is none, or it is too long.
    private static func read(_ path: String, limit: Int) -> String? {
        guard let file = try? Descriptor.open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY) else { return nil }
        var info = stat()
        guard fstat(file.raw, &info) == 0, info.st_mode & S_IFMT == S_IFREG, info.st_size <= limit,
            var bytes = try? file.readAll(limit: limit, named: path)
        else { return nil }
        while bytes.last == UInt8(ascii: "\n") || bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
        return String(validating: bytes, as: UTF8.self)
    }

    private static func realPath(_ path: String) -> String? {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        return String(cString: resolved)
    }
}
