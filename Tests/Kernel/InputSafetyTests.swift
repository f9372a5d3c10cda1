import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZReconciler

/// Whatever becomes of the directory and of what stands in it: what runs goes on until somebody means it.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct InputSafetyTests {
    // MARK: The directory

    /// How a directory is lost, what is told of it, and how it comes back.
    private struct Loss {
        var name: String
        var script: String
        var told: String
        var mend: String
    }

    private static let losses = [
        Loss(
            name: "removed", script: "cp -a config config.kept; rm -r config", told: "No such file or directory",
            mend: "cp -a config.kept config; rm -r config.kept"),
        Loss(
            name: "a file", script: "mv config config.kept; touch config", told: "Not a directory",
            mend: "rm config; mv config.kept config"),
        Loss(
            name: "a link to nowhere", script: "mv config config.kept; ln -s nowhere config", told: "No such file or directory",
            mend: "rm config; mv config.kept config"),
        Loss(
            name: "not trusted", script: "chmod 777 config", told: "expected to be writable by its owner only, got mode 777",
            mend: "chmod 755 config"),
        Loss(
            name: "below a parent of another name", script: "mkdir up; mv config up/c; ln -s up/c config; mv up gone",
            told: "No such file or directory", mend: "mv gone up"),
        Loss(
            name: "emptied", script: "mkdir kept; mv config/*.yaml kept",
            told: "its directory is empty, which by itself removes nothing",
            mend: "mv kept/*.yaml config; rmdir kept"),
    ]

    @Test func aDirectoryThatIsLostRemovesNobody() throws {
        try withScene { scene in
            for (number, loss) in Self.losses.enumerated() {
                try scene.host(loss.script, in: scene.node.directory)
                try scene.look()
                try scene.awaitStatus("web", loss.told)
                try scene.untouched()
                let told = try scene.node.vzctl("plan")
                // Who comes only now cannot know that it was there.
                #expect([loss.told, "does not exist"].contains { told.output.contains($0) }, "\(loss.name): \(told)")
                try scene.host(loss.mend, in: scene.node.directory)
                // At once, where nothing tells that it is back.
                scene.daemon.send(SIGHUP)
                try scene.edit("web", 60 + number)
                try scene.edit("db", 60 + number)
            }
        }
    }

    @Test func mountsOverTheDirectoryAndUnderItRemoveNobody() throws {
        try withNode { node in
            let config = node.paths.manifests[0]
            defer { while umount2(config, Int32(MNT_DETACH)) == 0 {} }
            func mount(_ arguments: String) throws { try Command.run(["sh", "-ec", "mount \(arguments) '\(config)'"]) }
            try mount("-t tmpfs -o mode=755 vz-test")
            let scene = try SafetyScene(node, ["web": 101, "db": 102], [:], arguments: [])

            // Its file system is gone: below it there is an empty directory, on another device.
            try scene.host("cp *.yaml '\(node.directory)'")
            #expect(umount2(config, 0) == 0)
            scene.awaitLog("\(config): on another device than before, and without db.yaml: was its file system unmounted?")
            try scene.look()
            try scene.untouched()
            try scene.host("cp web.yaml config", in: node.directory)
            try scene.look()
            try scene.untouched()
            // Another daemon finds what is there and knows no more.
            try scene.host("rm config/web.yaml", in: node.directory)
            try scene.restartDaemon()
            scene.awaitLog("its directory is empty, which by itself removes nothing")
            try scene.look()
            try mount("-t tmpfs -o mode=755 vz-test")
            try scene.host("cp *.yaml config", in: node.directory)
            try scene.edit("web", 60)
            try scene.edit("db", 60)

            // Something is mounted over it: a directory of the host, and a file system of its own.
            let empty = node.directory + "/empty"
            try Descriptor.makeDirectories(empty)
            for (number, over) in ["--bind '\(empty)'", "-t tmpfs -o mode=755 vz-test"].enumerated() {
                scene.forgetLog()
                try mount(over)
                scene.awaitLog("\(config): on another device than before")
                try scene.look()
                try scene.untouched()
                #expect(umount2(config, 0) == 0)
                try scene.edit("web", 70 + number)
            }
        }
    }

    @Test func anOverflowOfTheQueueLosesNothing() throws {
        try withScene { scene in
            let limit = try #require(Int(KernelFile.read("/proc/sys/fs/inotify/max_queued_events")))
            scene.daemon.send(SIGSTOP)
            let names = ["\(scene.directory)/.one", "\(scene.directory)/.two"]
            try TestFile.write("", to: names[0])
            // Two events each.
            for number in 0...(limit / 2 + 100) { try #require(rename(names[number % 2], names[(number + 1) % 2]) == 0) }
            try scene.declare("web", numproc: 60)
            try scene.declare("db", numproc: 61)
            scene.daemon.send(SIGCONT)
            try scene.awaitLimit("web", 60)
            try scene.awaitLimit("db", 61)
            scene.awaitLog("the inotify queue overflowed: events were lost, and everything is read again")
            // It watches as before.
            try scene.edit("web", 62)
        }
    }

    @Test func aThousandEditsAreFewLooks() throws {
        try withScene(vzd: "--log-level", "debug") { scene in
            func looks() -> Int { scene.log.split(separator: "\n").count { $0.contains("look: ") } }
            for names in [["web"], ["db", "web"]] {
                scene.forgetLog()
                for number in 1...1000 { try scene.declare(names[number % names.count], numproc: 1000 + number) }
                for (place, name) in names.enumerated() { try scene.awaitLimit(name, place == 0 ? 2000 : 1999) }
                #expect(looks() < 100, "\(scene.log)")
            }
        }
    }

    // MARK: Who is who

    @Test func clashesAndRenames() throws {
        try withScene { scene in
            // Two with one CTID, two with one name.
            try TestFile.write(
                TestNode.manifest("other", "ctid: 101\nbeancounters: {numproc: 10}"), to: scene.directory + "/other.yaml")
            scene.awaitLog("other.yaml:6:9: spec.ctid: the CTID 101 is also given at \(scene.directory)/web.yaml:6:9")
            scene.awaitLog("web.yaml:6:9: spec.ctid: the CTID 101 is also given at \(scene.directory)/other.yaml:6:9")
            try scene.look()
            try scene.untouched()
            try TestFile.write(
                TestNode.manifest("db", "ctid: 103\nbeancounters: {numproc: 10}"), to: scene.directory + "/other.yaml")
            scene.awaitLog("other.yaml:4:9: metadata.name: the name db is also given at")
            try scene.look()
            try scene.untouched()
            try scene.host("rm other.yaml")
            try scene.edit("web", 60)
            try scene.edit("db", 60)

            // The file, the container, and both at once.
            try scene.host("mv web.yaml www.yaml; sed -i 's/numproc: 60/numproc: 61/' www.yaml")
            try scene.awaitLimit("web", 61)
            try scene.host("sed -i 's/name: web/name: front/; s/numproc: 61/numproc: 62/' www.yaml")
            try scene.awaitLimit("web", 62)
            #expect(try scene.node.vzctl("list").output.contains("front"))
            try scene.host("sed 's/name: front/name: web/; s/numproc: 62/numproc: 63/' www.yaml >new; rm www.yaml; mv new web.yaml")
            try scene.awaitLimit("web", 63)
            // Renamed and broken: what is there may be what is missing.
            try scene.host("(echo '<<<<<<< HEAD'; cat db.yaml) >broken~; mv broken~ data.yaml; rm db.yaml")
            scene.awaitLog("its manifest is gone from \(scene.directory)/db.yaml and may be in \(scene.directory)/data.yaml")
            try scene.look()
            try scene.untouched()
            try scene.host("sed -i '/<<<<<<</d; s/numproc: 60/numproc: 64/' data.yaml")
            try scene.awaitLimit("db", 64)
        }
    }
}
