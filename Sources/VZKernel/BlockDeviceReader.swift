internal import Glibc

/// Reads from sysfs and /proc which block devices a file lies on. Opens no device, changes nothing.
public struct BlockDeviceReader: Sendable {
    private let sys: String
    private let mountInfo: String

    public init(sys: String = "/sys", mountInfo: String = "/proc/self/mountinfo") {
        (self.sys, self.mountInfo) = (sys, mountInfo)
    }

    /// The number of the file system that a file is on, as stat(2) tells: `254:0`; with major 0 it is no block device's. `nil` when
    /// there is no such file.
    public static func fileSystem(of path: String) throws(KernelError) -> String? {
        var info = stat()
        if stat(path, &info) == 0 { return text(info.st_dev) }
        if isMissing(errno) { return nil }
        throw KernelError("look at \"\(path)\"", errno: errno)
    }

    /// Whether an error says that there is no such thing, or none that can ever be seen from here. Any other is a failure of the kernel's,
    /// after which nothing is known.
    private static func isMissing(_ number: Int32) -> Bool {
        [ENOENT, ENOTDIR, ENODEV, ENXIO, EINVAL, EACCES, EPERM, ELOOP, ENAMETOOLONG].contains(number)
    }

    /// The path itself when it is there, else the nearest directory above it that is.
    public static func nearest(_ path: String) throws(KernelError) -> String {
        var path = path
        while try fileSystem(of: path) == nil, let slash = path.lastIndex(of: "/") {
            path = slash == path.startIndex ? "/" : String(path[..<slash])
        }
        return real(path)
    }

    /// The devices under a file, and why there is none.
    public struct Found: Equatable, Sendable {
        public var stack: BlockStack
        /// The file system's type where there is no device; else `nil`.
        public var withoutDevice: String?
    }

    /// - Parameters:
    ///   - path: of the file, absolute.
    ///   - fileSystem: the number of the file system that it is on.
    /// - Throws: when the kernel fails at one of them: then it is not known what there is.
    public func devices(under path: String, on fileSystem: String) throws(KernelError) -> Found {
        var memory: [String: BlockDeviceEntry?] = [:]
        var fault: KernelError?
        func stack(under numbers: [String]) throws(KernelError) -> BlockStack {
            let stack = BlockStack(under: numbers) { number in
                if let known = memory[number] { return known }
                var found: BlockDeviceEntry?
                do throws(KernelError) { found = try self.entry(number) } catch { fault = error }
                memory[number] = found
                return found
            }
            if let fault { throw fault }
            return stack
        }
        let direct = try stack(under: [fileSystem])
        if !direct.tops.isEmpty { return Found(stack: direct) }
        // btrfs, overlay, tmpfs and their like have a number of their own: the mount tells the source.
        let mount = MountEntry.list(try KernelFile.read(mountInfo)).holding(Self.real(path))
        let numbers = try mount.map { mount throws(KernelError) in try members(of: mount) } ?? []
        return Found(stack: try stack(under: numbers), withoutDevice: numbers.isEmpty ? mount?.type ?? "no mount" : nil)
    }

    /// The devices of a mount's source: for btrfs all that the file system is spread over.
    private func members(of mount: MountEntry) throws(KernelError) -> [String] {
        guard mount.source.hasPrefix("/dev/"), let number = Self.device(mount.source) else { return [] }
        guard mount.type == "btrfs", let name = try entry(number)?.name else { return [number] }
        for id in try names("\(sys)/fs/btrfs") {
            let devices = try names("\(sys)/fs/btrfs/\(id)/devices")
            if devices.contains(name) { return try numbers(devices.map { "\(sys)/class/block/\($0)/dev" }) }
        }
        return [number]
    }

    private func numbers(_ files: [String]) throws(KernelError) -> [String] {
        var numbers: [String] = []
        for file in files { if let number = try read(file) { numbers.append(number) } }
        return numbers
    }

