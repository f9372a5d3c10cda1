import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// numiptent: entries of the packet filter, as iptables and nft of Debian make them.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct PacketFilterTests {
    /// The programs, and what the kernel itself says of their rules.
    private static let tools = """
        import subprocess
        def run(*command, text=None):
            done = subprocess.run(command, capture_output=True, text=True, input=text)
            return 'ok' if done.returncode == 0 else done.stderr.strip().replace('\\n', ' ') or 'failed'
        def legacy(*rest, text=None, tool='iptables'): return run('/usr/sbin/xtables-legacy-multi', tool, *rest, text=text)
        def nft(text): return run('/usr/sbin/nft', '-f', '-', text=text)
        def compatible(*rest, text=None, tool='iptables'): return run('/usr/sbin/xtables-nft-multi', tool, *rest, text=text)
        def several(count, one):
            for i in range(count):
                why = one(i)
                if why != 'ok': return '%d %s' % (i, why)
            return '%d all' % count
        def entries(level=socket.SOL_IP, family=socket.AF_INET, table=b'filter'):
            s = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
            libc = ctypes.CDLL(None, use_errno=True)
            buffer, length = ctypes.create_string_buffer(table, 84), ctypes.c_uint32(84)
            if libc.getsockopt(s.fileno(), level, 64, buffer, ctypes.byref(length)): raise OSError(ctypes.get_errno(), 'getsockopt')
            return struct.unpack('21I', buffer.raw)[19]
        def rules():
            done = subprocess.run(['/usr/sbin/nft', '-a', 'list', 'ruleset'], capture_output=True, text=True)
            kinds = ('table', 'chain', 'set', 'map')
            return sum('# handle' in line and line.split()[0] not in kinds for line in done.stdout.splitlines())
        def in_namespaces(flags, one):
            # In new namespaces, which end with the process that made them when it is told to.
            ours, theirs = socket.socketpair()
            if not os.fork():
                libc = ctypes.CDLL(None, use_errno=True)
                answer = 'unshare' if libc.unshare(flags) else ''
                if flags & 0x10000000:
                    for file, text in ('setgroups', 'deny'), ('uid_map', '0 0 1'), ('gid_map', '0 0 1'):
                        with open('/proc/self/' + file, 'w') as f: f.write(text)
                answer = answer or one()
                theirs.send(answer.encode()[:1000] or b'?')
                ours.close()
                theirs.recv(1)
                os._exit(0)
            theirs.close()
            return ours, ours.recv(1000).decode()
        def end(ours): ours.send(b'.'); ours.close(); os.wait()
        """

    private func container(_ node: TestNode, _ name: String, _ ctid: Int, _ spec: String) throws -> PythonContainer {
        let container = try PythonContainer(node, name, ctid, spec)
        #expect(try container.ask(Self.tools) == "")
        return container
    }

    private static let add = "lambda i: legacy('-A', 'INPUT', '-s', '10.0.0.%d' % i, '-j', 'ACCEPT')"
    private static let restore =
        "def many(count): return '*filter\\n' + '-A INPUT -s 10.1.1.1 -j ACCEPT\\n' * count + 'COMMIT\\n'\n"

    @Test func tablesOfIptablesAreRefusedAboveNumiptent() throws {
        if TestPlace.isVirtualMachine { try Command.run(["modprobe", "-a", "iptable_filter", "ip6table_filter"]) }
        try withPythonNode { node in
            let web = try container(node, "web", 101, "beancounters: {numiptent: 10}")
            let db = try container(node, "db", 102, "")
            guard try web.enforcement(.numiptent).isEnforced else {
                #expect(try node.plan().containers.flatMap(\.unsupported).map(\.field) == ["beancounters.numiptent"])
                return
            }
            // A table begins with its three policies and an end.
            let refused = try web.ask("answer = several(20, \(Self.add))")
            #expect(refused.hasPrefix("6 ") && refused.contains("Memory allocation problem"), "\(refused)")
            #expect(try web.ask("answer = entries()") == "10")
            #expect(
                try web.state(.numiptent) == BeancounterState(held: 10, maxheld: 10, bounds: BarrierLimit(both: 10), failcnt: 1))
            #expect(try db.ask("answer = several(20, \(Self.add))") == "20 all")
            #expect(try db.state(.numiptent).held == 24)

            try web.declare("web", "beancounters: {numiptent: 150}")
            #expect(try node.apply().containers.flatMap(\.changes).map(\.field) == ["beancounters.numiptent"])
            #expect(try web.ask("answer = legacy('-A', 'INPUT', '-j', 'ACCEPT')") == "ok")
            // More than a page, of which a program of control groups sees the first.
            let many = try web.ask(Self.restore + "answer = legacy(text=many(120), tool='iptables-restore')")
            #expect(many == "ok", "\(many)")
            #expect(try web.ask("answer = entries()") == "124")
            #expect(try web.state(.numiptent).held == 124)
            #expect(try web.ask("answer = legacy(text=many(200), tool='iptables-restore')") != "ok")
            #expect(try web.ask("answer = entries()") == "124")
            // Another table, and another family, count as well.
            let other = try web.ask("answer = several(40, lambda i: legacy('-A', 'INPUT', '-j', 'ACCEPT', tool='ip6tables'))")
            #expect(other.hasPrefix("22 "), "\(other)")
            #expect(try web.state(.numiptent).held == 150 && web.state(.numiptent).failcnt == 3)

            // Less than there is can always be had.
            try web.declare("web", "beancounters: {numiptent: 10}")
            try node.apply()
            #expect(try web.ask("answer = legacy('-F')") == "ok")
            #expect(try web.ask("answer = legacy('-F', tool='ip6tables')") == "ok")
            #expect(try web.state(.numiptent).held == 8)

            // What the kernel refuses itself is not held.
            #expect(try web.ask("answer = legacy('-A', 'INPUT', '-p', 'tcp', '-j', 'TPROXY', '--on-port', '1')") != "ok")
            #expect(try web.state(.numiptent).held == 8)

            // A network namespace of its own is the container's too, as long as it is there.
            let inside = "several(20, \(Self.add))"
            let nested = try web.ask("ns, answer = in_namespaces(0x40000000, lambda: \(inside))")
            #expect(nested.hasPrefix("0 "), "\(nested)")
            try web.declare("web", "beancounters: {numiptent: 20}")
            try node.apply()
            let more = try web.ask("ns2, answer = in_namespaces(0x50000000, lambda: \(inside))")
            // The table of the first one has its beginning too.
            #expect(more.hasPrefix("4 "), "\(more)")
            #expect(try web.state(.numiptent).held == 20)
            _ = try web.ask("end(ns); end(ns2)")
            try TestPlace.wait("the namespaces have ended") { try web.state(.numiptent).held == 8 }
            try web.declare("web", "")
            try node.apply()
            #expect(try web.ask("answer = legacy(text=many(500), tool='iptables-restore')") == "ok")
            #expect(try web.state(.numiptent).held == 508)
        }
    }

    /// Netlink messages to nf_tables: NEWRULE, DELTABLE, DELRULE, between the marks of a batch.
    private static let messages = """
        def attribute(type, data): return struct.pack('HH', 4 + len(data), type) + data + bytes(-len(data) % 4)
        def message(type, flags, family, *attributes):
            body = struct.pack('>BBH', family, 0, 10 if type in (16, 17) else 0) + b''.join(attributes)
            return struct.pack('IHHII', 16 + len(body), type, flags | 1, 0, 0) + body
        names = attribute(1, b't\\0'), attribute(2, b'c\\0')
        rule = message(0xa06, 0xc00, 2, *names)
        def raw(*parts, by=socket.socket.sendmsg):
            s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
            try: by(s, [message(16, 0, 0), *parts, message(17, 0, 0)])
            except OSError as e: return errno.errorcode[e.errno]
            return 'sent'

        """

    private static let start = "nft('add table ip t; add chain ip t c')"
    private static func batch(_ count: Int) -> String { "nft('add rule ip t c counter\\n' * \(count))" }

    @Test func rulesOfNftAreRefusedAboveNumiptent() throws {
        try withPythonNode { node in
            let web = try container(node, "web", 101, "beancounters: {numiptent: 6}")
            let db = try container(node, "db", 102, "")
            guard try node.node().core.host.beancounters.programs.contains("netlink_send") else {
                let how = try web.enforcement(.numiptent)
                #expect(!how.isEnforced || how.mechanism.hasSuffix("nft is not bound"))
                return
            }
            #expect(try web.ask("answer = \(Self.start)") == "ok")
            let refused = try web.ask("answer = several(10, lambda i: \(Self.batch(1)))")
            #expect(refused.hasPrefix("6 ") && refused.contains("Cannot allocate memory"), "\(refused)")
            #expect(try web.ask("answer = rules()") == "6")
            #expect(try web.state(.numiptent) == BeancounterState(held: 6, maxheld: 6, bounds: BarrierLimit(both: 6), failcnt: 1))
            #expect(try db.ask("answer = \(Self.start) + ' ' + \(Self.batch(100))") == "ok ok")
            #expect(try db.state(.numiptent).held == 100)

            try web.declare("web", "beancounters: {numiptent: 20}")
            try node.apply()
            // All of a batch or nothing.
            #expect(try web.ask("answer = \(Self.batch(15))") != "ok")
            #expect(try web.ask("answer = \(Self.batch(14))") == "ok")
            #expect(try web.ask("answer = rules()") == "20")
            // What replaces everything needs no more room, nor does what takes away.
            let anew = "flush ruleset\\nadd table ip t\\nadd chain ip t c\\n"
            #expect(try web.ask("answer = nft('\(anew)' + 'add rule ip t c accept\\n' * 20)") == "ok")
            #expect(try web.ask("answer = nft('\(anew)' + 'add rule ip t c accept\\n' * 21)") != "ok")
            #expect(try web.ask("answer = nft('flush table ip t\\n' + 'add rule ip t c accept\\n' * 20)") == "ok")
            // Twice the same is taken away once.
            #expect(try web.ask("answer = nft('flush table ip t\\n' * 2 + 'add rule ip t c accept\\n' * 40)") != "ok")
            #expect(try web.ask("answer = rules()") == "20" && web.state(.numiptent).held == 20)
            // What the kernel refuses itself is not held.
            #expect(try web.ask("answer = nft('flush chain ip t c')") == "ok")
            #expect(try web.state(.numiptent).held == 0)
            #expect(try web.ask("answer = nft('add rule ip t c accept\\nadd rule ip t none accept')") != "ok")
            #expect(try web.state(.numiptent).held == 0)

            // Messages that no tool makes: in pieces, by another call, and of false pretences.
            #expect(try web.ask(Self.messages + "answer = raw(*[rule] * 21)") == "ENOMEM")
            #expect(try web.ask("answer = raw(*[rule] * 20)") == "sent")
            #expect(try web.ask("answer = raw(rule, by=lambda s, parts: os.writev(s.fileno(), parts))") == "ENOMEM")
            #expect(try web.ask("answer = raw(message(0xa02, 0, 0, attribute(1, b't\\0x\\0')), *[rule] * 20)") == "ENOMEM")
            #expect(try web.ask("answer = raw(message(0xa08, 0, 2, attribute(1, b't')), *[rule] * 20)") == "ENOMEM")
            #expect(try web.ask("answer = raw(*[message(0xa06, 0xd00, 2, *names)] * 20)") == "sent")
            #expect(try web.ask("answer = rules()") == "20" && web.state(.numiptent).held == 20)
            #expect(try web.ask("answer = nft('flush chain ip t c')") == "ok")

            let compatible = "several(30, lambda i: compatible('-A', 'OUTPUT', '-j', 'ACCEPT'))"
            let few = try web.ask("answer = \(compatible)")
            #expect(few.hasPrefix("20 "), "\(few)")
            #expect(try web.ask("answer = rules()") == "20" && web.state(.numiptent).held == 20)
            #expect(try web.ask("answer = compatible('-R', 'OUTPUT', '3', '-j', 'DROP')") == "ok")
            #expect(try web.ask(Self.restore + "answer = compatible(text=many(20), tool='iptables-restore')") == "ok")
            #expect(try web.ask("answer = rules()") == "20" && web.state(.numiptent).held == 20)
            #expect(try web.ask("answer = nft('flush ruleset')") == "ok")

            // Namespaces of its own, below user namespaces of its own, all count together, until they end.
            let inside = "\(Self.start) + ' ' + \(Self.batch(15))"
            #expect(try web.ask("ns, answer = in_namespaces(0x50000000, lambda: \(inside))") == "ok ok")
            #expect(try web.state(.numiptent).held == 15)
            #expect(try web.ask("answer = \(Self.start) + ' ' + \(Self.batch(6))") != "ok ok")
            #expect(try web.ask("answer = \(Self.batch(5))") == "ok")
            _ = try web.ask("end(ns)")
            try TestPlace.wait("the namespace has ended") { try web.state(.numiptent).held == 5 }

            // At once from many processes: never more than there may be.
            let race = """
                \(Self.start)
                children = []
                for n in range(6):
                    pid = os.fork()
                    if not pid:
                        for i in range(3): \(Self.batch(3))
                        os._exit(0)
                    children.append(pid)
                for pid in children: os.waitpid(pid, 0)
                answer = rules()
                """
            let most = try #require(Int(try web.ask(race)))
            #expect(most <= 20 && most >= 17, "\(most)")
            #expect(try web.state(.numiptent).held == Int64(most))
        }
    }
}
