import Glibc
import Testing
import VZKernel
import VZReconciler

@Suite(.timeLimit(.minutes(1)))
struct FileLockTests {
    let temporary: TemporaryDirectory
    let path: String

    init() throws {
        temporary = try TemporaryDirectory()
        path = "\(temporary.path)/lock"
    }

    /// Whether another process gets the lock.
    private func isFree() throws -> Bool { try run(["flock", "--nonblock", path, "true"]) == 0 }

    @Test func itExcludesOtherProcesses() throws {
        var lock = try FileLock.tryLock(path)
        #expect(lock != nil)
        #expect(try mode(of: path) == 0o600)
        #expect(FileLock.holder(of: path) == getpid())
        #expect(try !isFree())
        lock = nil
        #expect(try isFree())
        #expect(FileLock.holder(of: path) == nil)
        #expect(exists(path), "the file stays")
        lock = try FileLock.tryLock(path)
        #expect(lock != nil)
    }

    @Test func itExcludesTheSameProcess() throws {
        let lock = try FileLock.tryLock(path)
        #expect(lock != nil)
        #expect(try FileLock.tryLock(path) == nil)
        #expect(FileLock.holder(of: path) == getpid(), "who did not get it wrote nothing")
        withExtendedLifetime(lock) {}
    }

    @Test func itWaitsForAnotherProcessUntilTheDeadline() throws {
        let other = try Child(["flock", path, "sh", "-c", "echo ready; read line; exit 0"])
        #expect(other.line() == "ready")
        #expect(try FileLock.tryLock(path) == nil)
        let start = ContinuousClock.now
        #expect(try FileLock.lock(path, deadline: start + .milliseconds(120)) == nil)
        #expect(ContinuousClock.now - start >= .milliseconds(120))
        #expect(try FileLock.lock(path, deadline: start) == nil)
        #expect(other.wait() == 0)
        #expect(try FileLock.lock(path, deadline: .now + .seconds(20)) != nil)
    }

    @Test func itIsReleasedWhenItsHolderIsKilled() throws {
        let other = try Child(["flock", "--no-fork", path, "sh", "-c", "echo ready; exec sleep 1000"])
        #expect(other.line() == "ready")
        #expect(try FileLock.tryLock(path) == nil)
        kill(other.pid, SIGKILL)
        #expect(try FileLock.lock(path, deadline: .now + .seconds(20)) != nil)
    }

    @Test func itIsReleasedAlthoughAChildRuns() throws {
        var lock = try FileLock.tryLock(path)
        #expect(lock != nil)
        let child = try Child(["cat"])
        lock = nil
        #expect(try isFree())
        #expect(child.wait() == 0)
    }

    @Test func itFollowsNoLinkAndTakesNoFIFO() throws {
        try put("precious", "\(temporary.path)/target")
        try #require(symlink("target", path) == 0)
        #expect { try FileLock.tryLock(path) } throws: { ($0 as? KernelError)?.errno == ELOOP }
        #expect(try bytes(of: "\(temporary.path)/target") == Array("precious".utf8))
        try #require(unlink(path) == 0 && mkfifo(path, 0o600) == 0)
        #expect { try FileLock.tryLock(path) } throws: { ($0 as? KernelError)?.errno == EPERM }
        #expect { try FileLock.tryLock("\(temporary.path)/none/lock") } throws: { ($0 as? KernelError)?.errno == ENOENT }
    }

    @Test func aRemovedFileExcludesNobodyForLong() throws {
        let first = try FileLock.tryLock(path)
        #expect(first != nil)
        try #require(unlink(path) == 0)
        let second = try FileLock.tryLock(path)
        #expect(second != nil, "whoever removes the file gives up the first lock")
        #expect(try !isFree())
        withExtendedLifetime((first, second)) {}
    }
}
