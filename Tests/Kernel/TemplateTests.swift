import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZReconciler

/// Templates: what the roots of containers are made from.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct TemplateTests {
    /// A directory with what an archive must carry over.
    private func source(_ node: TestNode) throws -> String {
        let path = node.directory + "/source"
        for name in ["bin", "dev", "proc", "sys", "tmp"] { try Descriptor.makeDirectories("\(path)/\(name)") }
        try Command.run(["cp", "--", "/bin/busybox", "\(path)/bin/busybox"])
        for name in ["sh", "sleep"] { #expect(symlink("busybox", "\(path)/bin/\(name)") == 0) }
        try TestFile.write("owned", to: path + "/owned", mode: 0o640)
        try TestFile.write("setuid", to: path + "/setuid")
        #expect(chown(path + "/owned", 1234, 56) == 0)
        #expect(chmod(path + "/setuid", 0o4755) == 0)
        #expect(chmod(path, 0o755) == 0)
        return path
    }

    private func check(_ root: String, _ what: String) throws {
        let (owned, setuid, top) = (
            try TestFile.status(root + "/owned"), try TestFile.status(root + "/setuid"), try TestFile.status(root)
        )
        #expect(owned.st_uid == 1234 && owned.st_gid == 56 && owned.st_mode & 0o7777 == 0o640, "\(what)")
        #expect(setuid.st_mode & 0o7777 == 0o4755, "\(what)")
        #expect(top.st_mode & 0o7777 == 0o755 && top.st_uid == 0, "\(what)")
        #expect(try TestFile.link(root + "/bin/sh") == "busybox", "\(what)")
        #expect(try TestFile.read(root + "/owned") == "owned", "\(what)")
    }

    @Test func fromADirectoryAndFromEachKindOfArchive() throws {
        try withNode(sharedTemplates: false) { node in
            let store = TemplateStore(directory: node.paths.templates)
            let directory = try source(node)
            var sources = ["directory": directory]
            for suffix in TemplateStore.archiveSuffixes {
                let archive = "\(node.directory)/archive\(suffix)"
                try Command.run(["tar", "--create", "--auto-compress", "--file", archive, "--directory", directory, "."])
                sources["from" + suffix.split(separator: ".").joined(separator: "-")] = archive
            }
            #expect(try store.list() == [])
            for (name, path) in sources { try store.create(name, from: path) }
            #expect(try store.list().map(\.name) == sources.keys.sorted())
            for (number, name) in sources.keys.sorted().enumerated() {
                let target = "\(node.directory)/unpacked-\(number)"
                try store.unpack(name, to: target)
                try check(target, name)
                try node.declare(name, "ctid: \(101 + number)\ntemplate: \(name)\ninit: [/bin/sleep, \"1000000\"]")
            }
            try node.apply()
            for number in 0..<sources.count {
                #expect(try node.running(101 + number) != nil)
                try check(node.root(101 + number), "CT \(101 + number)")
            }
            for name in sources.keys { try store.remove(name) }
            #expect(try store.list() == [])
            #expect(try Descriptor.open(store.directory, O_RDONLY | O_DIRECTORY).names() == [])
            #expect(try node.running(101) != nil, "roots that were made stay")
        }
    }

    @Test func whatCannotBeOne() throws {
        try withNode(sharedTemplates: false) { node in
            let store = TemplateStore(directory: node.paths.templates)
            try store.create("good", from: try source(node))
            let garbage = node.directory + "/garbage"
            for suffix in [".tar", ".tar.gz", ".tar.xz", ".tar.zst", ".zip"] {
                try TestFile.write("no archive", to: garbage + suffix)
            }
            try Command.run(["tar", "-czf", garbage + "-cut.tar.gz", "-C", node.directory + "/source", "."])
            #expect(truncate(garbage + "-cut.tar.gz", 100_000) == 0)
            let bad = [".tar", ".tar.gz", ".tar.xz", ".tar.zst", ".zip", "-cut.tar.gz", "-missing.tar"].map { garbage + $0 }
            for path in bad {
                #expect { try store.create("bad", from: path) } throws: { "\($0)".contains(path) }
            }
            #expect { try store.create("good", from: garbage + ".tar") } throws: { ($0 as? KernelError)?.errno == EEXIST }
            #expect { try store.remove("bad") } throws: { ($0 as? KernelError)?.errno == ENOENT }
            #expect(try Descriptor.open(store.directory, O_RDONLY | O_DIRECTORY).names() == ["good"], "nothing half-made is left")
        }
    }

    @Test func whatAKilledOneWasMakingGoesWithTheNext() throws {
        try withNode(sharedTemplates: false) { node in
            let store = TemplateStore(directory: node.paths.templates)
            let ended = try TestProcess(["true"], environment: [:], prefix: node.directory + "/true")
            ended.wait()
            let (left, others) = ("\(node.paths.templates)/.new-\(ended.process.pid)-bad", "\(node.paths.templates)/.new-1-good")
            for directory in [left + "/bin", others] { try Descriptor.makeDirectories(directory) }
            try store.create("good", from: try source(node))
            #expect(try !Descriptor.exists(left) && Descriptor.exists(others), "process 1 has not ended")
        }
    }

    @Test func theVerbs() throws {
        try withNode(sharedTemplates: false) { node in
            #expect(try node.vzctl("template", "create", "busybox", "--busybox").exit == .code(0))
            let again = try node.vzctl("template", "create", "busybox", "--busybox")
            #expect(again.exit == .code(1) && again.errors.contains("vzctl template remove busybox"), "\(again)")
            #expect(try node.vzctl("template", "create", "mine", "--from", node.paths.templates + "/busybox").exit == .code(0))
            let list = try node.vzctl("template", "list").output.split(separator: "\n")
            #expect(list.count == 3 && list[1].contains("busybox") && list[2].contains("mine"), "\(list)")
            for name in ["../x", ".hidden", "a/b", "-x", ""] {
                let refused = try node.vzctl("template", "create", "--busybox", "--", name)
                #expect(refused.exit == .code(64), "\(name): \(refused)")
            }
            #expect(try node.vzctl("template", "remove", "mine").exit == .code(0))
            #expect(try node.vzctl("template", "remove", "mine").exit == .code(91))
            #expect(try node.vzctl("template", "remove", "../template/busybox").exit != .code(0))
            #expect(try node.vzctl("template", "list").output.split(separator: "\n").count == 2)
        }
    }
}
