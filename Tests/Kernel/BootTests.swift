import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// With the node: what starts, in which order, and what stops.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct BootTests {
    private func declare(_ node: TestNode, _ name: String, _ ctid: Int, _ spec: String = "") throws {
        try node.declare(name, "ctid: \(ctid)\ntemplate: busybox\ninit: [/bin/sleep, \"1000000\"]\n" + spec)
    }

    /// Forgets which boot this is, as a machine does that is started anew, with nothing running.
    private func reboot(_ node: TestNode, _ ctids: ClosedRange<Int>) throws {
        for ctid in ctids where try node.group(ctid).exists {
            try node.group(ctid).killAll()
            #expect(try node.group(ctid).waitUntilEmpty(deadline: .now + TestPlace.patience))
            try node.group(ctid).remove()
        }
        try HostStore(directory: node.paths.nodeRecords).remove("boot")
    }

    private func starts(in log: String) -> [String] {
        log.split(separator: "\n").compactMap { line in
            guard line.contains(": started "), let range = line.firstRange(of: "CT ") else { return nil }
            return line[range.upperBound...].split(separator: " ").first.map(String.init)
        }
    }

    @Test func theyStartInTheirOrderAndStopInTheReverse() throws {
        try withNode { node in
            try declare(node, "last", 101)
            try declare(node, "second", 102, "bootorder: 5")
            try declare(node, "first", 103, "bootorder: 9")
            try declare(node, "second-too", 104, "bootorder: 5")
            try declare(node, "lowest", 105, "bootorder: 0")
            let daemon = try node.vzd()
            try TestPlace.wait(
                "all run", until: { try node.plan().isEmpty && starts(in: daemon.log).count == 5 }, note: { daemon.log })
            let order = starts(in: daemon.log)
            #expect(order.first == "103" && order.last == "101" && order[3] == "105", "\(order)")
            #expect(Set(order[1...2]) == ["102", "104"])

            let shutdown = try node.vzctl("shutdown")
            #expect(shutdown.exit == .code(0), "\(shutdown)")
            let stops = shutdown.errors.split(separator: "\n").compactMap {
                $0.split(separator: " ").dropFirst(2).first.map(String.init)
            }
            #expect(stops.first == "101" && stops[1] == "105" && stops.last == "103", "\(shutdown.errors)")
            daemon.send(SIGHUP)
            #expect(try node.vzctl("start", "first").exit == .code(75))
            #expect(try node.node().core.present() == [])
            #expect(try node.vzctl("shutdown", "--cancel").exit == .code(0))
            try TestPlace.wait("all run again", until: { try node.plan().isEmpty }, note: { daemon.log })
            #expect(try node.running(103) != nil)
        }
    }

    @Test func whatIsNotOnbootStaysDownUntilItIsStarted() throws {
        try withNode { node in
            try declare(node, "web", 101, "onboot: false")
            try declare(node, "db", 102)
            try declare(node, "off", 103)
            try declare(node, "on", 104, "onboot: true")
            var daemon = try node.vzd()
            // The first boot that is noted here is this one.
            try TestPlace.wait(
                "those run", until: { try node.running(102) != nil && node.running(104) != nil }, note: { daemon.log })
            #expect(try node.running(101) == nil)
            #expect(try node.vzctl("start", "web").exit == .code(0))
            #expect(try node.vzctl("stop", "off", "--reason", "broken").exit == .code(0))
            daemon.kill()
            daemon = try node.vzd()
            daemon.send(SIGHUP)
            #expect(try node.running(101) != nil, "a restart of vzd is no boot")
            daemon.kill()
            try reboot(node, 101...104)
            daemon = try node.vzd()
            try TestPlace.wait(
                "those run", until: { try node.running(102) != nil && node.running(104) != nil }, note: { daemon.log })
            #expect(try node.running(101) == nil)
            #expect(try node.running(103) == nil, "what an administrator said outlives the boot")
            #expect(try node.node().overrides(of: node.container(101)).state?.reason == "onboot is false")
            #expect(try node.vzctl("start", "web").exit == .code(0))
            #expect(try node.running(101) != nil)
        }
    }

    /// One that fails keeps nobody waiting for longer than its own try.
    @Test func aFailureInAnEarlierOrderHoldsNobodyUp() throws {
        try withNode { node in
            try node.declare("broken", "ctid: 101\ntemplate: nosuch\nbootorder: 9")
            try declare(node, "web", 102)
            let daemon = try node.vzd()
            try TestPlace.wait("the other runs", until: { try node.running(102) != nil }, note: { daemon.log })
            #expect(daemon.log.contains("CT 101 broken: "))
        }
    }

    /// One whose stop takes long keeps no other from converging.
    @Test func slowStopsKeepNobodyWaiting() throws {
        try withNode { node in
            let deaf = "init: [/bin/sh, -c, \"trap : TERM; echo ready >/ready; while :; do sleep 1; done\"]\nstop_timeout: 20s\n"
            for ctid in 101...112 { try node.declare("deaf\(ctid)", "ctid: \(ctid)\ntemplate: busybox\n" + deaf) }
            let daemon = try node.spawn(["\(TestPlace.programs)/vzd", "--interval", "3600"])
            TestPlace.wait("all are ready", until: { (101...112).allSatisfy { TestFile.exists(node.root($0) + "/ready") } }) {
                daemon.log
            }
            for ctid in 101...112 { try node.declare("deaf\(ctid)", "ctid: \(ctid)\nstate: stopped\n" + deaf) }
            let began = ContinuousClock.now
            try declare(node, "web", 120)
            try TestPlace.wait("a new one starts meanwhile", until: { try node.running(120) != nil }, note: { daemon.log })
            if !TestPlace.isVirtualMachine { #expect(began.duration(to: .now) < .seconds(15)) }
            #expect(try node.running(101) != nil || began.duration(to: .now) > .seconds(20))
        }
    }
}
