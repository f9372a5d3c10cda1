import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZPlan
@testable import VZReconciler

/// What sockets hold: tcpsndbuf, tcprcvbuf, othersockbuf and dgramrcvbuf, above their limits.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct SocketBufferTests {
    /// A connection to itself, of which nobody reads: `a` sends to `b`.
    private static let connection = """
        listener = socket.socket(); listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 60000); listener.bind(('127.0.0.1', 0)); listener.listen(1)
        a = socket.socket(); a.connect(listener.getsockname()); b, _ = listener.accept(); listener.close()
        a.setblocking(False); b.setblocking(False)
        """

    /// Sends through `a` until it is full or refused: how much, and why no more.
    private static let fill = """
        sent, why = 0, ''
        while not why:
            try: sent += a.send(b'x' * 4096)
            except OSError as e: why = errno.errorcode[e.errno]
        answer = '%d %s' % (sent, why)
        """

    /// - Returns: the container, or nothing where it is not enforced.
    private func container(_ node: TestNode, _ beancounter: Beancounter) throws -> PythonContainer? {
        let container = try PythonContainer(node, "web", 101, "")
        if try container.enforcement(beancounter).isEnforced { return container }
        try container.declare("web", "beancounters: {\(beancounter.rawValue): 1000000}")
        #expect(try node.apply().containers.flatMap(\.unsupported).map(\.field) == ["beancounters.\(beancounter.rawValue)"])
        return nil
    }

    private func emptied(_ beancounter: Beancounter, _ container: PythonContainer) throws {
        try TestPlace.wait("\(beancounter) is given back") { try container.state(beancounter).held == 0 }
    }

    @Test func tcpIsNotSentAboveTheLimit() throws {
        try withPythonNode { node in
            guard let container = try container(node, .tcpsndbuf) else { return }
            // Little room with the receiver, so that it stays with the sender.
            try container.declare("web", "beancounters: {tcpsndbuf: \"65536:200000\"}")
            try node.apply()
            let full = try container.ask(Self.connection + "\n" + Self.fill)
            #expect(full.hasSuffix("ENOBUFS"), "\(full)")
            let state = try container.state(.tcpsndbuf)
            #expect(state.failcnt >= 1 && state.held > 0 && state.held <= 200_000 + 8192, "\(state)")
            try container.declare("web", "beancounters: {tcpsndbuf: \"65536:100000000\"}")
            try node.apply()
            #expect(try container.ask(Self.fill).hasSuffix("EAGAIN"))
            _ = try container.ask("a.close(); b.close()")
            try emptied(.tcpsndbuf, container)
            #expect(try container.state(.tcpsndbuf).maxheld > 200_000)
        }
    }

    @Test func tcpSegmentsAreDroppedAboveTheLimitAndComeAgain() throws {
        try withPythonNode { node in
            guard let container = try container(node, .tcprcvbuf) else { return }
            try container.declare("web", "beancounters: {tcprcvbuf: \"100000:100000\"}")
            try node.apply()
            // Two connections: what one does not read leaves the other what it has nothing to read without.
            let send = """
                pattern = bytes(range(256)) * 2048
                done = 0
                try:
                    while done < len(pattern): done += a.send(pattern[done:done + 8192])
                except BlockingIOError: pass
                """
            let connect = Self.connection.replacing(" listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 60000);", with: "")
            #expect(try container.ask(connect + "\na.setsockopt(6, socket.TCP_NODELAY, 1)\n" + send) == "")
            try TestPlace.wait("a segment is dropped") { try container.state(.tcprcvbuf).failcnt >= 1 }
            let full = try container.state(.tcprcvbuf)
            #expect(full.held <= 100_000 && full.held > 10_000, "\(full)")
            let other = """
                c, e = a, b
                \(connect)
                a.send(b'x' * 3000); b.settimeout(60)
                got = b''
                while len(got) < 3000: got += b.recv(65536)
                answer = got == b'x' * 3000
                """
            #expect(try container.ask(other) == "True")
            // Whoever reads gets all of it, whole and in order.
            let read = """
                import threading
                a, b = c, e
                a.settimeout(60); b.settimeout(60)
                rest = threading.Thread(target=lambda: a.sendall(pattern[done:])); rest.start()
                got = b''
                while len(got) < len(pattern): got += b.recv(65536)
                rest.join()
                answer = got == pattern
                """
            #expect(try container.ask(read) == "True")
            #expect(try container.state(.tcprcvbuf).maxheld <= 200_000)
            _ = try container.ask("a.close(); b.close(); c.close(); e.close()")
            try emptied(.tcprcvbuf, container)
        }
    }

    @Test func otherSocketsDoNotSendAboveTheLimit() throws {
        try withPythonNode { node in
            guard let container = try container(node, .othersockbuf) else { return }
            try container.declare("web", "beancounters: {othersockbuf: \"65536:150000\"}")
            try node.apply()
            let pair = """
                a, b = socket.socketpair(); a.setblocking(False)
                a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
                """
            let full = try container.ask(pair + "\n" + Self.fill)
            #expect(full.hasSuffix("ENOBUFS"), "\(full)")
            let state = try container.state(.othersockbuf)
            #expect(state.failcnt >= 1 && state.held <= 150_000 && state.held > 100_000, "\(state)")
            // What is read makes room.
            #expect(try container.ask("b.recv(100000); a.send(b'x'); answer = 'sent'") == "sent")
            _ = try container.ask("a.close(); b.close()")
            try emptied(.othersockbuf, container)
        }
    }

    @Test func datagramsAreDroppedAboveTheLimit() throws {
        try withPythonNode { node in
            guard let container = try container(node, .dgramrcvbuf) else { return }
            try container.declare("web", "beancounters: {dgramrcvbuf: \"100000:100000\"}")
            try node.apply()
            let send = """
                b = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); b.bind(('127.0.0.1', 0)); b.setblocking(False)
                a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); a.connect(b.getsockname())
                """
            let count = """
                for i in range(200): a.send(b'x' * 1000)
                answer = 0
                try:
                    while True: b.recv(2000); answer += 1
                except BlockingIOError: pass
                """
            let few = try #require(Int(try container.ask(send + "\n" + count)))
            let state = try container.state(.dgramrcvbuf)
            #expect(few > 10 && few < 150 && state.failcnt == Int64(200 - few), "\(few) came, \(state)")
            #expect(state.maxheld <= 100_000)
            try container.declare("web", "beancounters: {dgramrcvbuf: \"10000000:10000000\"}")
            try node.apply()
            // From here on the socket's own buffer is the limit.
            #expect(try #require(Int(try container.ask(count))) > few)
            _ = try container.ask("a.close(); b.close()")
            try emptied(.dgramrcvbuf, container)
        }
    }
}
