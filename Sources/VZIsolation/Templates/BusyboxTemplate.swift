internal import Glibc
public import VZKernel

extension TemplateStore {
    /// Makes a tiny template, about 2 MB, from Debian's busybox-static: its applets, an init table, three users.
    public func createBusybox(_ name: String) throws(KernelError) {
        try refuseExisting(name)
        let busybox = try Self.staticBusybox()
        let applets = try Command.run([busybox, "--list"]).split(separator: "\n").map(String.init)
        try install(name, suffix: "") { root throws(KernelError) in
            try Descriptor.makeDirectories(root)
            try Self.set(mode: 0o755, of: root)
            for directory in ["bin", "sbin", "dev", "proc", "sys", "etc", "root", "tmp", "run", "var", "var/log", "usr"] {
                try Descriptor.makeDirectories("\(root)/\(directory)")
                try Self.set(mode: directory == "tmp" ? 0o1777 : directory == "root" ? 0o700 : 0o755, of: "\(root)/\(directory)")
            }
            try Command.run(["cp", "--", busybox, "\(root)/bin/busybox"])
            for applet in applets where applet != "busybox" {
                let link = applet == "init" ? "sbin/init" : "bin/\(applet)"
                if symlink("/bin/busybox", "\(root)/\(link)") != 0 { throw KernelError("make link \(link)", errno: errno) }
            }
            for (path, text) in Self.files {
                try Descriptor.open("\(root)/\(path)", O_WRONLY | O_CREAT | O_EXCL, mode: 0o644).writeAll(text.utf8, named: path)
            }
        }
    }

    private static func set(mode: mode_t, of path: String) throws(KernelError) {
        if chmod(path, mode) != 0 { throw KernelError("set mode of \(path)", errno: errno) }
    }

    private static let files = [
        (
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n"
        ),
        ("etc/group", "root:x:0:\ntty:x:5:\ndaemon:x:1:\nnogroup:x:65534:\n"),
        ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
        // No getty: nobody logs in here. busybox' init halts on SIGUSR1 and powers off on SIGUSR2.
        ("etc/inittab", "::sysinit:/bin/true\n::shutdown:/bin/true\n"),
    ]

    private static func staticBusybox() throws(KernelError) -> String {
        for path in ["/bin/busybox", "/usr/bin/busybox"] where access(path, X_OK) == 0 {
            // A program of the dynamic kind names its interpreter near its start; inside there would be none.
            guard let head = try? Descriptor.open(path, O_RDONLY).readHead(4096) else { continue }
            if !String(decoding: head, as: UTF8.self).contains("ld-linux") { return path }
        }
        throw KernelError("find a static busybox", errno: ENOENT, detail: "apt-get install busybox-static")
    }
}

extension Descriptor {
    fileprivate func readHead(_ count: Int) throws(KernelError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let n = read(raw, &bytes, count)
        if n < 0 { throw KernelError("read the start of a program", errno: errno) }
        return Array(bytes[0..<n])
    }
}
