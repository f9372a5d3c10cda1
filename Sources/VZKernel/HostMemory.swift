/// How the whole host is off for memory.
public struct HostMemory: Hashable, Sendable {
    /// Bytes of RAM, and of it what programs can have without anything being swapped out (proc_meminfo(5)).
    public var total: Int64
    public var available: Int64
    /// How much of the last 10 s all that was to run waited for memory at once, percent (PSI); `nil` where the kernel does not say.
    public var stalled: Double?

    public init(total: Int64, available: Int64, stalled: Double?) {
        self.total = total
        self.available = available
        self.stalled = stalled
    }

    public static func now() throws(KernelError) -> HostMemory {
        let pressure = try? KernelFile.read("/proc/pressure/memory")
        return parse(try KernelFile.read("/proc/meminfo"), pressure: pressure)
    }

    static func parse(_ meminfo: String, pressure: String?) -> HostMemory {
        func bytes(_ name: String) -> Int64 {
            let line = meminfo.split(separator: "\n").first { $0.hasPrefix(name + ":") }
            return (line?.split(separator: " ").dropFirst().first.flatMap { Int64($0) } ?? 0) << 10
        }
        let full = pressure?.split(separator: "\n").first { $0.hasPrefix("full ") }
        let average = full?.split(separator: " ").first { $0.hasPrefix("avg10=") }
        return HostMemory(
            total: bytes("MemTotal"), available: bytes("MemAvailable"), stalled: average.flatMap { Double($0.dropFirst(6)) })
    }
}
