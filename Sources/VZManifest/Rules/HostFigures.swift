/// What a host has to give, as far as the capacity rules ask (`openvz.md` 1.6).
public struct HostFigures: Equatable, Sendable, Codable {
    /// Bytes.
    public var ram: Int64
    /// Bytes.
    public var swap: Int64
    /// Bytes that kernel memory can come from; all of the RAM but on a 32-bit kernel.
    public var lowMemory: Int64
    public var cpus: Int
    /// Of all CPUs together.
    public var bogomips: Double
    /// `/proc/sys/kernel/threads-max`.
    public var threadsMax: Int64

    private enum CodingKeys: String, CodingKey {
        case ram, swap, cpus, bogomips
        case lowMemory = "low_memory"
        case threadsMax = "threads_max"
    }

    public init(ram: Int64, swap: Int64, lowMemory: Int64? = nil, cpus: Int, bogomips: Double, threadsMax: Int64) {
        self.ram = ram
        self.swap = swap
        self.lowMemory = lowMemory ?? ram
        self.cpus = cpus
        self.bogomips = bogomips
        self.threadsMax = threadsMax
    }

    /// From the texts of `/proc/meminfo`, `/proc/cpuinfo` and `/proc/sys/kernel/threads-max` (proc(5)). What is not there is 0.
    public init(meminfo: String, cpuinfo: String, threadsMax: String) {
        var memory: [Substring: Int64] = [:]
        for line in meminfo.split(separator: "\n") {
            let words = line.split { $0 == ":" || $0 == " " }
            if words.count == 3, words[2] == "kB", let number = Int64(words[1]) { memory[words[0]] = number.times(1024) }
        }
        var cpus = 0
        var bogomips = 0.0
        for line in cpuinfo.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1).map { $0.filter { $0 != " " && $0 != "\t" } }
            guard parts.count == 2 else { continue }
            if parts[0] == "processor" { cpus += 1 }
            // arm64 writes BogoMIPS.
            if parts[0].lowercased() == "bogomips" { bogomips += Double(parts[1]) ?? 0 }
        }
        self.init(
            ram: memory["MemTotal"] ?? 0, swap: memory["SwapTotal"] ?? 0, lowMemory: memory["LowTotal"], cpus: cpus,
            bogomips: bogomips, threadsMax: Int64(threadsMax.filter { $0 != "\n" && $0 != " " }) ?? 0)
    }
}
