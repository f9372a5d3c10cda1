internal import CBPF
internal import Glibc

/// A BPF map that the kernel has: a table that programs and user space share (bpf(2)). Needs CAP_BPF.
public struct BPFMap: Sendable {
    public let descriptor: Descriptor

    /// Opens one that is pinned.
    /// - Throws: `KernelError`; `ENOENT` when nothing is pinned there.
    public init(pinned path: String) throws(KernelError) {
        let raw = vz_bpf_get(path)
        if raw < 0 { throw KernelError("open the BPF map \"\(path)\"", errno: -raw) }
        descriptor = Descriptor(adopting: raw)
    }

    /// Sets the 64-bit value of a 32-bit key.
    public func set(_ key: UInt32, to value: UInt64) throws(KernelError) {
        var (key, value) = (key, value)
        let answer = vz_bpf_map_set(descriptor.raw, &key, &value)
        if answer != 0 { throw KernelError("write to a BPF map", errno: -answer) }
    }

    /// The 64-bit value of a 32-bit key, `nil` when there is none.
    public func value(of key: UInt32) -> UInt64? {
        var (key, value) = (key, UInt64(0))
        return vz_bpf_map_find(descriptor.raw, &key, &value) == 0 ? value : nil
    }

    /// Removes a 32-bit key; one that is not there is no error.
    public func remove(_ key: UInt32) throws(KernelError) {
        var key = key
        let answer = vz_bpf_map_remove(descriptor.raw, &key)
        if answer != 0 && answer != -ENOENT { throw KernelError("remove from a BPF map", errno: -answer) }
    }

    /// The memory of an array (BPF_F_MMAPABLE), shared with the programs; of it pages are resident once they are touched.
    public func mapped(bytes: Int) throws(KernelError) -> MappedMemory { try MappedMemory(descriptor, bytes: bytes) }
}

/// Memory that is mapped, until it is let go.
public final class MappedMemory: @unchecked Sendable {
    public let start: UnsafeMutableRawPointer
    private let bytes: Int

    fileprivate init(_ descriptor: Descriptor, bytes: Int) throws(KernelError) {
        let start = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor.raw, 0)
        guard let start, start != MAP_FAILED else { throw KernelError("map \(bytes) bytes of a BPF map", errno: errno) }
        (self.start, self.bytes) = (start, bytes)
    }

    deinit { munmap(start, bytes) }

    /// 8 aligned bytes of it.
    public struct Word: Sendable {
        private let memory: MappedMemory
        private let offset: Int

        public init(_ memory: MappedMemory, offset: Int) {
            precondition(offset >= 0 && offset % 8 == 0 && offset + 8 <= memory.bytes, "a word of the memory")
            (self.memory, self.offset) = (memory, offset)
        }

        var pointer: UnsafeMutablePointer<UInt64> { (memory.start + offset).assumingMemoryBound(to: UInt64.self) }
    }
}

/// A BPF program of control groups that is pinned, with the links by which it is attached.
public struct BPFGroupProgram: Sendable {
    private let descriptor: Descriptor
    private let type: UInt32

    /// - Parameter section: the program's section: `cgroup/sysctl`.
    public init(pinned path: String, section: String) throws(KernelError) {
        let raw = vz_bpf_get(path)
        if raw < 0 { throw KernelError("open the BPF program \"\(path)\"", errno: -raw) }
        descriptor = Descriptor(adopting: raw)
        type = UInt32(bitPattern: vz_bpf_group_type(section))
    }

    /// Attaches it to a group of the unified hierarchy, beside whatever else is there, unless the link pinned at `path` does so already.
    public func attach(to group: Descriptor, pinnedAt path: String) throws(KernelError) {
        var status = stat()
        if fstat(group.raw, &status) != 0 { throw KernelError("look at a control group", errno: errno) }
        var linked: UInt64 = 0
        if vz_bpf_linked_group(path, &linked) == 0 {
            if linked == status.st_ino { return }
            // The group that it was attached to is gone.
            unlink(path)
        }
        let answer = vz_bpf_link_group(descriptor.raw, group.raw, type, path)
        if answer != 0 { throw KernelError("attach a BPF program to a control group (\(path))", errno: -answer) }
    }
}
