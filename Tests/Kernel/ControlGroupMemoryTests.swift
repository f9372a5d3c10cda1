import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// Settings that nobody wrote to are not read again, and no change is missed, whoever makes it and however.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct ControlGroupMemoryTests {
    /// Tells how often the files of a group were opened.
    private struct Opens {
        private let queue: Descriptor

        init(_ group: ControlGroup, _ controllers: [ControlGroupTree.Controller]) throws {
            queue = Descriptor(adopting: inotify_init1(Int32(IN_NONBLOCK) | Int32(IN_CLOEXEC)))
            for hierarchy in controllers.compactMap({ group.tree.hierarchy(of: $0) }) {
                try #require(inotify_add_watch(queue.raw, "\(hierarchy.mountPoint)/\(group.path)", UInt32(IN_OPEN)) >= 0)
            }
        }

        func take() -> [String] {
            var names: [String] = []
            withUnsafeTemporaryAllocation(byteCount: 1 << 16, alignment: 8) { buffer in
                while true {
                    let count = read(queue.raw, buffer.baseAddress, buffer.count)
                    if count <= 0 { return }
                    var at = 0
                    while at < count {
                        let event = buffer.loadUnaligned(fromByteOffset: at, as: inotify_event.self)
                        at += MemoryLayout<inotify_event>.size
                        let name = buffer[at..<at + Int(event.len)].prefix { $0 != 0 }
                        // Not the directory's own, which holds the labels.
                        if !name.isEmpty { names.append(String(decoding: name, as: UTF8.self)) }
                        at += Int(event.len)
                    }
                }
            }
            return names
        }
    }

    @Test func onlyWhatSomebodyWroteToIsReadAgain() throws {
        try withNode { node in
            try node.start("web", ctid: 101, "ram: 64M\nbeancounters: {numproc: 100}")
            let core = try IsolationCore(paths: node.paths, preparing: true, watching: true)
            let ctid = try node.container()
            let process = try #require(try core.observe(ctid).handle.process)
            let first = try core.observe(ctid, known: process).container.settings
            let group = try node.group()
            let opens = try Opens(group, [.cpu, .cpuset, .io, .memory, .pids])
            func again() -> Set<String> { Set(opens.take()).subtracting(["cpuset.mems"]) }
            for _ in 1...3 { #expect(try core.observe(ctid, known: process).container.settings == first) }
            #expect(again().isEmpty)

            // By another of ours, by a shell, and by what an earlier look left open.
            func numproc() throws -> Setting.Value? {
                try core.observe(ctid, known: process).container.settings.first { $0.field == "beancounters.numproc" }?.kernelValue
            }
            try group.setPIDsMax(50)
            #expect(try numproc() == .number(50))
            let file = "\(try #require(group.tree.hierarchy(of: .pids)).mountPoint)/\(group.path)/pids.max"
            try Command.run(["sh", "-c", "echo 60 >'\(file)'"])
            #expect(try numproc() == .number(60))
            let open = try Descriptor.open(file, O_WRONLY)
            for number in Int64(100)...300 {
                try open.writeAll("\(number)".utf8, named: file)
                #expect(try numproc() == .number(number))
            }
            _ = again()
            #expect(try numproc() == .number(300))
            #expect(again().isEmpty)

            // A host with other CPUs has lists of them read anew, for a while.
            core.tree.memory?.note(processors: "0-99")
            for _ in 1...2 {
                #expect(try numproc() == .number(300))
                let opened = again()
                if group.tree.hierarchy(of: .cpuset)?.version == .v1 { #expect(opened.contains("cpuset.cpus")) }
            }
        }
    }

    /// What was set, and how often a limit was met, is told by the kernel as well.
    @Test func labelsAndFailuresAreReadAnewWhenTheyChange() throws {
        try withNode { node in
            try node.start("web", ctid: 101, "beancounters: {numproc: 5}")
            let core = try IsolationCore(paths: node.paths, preparing: true, watching: true)
            let ctid = try node.container()
            let process = try #require(try core.observe(ctid).handle.process)
            var failures: Int64 = 0
            for round in 1...3 {
                try node.group().setLabel("start", [UInt8(round)])
                _ = try core.observe(ctid, known: process)
                #expect(try core.group(of: ctid).label("start") == [UInt8(round)])
                try TestPlace.wait("nothing runs beside") { try node.group().processes().count == 1 }
                _ = try node.output("(for i in 1 2 3 4 5 6 7 8; do sleep 0.1 & done) 2>/dev/null; true")
                try TestPlace.wait("more failures") {
                    _ = try core.observe(ctid, known: process)
                    let now = try core.group(of: ctid).failures()["pids"] ?? 0
                    defer { failures = max(failures, now) }
                    return now > failures
                }
                #expect(try core.group(of: ctid).failures()["pids"] == node.group().failures()["pids"])
            }
        }
    }

    /// The group of a container that was started again is another one.
    @Test func anotherGroupOfTheSameNameIsReadAnew() throws {
        try withNode { node in
            let core = try IsolationCore(paths: node.paths, preparing: true, watching: true)
            let ctid = try node.container()
            for number in [Int64(40), 50] {
                try node.start("web", ctid: 101, "beancounters: {numproc: \(number)}")
                let process = try #require(try core.observe(ctid).handle.process)
                for known in [nil, process, process] {
                    let settings = try core.observe(ctid, known: known).container.settings
                    #expect(settings.first { $0.field == "beancounters.numproc" }?.kernelValue == .number(number))
                }
                try node.declare("web", "ctid: 101\ntemplate: busybox\nstate: stopped\n")
                try node.apply()
                try #require(try node.running() == nil)
                #expect(try !core.observe(ctid, known: process).container.isRunning)
            }
        }
    }

    @Test func whatIsOldIsReadAnew() throws {
        try withNode { node in
            try node.start()
            var tree = node.controlGroups
            tree.memory = try ControlGroupMemory(believedFor: .zero)
            let group = try tree.group("101")
            let opens = try Opens(group, [.pids])
            for _ in 1...2 {
                #expect(try group.pidsMax() == nil)
                #expect(opens.take() == ["pids.max"])
            }
        }
    }
}