    /// What sysfs says of a device; `nil` for what is none.
    public func entry(_ number: String) throws(KernelError) -> BlockDeviceEntry? {
        let directory = "\(sys)/dev/block/\(number)"
        guard let uevent = try read(directory + "/uevent"),
            let name = uevent.split(separator: "\n").first(where: { $0.hasPrefix("DEVNAME=") })?.dropFirst(8)
        else { return nil }
        var entry = BlockDeviceEntry(name: String(name))
        // The link is resolved by the kernel: `..` of a partition is its disk.
        if try read(directory + "/partition") != nil { entry.disk = try read(directory + "/../dev") }
        entry.slaves = try numbers(names(directory + "/slaves").sorted().map { "\(directory)/slaves/\($0)/dev" })
        if let backing = try read(directory + "/loop/backing_file") { entry.backing = try Self.fileSystem(of: backing) }
        entry.scheduler = try read(directory + "/queue/scheduler").flatMap(Self.active)
        return entry
    }

    /// Of `none [mq-deadline] bfq` the one in brackets.
    static func active(_ schedulers: String) -> String? {
        let words = schedulers.split(separator: " ")
        return words.first { $0.hasPrefix("[") && $0.hasSuffix("]") }.map { String($0.dropFirst().dropLast()) }
    }

    private func read(_ path: String) throws(KernelError) -> String? {
        do throws(KernelError) { return try KernelFile.read(path) } catch  where Self.isMissing(error.errno) { return nil }
    }

    private func names(_ path: String) throws(KernelError) -> [String] { try Self.names(in: path) }

    /// What is in a directory; nothing when there is none.
    public static func names(in path: String) throws(KernelError) -> [String] {
        do throws(KernelError) {
            return try Descriptor.open(path, O_RDONLY | O_DIRECTORY).names()
        } catch  where isMissing(error.errno) {
            return []
        }
    }

    private static func device(_ path: String) -> String? {
        var info = stat()
        return stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFBLK ? text(info.st_rdev) : nil
    }

    static func real(_ path: String) -> String {
        guard let real = realpath(path, nil) else { return path }
        defer { free(real) }
        return String(cString: real)
    }

    /// makedev(3) the other way round.
    private static func text(_ device: UInt) -> String {
        let major = ((device >> 8) & 0xfff) | ((device >> 32) & ~0xfff)
        let minor = (device & 0xff) | ((device >> 12) & ~0xff)
        return "\(major):\(minor & 0xffff_ffff)"
    }
}

/// One mount of /proc/self/mountinfo (proc_pid_mountinfo(5)).
public struct MountEntry: Equatable, Sendable {
    public var mountPoint: String
    public var type: String
    public var source: String
    /// Of the file system, as `rw,prjquota`.
    public var options: [String]

    /// All mounts in the order of the file; lines that are none are passed over.
    public static func list(_ mountInfo: String) -> [MountEntry] {
        mountInfo.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ")
            guard fields.count >= 10, let dash = fields.firstIndex(of: "-"), fields.count >= dash + 3 else { return nil }
            let options = fields.count > dash + 3 ? fields[dash + 3].split(separator: ",").map(String.init) : []
            return MountEntry(
                mountPoint: plain(fields[4]), type: String(fields[dash + 1]), source: plain(fields[dash + 2]), options: options)
        }
    }

    /// Blanks and backslashes are written as `\040`.
    private static func plain(_ text: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "\\"), rest.count >= 3,
                let code = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8)
            {
                bytes.append(code)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension [MountEntry] {
    /// The mount that a path without symbolic links lies on: the longest mount point above it, of several the last.
    public func holding(_ path: String) -> MountEntry? {
        var best: MountEntry?
        for mount in self {
            let point = mount.mountPoint
            let isAbove = point == "/" || path == point || path.hasPrefix(point + "/")
            if isAbove, point.utf8.count >= best?.mountPoint.utf8.count ?? 0 { best = mount }
        }
        return best
    }
}
