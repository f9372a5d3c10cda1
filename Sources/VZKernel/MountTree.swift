internal import CLinux
internal import Glibc

/// A mount that is attached nowhere yet, held by a descriptor of its root (fsmount(2), open_tree(2)).
///
/// Nobody sees it and it is gone with the descriptor, so a start that fails, or is killed, leaves no mount behind.
public struct MountTree: Sendable {
    public let root: Descriptor

    /// MOUNT_ATTR_* of mount_setattr(2).
    public struct Attributes: OptionSet, Sendable {
        public let rawValue: UInt64
        public init(rawValue: UInt64) { self.rawValue = rawValue }
        public static let readOnly = Self(rawValue: UInt64(VZ_MOUNT_ATTR_RDONLY))
        public static let noSetuid = Self(rawValue: UInt64(VZ_MOUNT_ATTR_NOSUID))
        public static let noDevices = Self(rawValue: UInt64(VZ_MOUNT_ATTR_NODEV))
        public static let noExec = Self(rawValue: UInt64(VZ_MOUNT_ATTR_NOEXEC))
    }

    /// A detached bind mount of a directory or a file, without what is mounted below it. Mount events pass neither way.
    public init(cloning directory: Descriptor) throws(KernelError) {
        let raw = vz_clone_tree(directory.raw)
        if raw < 0 { throw KernelError("clone mount (open_tree)", errno: errno) }
        root = Descriptor(adopting: raw)
    }

    /// A new file system of `type`, owned by our own user namespace: a container's root cannot remount it.
    public init(type: String, options: [(String, String)], attributes: Attributes = []) throws(KernelError) {
        let strings = CStrings(options.flatMap { [$0.0, $0.1] })
        let raw = vz_new_mount(type, strings.pointer, attributes.rawValue)
        if raw < 0 {
            throw KernelError("mount \(type) (\(options.map { "\($0.0)=\($0.1)" }.joined(separator: ",")))", errno: errno)
        }
        root = Descriptor(adopting: raw)
    }

    /// Changes options of the file system whose root `root` is, wherever it is mounted (fspick(2)). All options are to be given: some
    /// file systems reset those that are not.
    public static func reconfigure(_ root: Descriptor, _ options: [(String, String)]) throws(KernelError) {
        let strings = CStrings(options.flatMap { [$0.0, $0.1] })
        if vz_reconfigure(root.raw, strings.pointer) < 0 {
            throw KernelError("remount (\(options.map { "\($0.0)=\($0.1)" }.joined(separator: ",")))", errno: errno)
        }
    }

    public func set(_ attributes: Attributes) throws(KernelError) {
        if vz_set_mount_attributes(root.raw, attributes.rawValue) < 0 { throw KernelError("set mount attributes", errno: errno) }
    }

    /// Makes a device node in this tree, owned by `owner`, mode 0666, and checks what came to be.
    public func makeDevice(_ name: String, major: UInt32, minor: UInt32, owner: UInt32) throws(KernelError) {
        let device = (UInt(major) << 8) | UInt(minor)  // both small: the kernel's and the C library's encodings agree
        guard mknodat(root.raw, name, S_IFCHR, device) == 0,
            fchownat(root.raw, name, owner, owner, AT_SYMLINK_NOFOLLOW) == 0,
            fchmodat(root.raw, name, 0o666, 0) == 0
        else { throw KernelError("make device \(name) (\(major):\(minor))", errno: errno) }
    }

    public func makeDirectory(_ name: String, mode: UInt32 = 0o755, owner: UInt32) throws(KernelError) {
        guard mkdirat(root.raw, name, mode) == 0, fchownat(root.raw, name, owner, owner, AT_SYMLINK_NOFOLLOW) == 0 else {
            throw KernelError("make directory \(name)", errno: errno)
        }
    }

    public func makeLink(_ name: String, to target: String, owner: UInt32) throws(KernelError) {
        guard symlinkat(target, root.raw, name) == 0, fchownat(root.raw, name, owner, owner, AT_SYMLINK_NOFOLLOW) == 0 else {
            throw KernelError("make link \(name)", errno: errno)
        }
    }
}
