import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// A node whose state, or whose run directory, is on a small file system of its own that has no room left.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct FullDiskTests {
    private static let sleep = "template: busybox\ninit: [/bin/sleep, \"1000000\"]\n"

    /// What there may be none of.
    enum Want: String, CaseIterable { case blocks, inodes }

    /// Mounts a tmpfs of 8 MiB, leaves what is there in it, and unmounts it in the end, when all containers have to have ended.
    private func withSmallDisk(at path: String, _ node: TestNode, _ body: () throws -> Void) throws {
        try run(
            node, "mkdir -p '\(path)'; cp -a '\(path)' '\(path).old'",
            "mount -t tmpfs -o size=8m,nr_inodes=400,mode=700 vz-test '\(path)'",
            "cp -a '\(path).old/.' '\(path)'; rm -rf '\(path).old'")
        defer {
            // vz-keeper has its socket there until the last container has ended.
            TestPlace.wait("nobody keeps \(path) busy") { (try? node.run(["umount", path]).exit) == .code(0) }
        }
        try body()
    }

    private func run(_ node: TestNode, _ scripts: String...) throws {
        for script in scripts {
            let done = try node.run(["sh", "-ec", script])
            #expect(done.exit == .code(0), "\(script): \(done)")
        }
    }

    /// Leaves no room at all.
    private func fill(_ path: String, _ want: Want) throws {
        switch want {
        case .blocks:
            let file = try Descriptor.open("\(path)/filler", O_WRONLY | O_CREAT | O_APPEND, mode: 0o600)
            for size in [1 << 16, 4096, 1] {
                let chunk = [UInt8](repeating: 0, count: size)
                while write(file.raw, chunk, size) > 0 {}
            }
            #expect(errno == ENOSPC)
        case .inodes:
            try Descriptor.makeDirectories("\(path)/filler.d")
            var count = 0
            while let file = try? Descriptor.open("\(path)/filler.d/\(count)", O_WRONLY | O_CREAT, mode: 0o600) {
                withExtendedLifetime(file) {}
                count += 1
            }
            #expect(errno == ENOSPC && count > 10)
        }
    }

    private func makeRoom(_ path: String) throws {
        try Command.run(["rm", "-rf", "--", "\(path)/filler", "\(path)/filler.d"])
    }

    private func manifest(_ numproc: Int, _ ctid: Int) -> String {
        "ctid: \(ctid)\n" + Self.sleep + "beancounters: {numproc: \(numproc)}"
    }

    /// Everything that vz keeps under a directory, but what lines are added to.
    private func contents(_ directories: [String]) throws -> [String: String] {
        var all: [String: String] = [:]
        for directory in directories {
            guard let names = try? Descriptor.open(directory, O_RDONLY | O_DIRECTORY).names() else { continue }
            for name in names { all["\(directory)/\(name)"] = try? TestFile.read("\(directory)/\(name)") }
        }
        return all
    }

    @Test(arguments: Want.allCases) func withoutRoomForState(_ want: Want) throws {
        try withNode { node in
            try withSmallDisk(at: node.paths.state, node) {
                // The roots are elsewhere: it is what is written down that finds no room.
                try run(node, "mkdir '\(node.directory)/roots'; ln -s '\(node.directory)/roots' '\(node.paths.containers)'")
                try node.declare("web", manifest(100, 101))
                try node.declare("db", manifest(100, 102))
                let daemon = try node.vzd()
                try TestPlace.wait("they run", until: { try node.running(101) != nil && node.running(102) != nil }) { daemon.log }
                let processes = try [101, 102].map { try #require(try node.running($0)) }
                try TestPlace.wait("it is settled", until: { try node.plan().isEmpty }, note: { daemon.log })

                try fill(node.paths.state, want)
                let before = try contents([node.paths.records, node.paths.nodeRecords])
                // Limits follow the manifests, drift is put back, and what is removed ends.
                try node.declare("web", manifest(60, 101))
                try TestPlace.wait("the edit is made", until: { try node.group(101).pidsMax() == 60 }, note: { daemon.log })
                try node.group(102).setPIDsMax(7)
                daemon.send(SIGHUP)
                try TestPlace.wait("drift is put back", until: { try node.group(102).pidsMax() == 100 }, note: { daemon.log })
                // What is new must be written down first.
                try node.declare("new", manifest(100, 103))
                let told = "write record \"\(node.paths.records)/"
                TestPlace.wait(
                    "it is told", until: { daemon.log.contains(told + "103\": ") && daemon.log.contains("No space left") }
                ) {
                    daemon.log
                }
                #expect(daemon.log.contains(told + "101\": "), "\(daemon.log)")
                try TestPlace.wait("status tells it", until: { try status(node, 101).contains("No space left") }) { daemon.log }
                let apply = try node.vzctl("apply")
                #expect(apply.exit == .code(1) && apply.errors.contains("CT 101 web: " + told), "\(apply)")
                #expect(apply.errors.contains("CT 103 new: " + told), "\(apply)")
                let stop = try node.vzctl("stop", "db")
                #expect(stop.exit == .code(1) && stop.errors.contains("/overrides/102\": "), "\(stop)")
                #expect(try node.vzctl("plan").exit == .code(0))
                #expect(try node.vzctl("list").exit == .code(0))
                #expect(try node.vzctl("events").output.contains(told + "101"))
                #expect(try node.running(103) == nil)
                // A vzd that begins on a full disk does no worse.
                daemon.kill()
                try node.group(102).setPIDsMax(7)
                let second = try node.vzd()
                try TestPlace.wait("drift is put back", until: { try node.group(102).pidsMax() == 100 }, note: { second.log })
                try TestPlace.wait("the edit stands", until: { try node.group(101).pidsMax() == 60 }, note: { second.log })
                for process in processes { #expect(process.isRunning) }
                #expect(
                    try contents([node.paths.records, node.paths.nodeRecords]) == before, "nothing was replaced, nothing is left")

                try makeRoom(node.paths.state)
                try TestPlace.wait("all converges by itself", until: { try node.running(103) != nil && node.plan().isEmpty }) {
                    second.log
                }
                #expect(try node.vzctl("wait", "web", "--for", "converged", "--timeout", "30").exit == .code(0), "\(second.log)")
                #expect(try node.vzctl("apply").output == "Applied: nothing to do\n")
                for process in processes { #expect(process.isRunning) }
                second.kill()
                for ctid in [101, 102, 103] { try node.group(ctid).killAll() }
                try TestPlace.wait("they end") { try ![101, 102, 103].contains { try node.group($0).isPopulated() } }
            }
        }
    }

    private func status(_ node: TestNode, _ ctid: Int) throws -> String {
        (try? TestFile.read("\(node.paths.status)/\(ctid).json")) ?? ""
    }

    @Test(arguments: Want.allCases) func withoutRoomInTheRunDirectory(_ want: Want) throws {
        try withNode { node in
            try withSmallDisk(at: node.paths.run, node) {
                try node.declare("web", manifest(100, 101))
                let daemon = try node.vzd()
                try TestPlace.wait("it runs", until: { try node.running(101) != nil }, note: { daemon.log })
                let process = try #require(try node.running(101))
                try TestPlace.wait("it is settled", until: { try node.plan().isEmpty }, note: { daemon.log })
                #expect(try node.vzctl("wait", "web", "--for", "converged", "--timeout", "30").exit == .code(0))
                let before = try TestFile.read("\(node.paths.status)/101.json")

                try fill(node.paths.run, want)
                try node.declare("web", manifest(60, 101))
                try TestPlace.wait("the edit is made", until: { try node.group(101).pidsMax() == 60 }, note: { daemon.log })
                TestPlace.wait("it is told", until: { daemon.log.contains("write the status of CT 101: ") }, note: { daemon.log })
                #expect(try TestFile.read("\(node.paths.status)/101.json") == before)
                try node.group(101).setPIDsMax(7)
                #expect(try node.vzctl("apply").exit == .code(0))
                #expect(try node.group(101).pidsMax() == 60)
                #expect(try node.vzctl("list").exit == .code(0) && node.vzctl("plan").exit == .code(0))
                #expect(daemon.isRunning && process.isRunning)

                try makeRoom(node.paths.run)
                daemon.send(SIGHUP)
                #expect(try node.vzctl("wait", "web", "--for", "converged", "--timeout", "30").exit == .code(0), "\(daemon.log)")
                #expect(try TestFile.read("\(node.paths.status)/101.json") != before)
                #expect(process.isRunning)
                daemon.kill()
                try process.send(signal: SIGKILL)
            }
        }
    }
}
