internal import CLinux
internal import Glibc

/// Work below a directory by descriptor (openat2(2)): what lies below may be hostile, and nothing is followed out of it.
extension Descriptor {
    /// O_PATH of open(2): a place in the tree, without the file being opened.
    public static let pathOnly = Int32(VZ_O_PATH)

    /// Opens what `path` names below this directory, refusing every symbolic link and every way out.
    /// - Throws: `KernelError`; `ELOOP` for a symbolic link.
    public func openBeneath(_ path: String, _ flags: Int32, mode: UInt32 = 0) throws(KernelError) -> Descriptor {
        let resolve = UInt64(VZ_RESOLVE_BENEATH | VZ_RESOLVE_NO_SYMLINKS | VZ_RESOLVE_NO_MAGICLINKS)
        return try openat2(path, flags, mode, resolve)
    }

    /// Opens `path` as a process would whose root is this directory: symbolic links are followed, but never out of it.
    public func openInRoot(_ path: String, _ flags: Int32) throws(KernelError) -> Descriptor {
        try openat2(path, flags, 0, UInt64(VZ_RESOLVE_IN_ROOT | VZ_RESOLVE_NO_MAGICLINKS))
    }

    private func openat2(_ path: String, _ flags: Int32, _ mode: UInt32, _ resolve: UInt64) throws(KernelError) -> Descriptor {
        while true {
            let answer = vz_openat2(raw, path, flags, mode, resolve)
            if answer >= 0 { return Descriptor(adopting: answer) }
            // A rename beside us makes the kernel ask for another try (openat2(2)).
            if errno != EINTR && errno != EAGAIN { throw KernelError("open \"\(path)\"", errno: errno) }
        }
    }

    /// Makes the directory `name` here unless it is there.
    public func ensureDirectory(_ name: String, mode: UInt32 = 0o755) throws(KernelError) {
        if mkdirat(raw, name, mode) != 0 && errno != EEXIST { throw KernelError("make directory \"\(name)\"", errno: errno) }
    }

    /// The file's type and number, as fstat(2) tells.
    public var deviceNumber: (isCharacterDevice: Bool, major: UInt32, minor: UInt32)? {
        var info = stat()
        guard fstat(raw, &info) == 0 else { return nil }
        return (info.st_mode & S_IFMT == S_IFCHR, UInt32((info.st_rdev >> 8) & 0xfff), UInt32(info.st_rdev & 0xff))
    }

    /// Whether something has this name, whatever it is (lstat(2)).
    /// - Throws: `KernelError` when that cannot be told: what is there must not count as missing.
    public static func exists(_ path: String) throws(KernelError) -> Bool {
        var info = stat()
        if lstat(path, &info) == 0 { return true }
        if errno == ENOENT || errno == ENOTDIR { return false }
        throw KernelError("look for \"\(path)\"", errno: errno)
    }

    /// Makes a directory in one that is there, unless it is there itself.
    public static func makeDirectory(_ path: String, mode: UInt32) throws(KernelError) {
        if mkdir(path, mode_t(mode)) != 0 && errno != EEXIST { throw KernelError("make directory \"\(path)\"", errno: errno) }
    }

    /// Makes all of `path`, each missing part with mode 0700.
    public static func makeDirectories(_ path: String) throws(KernelError) {
        var done = ""
        for part in path.split(separator: "/") {
            done += "/" + part
            if mkdir(done, 0o700) != 0 && errno != EEXIST { throw KernelError("make directory \"\(done)\"", errno: errno) }
        }
    }
}
