internal import CBPF
internal import Glibc
internal import Synchronization

/// BPF programs and maps on their way into the kernel: opened, chosen from, loaded, attached, pinned; then let go.
///
/// libbpf does the work; the shared library libbpf.so.1 is looked for when the first object is opened. Needs root. Blocks: the kernel checks every
/// program. One object is there at a time; others wait.
public final class BPFObject {
    private let raw: OpaquePointer
    /// libbpf tells its troubles to the process as a whole.
    private static let turn = Turn()

    /// A program of the object.
    public struct Program: Sendable {
        fileprivate let index: Int32
        public let name: String
        /// What it is, and what it is attached to: `fmod_ret/security_file_alloc`.
        public let section: String
        /// Whether the running kernel has the function that it is attached to, if it is attached to one.
        public let hasTarget: Bool
    }

    public let programs: [Program]

    /// Opens the object that `bytes` are; they must live as long, which those of this program's own text do.
    /// - Throws: `KernelError`: ENOSYS when there is no libbpf.
    private init(_ bytes: UnsafeRawPointer, size: Int) throws(KernelError) {
        Self.turn.take()
        guard let object = vz_bpf_open(bytes, size) else {
            let error = errno
            Self.turn.give()
            throw error == ENOSYS
                ? KernelError("load libbpf.so.1", errno: 0, detail: "it is not installed; apt-get install libbpf1")
                : Self.failure("open the BPF object", error)
        }
        raw = object
        programs = (0..<vz_bpf_program_count(object)).map { index in
            Program(
                index: index, name: String(cString: vz_bpf_program_name(object, index)),
                section: String(cString: vz_bpf_program_section(object, index)),
                hasTarget: vz_bpf_program_has_target(object, index) != 0)
        }
    }

    /// The programs that count and refuse (Sources/CBPF/programs).
    public static func beancounters() throws(KernelError) -> BPFObject {
        try BPFObject(vz_bpf_beancounters_bytes(), size: vz_bpf_beancounters_size)
    }

    /// Which these programs are: a digest of the object, never 0.
    public static var beancountersVersion: UInt64 { vz_bpf_beancounters_version }

    deinit {
        vz_bpf_close(raw)
        Self.turn.give()
    }

    /// Whether a program will be loaded; all are until something else is said.
    public func choose(_ program: Program, _ chosen: Bool) { vz_bpf_program_choose(raw, program.index, chosen ? 1 : 0) }

    /// Attaches a program of modify-return or fentry at the LSM hook of its name instead.
    public func useLSM(_ program: Program) throws(KernelError) {
        try check("use the LSM hook \(program.name)", vz_bpf_program_use_lsm(raw, program.index))
    }

    /// What the programs are told (struct vz_bpf_config).
    public struct Configuration {
        public var version: UInt64
        public var usesLSM = false
        /// Programs stand at the ends of calls as well.
        public var seesEnds = false
        public var seededSlot: UInt32 = 0
        public var memoryIsV1: Bool

        public init(version: UInt64, memoryIsV1: Bool) { (self.version, self.memoryIsV1) = (version, memoryIsV1) }
    }

    public func configure(_ configuration: Configuration) throws(KernelError) {
        var raw = vz_bpf_config(
            version: configuration.version, level: 1, lsm: configuration.usesLSM ? 1 : 0, slot: configuration.seededSlot,
            memory_v1: configuration.memoryIsV1 ? 1 : 0, sees_ends: configuration.seesEnds ? 1 : 0, unused: 0)
        try check("configure the BPF programs", vz_bpf_configure(self.raw, &raw, MemoryLayout<vz_bpf_config>.size))
    }

    /// Has the kernel load its packet filters where they are modules, so that programs can read their tables.
    public static func loadPacketFilters() { vz_bpf_load_packet_filters() }

    /// Shares a map with programs that are loaded already.
    public func reuse(_ map: BPFMap, as name: String) throws(KernelError) {
        try check("share the BPF map \(name)", vz_bpf_reuse_map(raw, name, map.descriptor.raw))
    }

    /// Leaves a map out that no chosen program names.
    public func omit(map name: String) throws(KernelError) {
        try check("leave out the BPF map \(name)", vz_bpf_omit_map(raw, name))
    }

    /// Loads what was chosen.
    /// - Throws: `KernelError` with the kernel's reasons; EPERM where the kernel refuses programs of these kinds altogether.
    public func load() throws(KernelError) { try check("load the BPF programs", vz_bpf_load(raw)) }

    public func pin(map name: String, at path: String) throws(KernelError) {
        try check("pin the BPF map \(name) at \"\(path)\"", vz_bpf_pin_map(raw, name, path))
    }

    /// Attaches a program that was loaded; it stays attached as long as `path` is there.
    public func attach(_ program: Program, pinnedAt path: String) throws(KernelError) {
        try check("attach the BPF program \(program.name)", vz_bpf_attach(raw, program.index, path))
    }

    /// Keeps a loaded program, attached to nothing, as long as `path` is there.
    public func pin(_ program: Program, at path: String) throws(KernelError) {
        try check("pin the BPF program \(program.name)", vz_bpf_pin_program(raw, program.index, path))
    }

    /// Runs a loaded iterator over everything that it iterates over, once.
    public func run(_ program: Program) throws(KernelError) {
        try check("run the BPF iterator \(program.name)", vz_bpf_run_iterator(raw, program.index))
    }

    private func check(_ action: String, _ answer: Int32) throws(KernelError) {
        if answer != 0 { throw Self.failure(action, -answer) }
    }

    private static func failure(_ action: String, _ errno: Int32) -> KernelError {
        let lines = String(cString: vz_bpf_messages()).split(separator: "\n")
        return KernelError(action, errno: errno, detail: lines.suffix(3).joined(separator: "; "))
    }

    /// One object at a time. A semaphore and no lock, which would belong to the thread that took it.
    private final class Turn: @unchecked Sendable {
        private let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
        init() { sem_init(semaphore, 0, 1) }
        func take() { while sem_wait(semaphore) != 0 && errno == EINTR {} }
        func give() { sem_post(semaphore) }
    }
}
