import Glibc
import Testing

@testable import VZIsolation
@testable import VZKernel
@testable import VZModel
@testable import VZReconciler

/// A template with Debian's python3, nft and iptables beside busybox, and a container whose process 1 does what a test tells it: one process for a whole
/// test, since starting programs is slow in the virtual machine.
enum PythonTemplate {
    /// Adds the template `python` to those in `directory`, where `busybox` is.
    static func make(in directory: String) throws {
        let root = "\(directory)/python"
        try Command.run(["cp", "-a", "\(directory)/busybox", root])
        let answer = try Command.run(["/usr/bin/python3", "-S", "-E", "-c", copier, root])
        guard answer.contains("done") else { throw KernelError("make the template python", detail: answer) }
        try TestFile.write(agent, to: "\(root)/agent.py")
    }

    /// Copies the interpreter, what packet filters are changed with, and the libraries of all, to the places where they were. The modules that
    /// `agent` imports, and what they import, come compiled and in one file, which is where the interpreter looks first: a container is started
    /// with few files and compiles none.
    private static let copier = """
        import ctypes, errno, fcntl, mmap, os, re, select, signal, socket, struct, sys, threading, time, traceback
        import glob, py_compile, shutil, subprocess, zipfile
        to = sys.argv[1]
        library = os.path.dirname(os.__file__)
        # By the first the interpreter finds out where it is.
        needed = {'/usr/bin/python3', os.path.realpath('/usr/bin/python3'), library + '/os.py'}
        modules = {os.path.join(library, 'encodings', name) for name in os.listdir(library + '/encodings') if name.endswith('.py')}
        for module in list(sys.modules.values()):
            file = getattr(module, '__file__', None) or ''
            if file.endswith('.py'): modules.add(file)
            elif file: needed.add(file)
        os.makedirs(to + library)
        compiled = to + '/compiled'
        with zipfile.ZipFile(to + '/usr/lib/python%d%d.zip' % sys.version_info[:2], 'w') as archive:
            for file in modules:
                if file.startswith(library + '/'):
                    py_compile.compile(file, cfile=compiled, doraise=True)
                    archive.write(compiled, os.path.relpath(file, library) + 'c')
        os.remove(compiled)
        needed.update(['/usr/sbin/nft', '/usr/sbin/xtables-legacy-multi', '/usr/sbin/xtables-nft-multi'])
        text = subprocess.run(['ldd', *needed], capture_output=True, text=True).stdout
        needed.update(re.findall(r'(/[^\\s:]+) \\(0x', text))
        for name in ['xt_standard', 'xt_tcp', 'xt_TPROXY']: needed.update(glob.glob('/usr/lib/*/xtables/lib%s.so' % name))
        for file in needed:
            os.makedirs(to + os.path.dirname(file), exist_ok=True)
            shutil.copyfile(file, to + file)
            shutil.copymode(file, to + file)
        print('done')
        """

    /// Executes the texts that are added to /tmp/asks, one after another, and adds what they put into `answer` to /tmp/answers: both
    /// open from the beginning, for there may be no more files to open. Each goes behind a line with its length.
    private static let agent = """
        import ctypes, errno, fcntl, mmap, os, select, signal, socket, struct, time, traceback
        held = []
        asks = os.open('/tmp/asks', os.O_RDONLY | os.O_CREAT)
        answers = os.open('/tmp/answers', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        def attempt(count, one):
            # How many there were, and what the program saw of the first that was refused.
            got = []
            held.append(got)
            try:
                for i in range(count): got.append(one(i))
                return '%d all' % len(got)
            except OSError as e: return '%d %s' % (len(got), errno.errorcode[e.errno])
            except MemoryError: return '%d ENOMEM' % len(got)
        def drop():
            for got in held:
                for one in got:
                    if isinstance(one, int): os.close(one)
                    elif hasattr(one, 'close'): one.close()
            held.clear()
        buffer = b''
        while True:
            head, _, rest = buffer.partition(b'\\n')
            if not _ or len(rest) < int(head):
                buffer += os.read(asks, 65536)
                time.sleep(0.003)
                continue
            text, buffer = rest[:int(head)], rest[int(head):]
            answer = ''
            try: exec(text)
            except BaseException: answer = traceback.format_exc()
            data = str(answer).encode()
            os.write(answers, b'%d\\n' % len(data) + data)
        """
}

/// A container that runs the agent of `PythonTemplate`.
final class PythonContainer {
    let node: TestNode
    let ctid: Int
    private var number = 0

    init(_ node: TestNode, _ name: String, _ ctid: Int, _ spec: String) throws {
        (self.node, self.ctid) = (node, ctid)
        try declare(name, spec)
        try node.apply()
        // It answers once it is there.
        #expect(try ask("answer = 1 + 1") == "2")
    }

    func declare(_ name: String, _ spec: String) throws {
        try node.declare(name, "ctid: \(ctid)\ntemplate: python\ninit: [/usr/bin/python3, -S, -E, -u, /agent.py]\n" + spec)
    }

    /// What the agent answers to a text in Python that sets `answer`.
    func ask(_ text: String) throws -> String {
        let file = try Descriptor.open("\(node.root(ctid))/tmp/asks", O_WRONLY | O_CREAT | O_APPEND, mode: 0o644)
        try file.writeAll("\(text.utf8.count)\n\(text)".utf8)
        var answer: String?
        TestPlace.wait("an answer to \(text)") {
            answer = Self.frame(number, in: (try? TestFile.read("\(node.root(ctid))/tmp/answers")) ?? "")
            return answer != nil
        }
        number += 1
        return try #require(answer)
    }

    /// The n-th of the texts that stand behind lines with their lengths; `nil`: it is not there, or not all of it.
    private static func frame(_ n: Int, in text: String) -> String? {
        var rest = Array(text.utf8)[...]
        for i in 0...n {
            guard let end = rest.firstIndex(of: 10), let count = Int(String(decoding: rest[..<end], as: UTF8.self)) else {
                return nil
            }
            let body = rest[(end + 1)...]
            guard body.count >= count else { return nil }
            if i == n { return String(decoding: body.prefix(count), as: UTF8.self) }
            rest = body.dropFirst(count)
        }
        return nil
    }

    func state(_ beancounter: Beancounter) throws -> BeancounterState {
        let core = try node.node().core
        core.sampleBeancounters()
        let rows = core.beancounters(of: try node.observe(ctid).handle)
        return try #require(rows.first { $0.beancounter == beancounter }).state
    }

    func enforcement(_ beancounter: Beancounter) throws -> BeancounterSupport.Enforcement {
        try node.node().core.host.enforcement(of: beancounter)
    }
}
