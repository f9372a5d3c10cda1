import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZReconciler

/// Whoever writes to the directory, with the tools that people use, and in the middle of it: what runs goes on.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct InputSafetyWritersTests {
    @Test func aFileInPiecesCountsWhenItIsWhole() throws {
        try withScene { scene in
            // What stands there before the last line is a valid manifest of its own, without a limit.
            let whole = Array(scene.manifest("web", numproc: 60).utf8)
            let last = try #require(whole.dropLast().lastIndex(of: UInt8(ascii: "\n"))) + 1
            var file: Descriptor? = try Descriptor.open("\(scene.directory)/web.yaml", O_WRONLY | O_TRUNC)
            for (from, to) in [(0, 0), (0, last), (last, last + 8), (last + 8, whole.count)] {
                try file?.writeAll(whole[from..<to], named: "web.yaml")
                try scene.look()
                try scene.untouched()
            }
            scene.awaitLog("web.yaml: is open for writing; it is read when it is closed")
            file = nil
            try scene.awaitLimit("web", 60)

            // Whoever dies in the middle of a word leaves what cannot be read, or what can and hurts nobody.
            try TestFile.write(Array(whole[..<(last + 8)]), to: "\(scene.directory)/web.yaml")
            scene.awaitLog("CT 101 web: the last accepted manifest stays in force")
            try scene.look()
            try scene.edit("web", 61)
            let template = try #require(String(decoding: whole, as: UTF8.self).firstRange(of: "template: busy"))
            let half = scene.manifest("web", numproc: 61)[..<template.upperBound]
            try TestFile.write(String(half), to: "\(scene.directory)/web.yaml")
            try TestPlace.wait("the half is in force", until: { try scene.node.group().pidsMax() == nil }) { scene.log }
            scene.awaitLog("template → busy: lifecycle.disruption is live")
            try scene.edit("web", 62)
        }
    }

    /// Two containers in one file: the half of it says that there is one.
    @Test func halfAFileOfSeveralRemovesNobody() throws {
        try withScene { scene in
            let both = scene.manifest("web", numproc: 60) + "---\n" + scene.manifest("db", numproc: 60)
            try TestFile.write(both, to: "\(scene.directory)/all.yaml")
            scene.awaitLog("expected it once on the node")
            try scene.host("rm web.yaml db.yaml")
            try scene.awaitLimit("db", 60)
            try scene.awaitLimit("web", 60)
            var file: Descriptor? = try Descriptor.open("\(scene.directory)/all.yaml", O_WRONLY | O_TRUNC)
            try file?.writeAll(Array(scene.manifest("web", numproc: 50).utf8), named: "all.yaml")
            try scene.look()
            try file?.writeAll(Array(("---\n" + scene.manifest("db", numproc: 50)).utf8), named: "all.yaml")
            try scene.look()
            file = nil
            try scene.awaitLimit("web", 50)
            try scene.awaitLimit("db", 50)
        }
    }

    /// Editors, git and package managers take a file away before they put the new one in its place.
    @Test func aFileThatIsGoneForAMomentIsNotRemoved() throws {
        try withScene { scene in
            try scene.host("mv web.yaml web.yaml~")
            scene.daemon.send(SIGHUP)
            scene.awaitLog("CT 101 web: its manifest is gone from \(scene.directory)/web.yaml; waiting for it to stay away")
            try scene.edit("web", 60)
            try scene.host("rm web.yaml")
            try scene.awaitStopped("web")
            try scene.untouched()
        }
    }

    @Test func editors() throws {
        try withScene { scene in
            for (number, copy) in [(61, "no"), (62, "yes"), (63, "auto")] {
                try scene.host(
                    "vim.tiny -es -u NONE -i NONE -c 'set nocompatible backup writebackup swapfile backupskip= backupcopy=\(copy)' "
                        + "-c '%s/numproc: [0-9]*/numproc: \(number)/' -c wq web.yaml")
                try scene.awaitLimit("web", number)
                #expect(TestFile.exists("\(scene.directory)/web.yaml~"))
            }
            try scene.host("sed -i 's/numproc: .*}/numproc: 64}/' web.yaml")
            try scene.awaitLimit("web", 64)
            try scene.host("sed -i.bak 's/numproc: .*}/numproc: 65}/' web.yaml")
            try scene.awaitLimit("web", 65)
            try scene.host("sed -i 's/$/\\r/; s/numproc: .*}/numproc: 66}/' web.yaml; grep -q \"$(printf '\\r')\" web.yaml")
            try scene.awaitLimit("web", 66)
            #expect(!scene.log.contains("error"), "\(scene.log)")
        }
    }

    @Test func namesThatNeverCount() throws {
        try withScene { scene in
            let ghost = TestNode.manifest("ghost", "ctid: 105\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]")
            try TestFile.write(ghost, to: "\(scene.directory)/ghost")
            try scene.host(
                """
                for name in ghost.yaml~ ghost.yaml.bak ghost.yaml.orig .ghost.yaml .ghost.yaml.swp .ghost.yaml.d8Xk2 '#ghost.yaml#' \
                    ghost.yaml.dpkg-new ghost.yaml.rpmsave ghost.txt 4913; do cp ghost $name; done
                ln -s root@host.1234:5678 .#ghost.yaml
                for name in .git sub dir.yaml; do mkdir $name; cp ghost $name/ghost.yaml; done
                """)
            try scene.edit("web", 60)
            scene.awaitLog("dir.yaml: expected a regular file or a symbolic link to one, got a directory")
            #expect(try scene.node.node().core.present().map(\.number) == [101, 102])
            // The same in the place of one that counts.
            try scene.host("mv web.yaml web.yaml.bak; mkdir web.yaml; cp web.yaml.bak web.yaml/web.yaml")
            scene.awaitLog("CT 101 web: the last accepted manifest stays in force")
            try scene.look()
            try scene.host("rm -r web.yaml dir.yaml; mv web.yaml.bak web.yaml; mv ghost.txt ghost.yaml")
            try scene.awaitRunning("ghost", ctid: 105)
        }
    }

    @Test func rsync() throws {
        try withScene(["web": 101, "db": 102, "old": 103]) { scene in
            let source = scene.node.directory + "/source"
            func transfer(_ numproc: Int, _ options: String) throws {
                try TestFile.write(scene.manifest("web", numproc: numproc), to: source + "/web.yaml")
                try scene.host("rsync -a --checksum \(options) '\(source)/' ./")
                try scene.awaitLimit("web", numproc)
            }
            try scene.host("cp -a . '\(source)'")
            try transfer(60, "")
            try transfer(61, "--inplace")
            try transfer(62, "--backup --delay-updates")
            #expect(try scene.isRunning("old"))
            try scene.host("rm '\(source)/old.yaml'")
            try transfer(63, "--delete")
            try scene.awaitStopped("old")
            try scene.untouched()
            #expect(!scene.log.contains("error"), "\(scene.log)")
        }
    }

    @Test func git() throws {
        try withScene(["web": 101, "db": 102, "old": 103]) { scene in
            func git(_ commands: String..., in directory: String? = nil) throws {
                let git = "git -c user.name=test -c user.email=test@example.org -c gc.auto=0 -c init.defaultBranch=main"
                try scene.host(commands.map { "\(git) \($0)" }.joined(separator: "\n"), in: directory)
            }
            // The next branch is made elsewhere.
            let clone = scene.node.directory + "/clone"
            try git("init -q", "add .", "commit -qm all", "clone -q . '\(clone)'")
            let fresh = TestNode.manifest("fresh", "ctid: 104\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]")
            try TestFile.write(fresh, to: clone + "/fresh.yaml")
            try TestFile.write(scene.manifest("web", numproc: 60), to: clone + "/web.yaml")
            try git("rm -q old.yaml", "add -A", "commit -qm next", in: clone)
            try git("fetch -q '\(clone)' main:next")

            try git("checkout -q next")
            try scene.awaitLimit("web", 60)
            try scene.awaitRunning("fresh", ctid: 104)
            try scene.awaitStopped("old")
            try scene.untouched()

            // Two change the same line.
            try git("checkout -q main")
            try scene.awaitLimit("web", 100)
            try scene.awaitRunning("old")
            try scene.edit("web", 70)
            scene.forgetLog()
            try git("commit -qam mine", "merge next && exit 1 || true")
            #expect(try TestFile.read(scene.directory + "/web.yaml").contains("\n<<<<<<< HEAD\n"))
            let lines = try TestFile.read(scene.directory + "/web.yaml").split(separator: "\n", omittingEmptySubsequences: false)
            let marker = try #require(lines.firstIndex { $0.hasPrefix("<<<<<<<") })
            scene.awaitLog("\(scene.directory)/web.yaml:\(marker + 2):")
            scene.awaitLog("that begins at \(marker + 1):1")
            scene.awaitLog("CT 101 web: the last accepted manifest stays in force")
            try scene.awaitStopped("old")
            try scene.look()
            try scene.edit("web", 65)
            try scene.untouched()
        }
    }

    /// As a ConfigMap is brought up to date: the files are links through `..data`, which is pointed elsewhere in one step.
    @Test func aSwapOfSymbolicLinks() throws {
        try withScene { scene in
            func publish(_ version: String, _ files: [String: String]) throws {
                let directory = "\(scene.directory)/..\(version)"
                try Descriptor.makeDirectories(directory)
                for (name, text) in files { try TestFile.write(text, to: "\(directory)/\(name).yaml") }
                try scene.host("ln -s ..\(version) ..data_tmp; mv -T ..data_tmp ..data")
            }
            try publish(
                "2026_01_01", ["web": scene.manifest("web", numproc: 60), "db": scene.manifest("db", numproc: 60)])
            try scene.host("for name in web db; do ln -s ..data/$name.yaml new; mv -T new $name.yaml; done")
            try scene.awaitLimit("web", 60)
            try scene.awaitLimit("db", 60)
            try publish(
                "2026_01_02", ["web": scene.manifest("web", numproc: 61), "db": scene.manifest("db", numproc: 61)])
            try scene.host("rm -r ..2026_01_01")
            try scene.awaitLimit("web", 61)
            try scene.awaitLimit("db", 61)
            // One is gone from the new version; its link is taken away afterwards.
            try publish("2026_01_03", ["web": scene.manifest("web", numproc: 62)])
            scene.awaitLog("db.yaml: expected a manifest, got a symbolic link that leads nowhere")
            try scene.awaitLimit("web", 62)
            try scene.host("rm db.yaml")
            try scene.awaitStopped("db")
            try scene.untouched()
        }
    }

    /// What every container starts from is as good as a part of each manifest.
    @Test func defaultsThatCannotBeReadChangeNobody() throws {
        try withScene { scene in
            let file = "\(scene.directory)/defaults.yaml"
            func write(_ cpulimit: Int, before: String = "") throws {
                try TestFile.write(
                    "\(before)apiVersion: vz/v1\nkind: Defaults\nspec:\n  env: {A: b}\n  cpulimit: \(cpulimit)\n", to: file)
            }
            func awaitQuota(_ percent: Int64?) throws {
                try TestPlace.wait(
                    "the limit of the defaults is \(percent ?? 0)",
                    until: {
                        try [101, 102].allSatisfy { try scene.node.group($0).cpuQuota()?.quota == percent.map { $0 * 1000 } }
                    },
                    note: { scene.log })
            }
            try write(50)
            try awaitQuota(50)
            for (number, how) in ["broken", "in pieces", "unreadable", "gone for a moment"].enumerated() {
                scene.forgetLog()
                var writer: Descriptor?
                switch how {
                case "broken": try write(40, before: "<<<<<<< HEAD\n")
                case "in pieces":
                    writer = try Descriptor.open(file, O_WRONLY | O_TRUNC)
                    try writer?.writeAll(Array("apiVersion: vz/v1\n".utf8), named: file)
                case "unreadable": try scene.host("chmod 666 defaults.yaml")
                default: try scene.host("mv defaults.yaml defaults.yaml~")
                }
                scene.daemon.send(SIGHUP)
                scene.awaitLog("the kind: Defaults document that was here cannot be read, and no manifest counts without it")
                // A new daemon knows no more than what it finds.
                if how == "broken" { try scene.restartDaemon() }
                if how != "gone for a moment" {
                    try scene.declare("web", numproc: 40)
                    try scene.look()
                    try scene.untouched()
                }
                try awaitQuota(50)
                writer = nil
                try write(50)
                try scene.edit("web", 60 + number)
                try awaitQuota(50)
            }
            // Taken away for good, they are in force no more.
            try scene.host("rm defaults.yaml")
            try awaitQuota(nil)
            try scene.untouched()
        }
    }
}
