import Glibc
import Testing

@testable import VZReconciler

/// Against what git itself says.
@Suite(.timeLimit(.minutes(2))) struct GitRevisionTests {
    let temporary: TemporaryDirectory
    let repository: String

    init() throws {
        temporary = try TemporaryDirectory()
        repository = try temporary.directory("repository")
        try git("git init -q -b main . && mkdir -p nodes/a && echo x > nodes/a/web.yaml && git add . && git commit -q -m first")
    }

    private func git(_ script: String) throws {
        let who = ["AUTHOR", "COMMITTER"].map { "GIT_\($0)_NAME=t GIT_\($0)_EMAIL=t@example.org" }.joined(separator: " ")
        try shell("cd \(repository); export GIT_CONFIG_GLOBAL=/dev/null \(who); \(script)")
    }

    private func head(_ directory: String) throws -> String { try Child(["git", "-C", directory, "rev-parse", "HEAD"]).output() }

    private func agrees(_ directory: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let expected = try head(directory)
        #expect(expected.utf8.count >= 40, sourceLocation: sourceLocation)
        #expect(GitRevision.of(directory: directory) == expected, sourceLocation: sourceLocation)
    }

    @Test func aBranch() throws {
        try agrees(repository)
        try agrees(repository + "/nodes/a")
        try git("git checkout -q -b feature/deep && echo y > y && git add y && git commit -q -m second")
        try agrees(repository)
        try git("git checkout -q main")
        try agrees(repository)
    }

    @Test func packedReferences() throws {
        try git("for n in 1 2 3; do git branch xmain$n; done; git tag -m t main2; git pack-refs --all; git gc -q")
        #expect(!exists(repository + "/.git/refs/heads/main"))
        try agrees(repository)
        // A loose one goes before a packed one.
        try git("echo z > z; git add z; git commit -q -m third")
        try agrees(repository)
    }

    @Test func aDetachedHead() throws {
        try git("git checkout -q --detach")
        try agrees(repository)
    }

    @Test func aWorkTreeOfItsOwn() throws {
        try git("git worktree add -q ../other -b other && cd ../other && echo o > o && git add o && git commit -q -m other")
        let other = temporary.path + "/other"
        try agrees(other)
        try agrees(repository)
        #expect(try head(other) != head(repository))
        try git("git pack-refs --all")
        try agrees(other)
    }

    @Test func aSubmodule() throws {
        try git("git -c protocol.file.allow=always submodule --quiet add \(repository) sub && git commit -q -m sub")
        try agrees(repository + "/sub")
        #expect(try head(repository + "/sub") != head(repository))
    }

    @Test func aSymbolicLinkIntoIt() throws {
        try #require(symlink("repository/nodes/a", temporary.path + "/..data") == 0)
        #expect(try GitRevision.of(directory: temporary.path + "/..data") == head(repository))
    }

    @Test func sha256() throws {
        try git("rm -rf .git; git init -q -b main --object-format=sha256 . && git add . && git commit -q -m first")
        #expect(try head(repository).utf8.count == 64)
        try agrees(repository)
    }

    @Test func outsideOfAWorkTree() throws {
        #expect(GitRevision.of(directory: temporary.path) == nil)
        #expect(GitRevision.of(directory: temporary.path + "/nowhere") == nil)
        #expect(GitRevision.of(directory: "/") == nil)
    }

    @Test func beforeTheFirstCommit() throws {
        try git("rm -rf .git; git init -q -b main .")
        #expect(GitRevision.of(directory: repository) == nil)
    }

    /// What is no repository is none, and holds nobody up.
    @Test(arguments: [
        "", "x", "ref: ", "ref: ../../../../../../etc/hostname", "ref: /etc/hostname", "ref: refs/../../x", "ref: refs//x",
        "ref: HEAD",
        "ref: refs/heads/loop", "C0FFEEC0FFEEC0FFEEC0FFEEC0FFEEC0FFEEC0FF", "ref: refs/heads/directory", "ref: refs/heads/fifo",
    ])
    func aStrangeHead(_ text: String) throws {
        try put(text + "\n", repository + "/.git/HEAD")
        try put("ref: refs/heads/loop\n", repository + "/.git/refs/heads/loop")
        try #require(mkdir(repository + "/.git/refs/heads/directory", 0o755) == 0)
        try #require(mkfifo(repository + "/.git/refs/heads/fifo", 0o644) == 0)
        try put("c0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ff\n", repository + "/.git/x")
        #expect(GitRevision.of(directory: repository) == nil)
    }

    @Test func aHugeHeadOrGitFile() throws {
        try put(String(repeating: "a", count: 1 << 20), repository + "/.git/HEAD")
        #expect(GitRevision.of(directory: repository) == nil)
        try shell("rm -rf \(repository)/.git; head -c 100000 /dev/zero > \(repository)/.git")
        #expect(GitRevision.of(directory: repository) == nil)
        try shell("rm \(repository)/.git; mkfifo \(repository)/.git")
        #expect(GitRevision.of(directory: repository) == nil)
    }
}
