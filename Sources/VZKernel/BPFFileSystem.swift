internal import CBPF
internal import Glibc

/// A bpffs: names for BPF maps, programs and links, which live as long as they have one. It is lost with the last of its mounts.
public enum BPFFileSystem {
    /// Makes a new one at `directory`, which is made, unless one is there.
    public static func mount(at directory: String) throws(KernelError) {
        try Descriptor.makeDirectories(directory)
        if vz_bpf_is_file_system(directory) != 0 { return }
        if Glibc.mount("bpf", directory, "bpf", UInt(MS_NOSUID | MS_NODEV | MS_NOEXEC), "mode=700") != 0 {
            throw KernelError("mount bpf on \"\(directory)\"", errno: errno)
        }
    }

    /// Takes the one at `directory` away, and with it all that lives by it. One that is not there is no error.
    public static func unmount(_ directory: String) throws(KernelError) {
        if umount2(directory, Int32(MNT_DETACH)) != 0, errno != EINVAL, errno != ENOENT {
            throw KernelError("unmount \"\(directory)\"", errno: errno)
        }
    }

    public static func exists(_ path: String) -> Bool { faccessat(AT_FDCWD, path, F_OK, 0) == 0 }
}
