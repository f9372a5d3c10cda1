public import VZModel

/// What containers are promised and allowed, as parts of what a host has: the tables of OpenVZ's vzmemcheck and vzcpucheck.
///
/// Pure reckoning over manifests, figures of a host, and what somebody has seen containers hold. The formulas are those of
/// `openvz.md` 1.6, checked against vzcalc's numbers for OpenVZ's own `basic` sample.
public enum Capacity {
    /// Bytes that one container, or all together, are promised and allowed.
    public struct Memory: Equatable, Sendable {
        /// Kernel memory and socket buffers at their limits.
        public var kernel: Bound = .zero
        /// RAM that can be used: physpages and `kernel`.
        public var ram: Bound = .zero
        /// What is safe from the host's OOM killer: oomguarpages and `kernel`.
        public var survivable: Int64 = 0
        /// Allocations that always succeed: vmguarpages and `kernel`.
        public var promised: Int64 = 0
        /// Allocations that can succeed at most: privvmpages and `kernel`.
        public var allocatable: Bound = .zero
        /// Processes and threads.
        public var processes: Bound = .zero
    }

    /// What one container holds now, as its kernel counts it. `nil` where that is not known.
    public struct Held: Equatable, Sendable {
        /// Kernel memory and socket buffers, bytes.
        public var kernel: Int64?
        /// RAM, `kernel` included, bytes.
        public var ram: Int64?
        /// Swap, bytes.
        public var swap: Int64?
        /// Allocations, whether used or not, bytes; as far as processes have them, `kernel` not included.
        public var allocations: Int64?
        /// Processes and threads.
        public var processes: Int64?

        public init(
            kernel: Int64? = nil, ram: Int64? = nil, swap: Int64? = nil, allocations: Int64? = nil, processes: Int64? = nil
        ) {
            self.kernel = kernel
            self.ram = ram
            self.swap = swap
            self.allocations = allocations
            self.processes = processes
        }

        /// RAM and swap together.
        var both: Int64? { ram.flatMap { ram in swap.map { ram.plus($0) } } }
        /// Allocations of processes and of the kernel for them.
        var allocated: Int64? { allocations.map { $0.plus(kernel ?? 0) } }
    }

    /// A sum in which one part may have no bound.
    public struct Bound: Equatable, Sendable {
        /// The parts that have one.
        public var amount: Int64
        public var isUnlimited: Bool
        static let zero = Bound(amount: 0, isUnlimited: false)

        /// `nil` and `Int64.max` are no bound.
        init(_ value: Int64?) {
            self.init(amount: value == Int64.max ? 0 : value ?? 0, isUnlimited: value == nil || value == Int64.max)
        }

        private init(amount: Int64, isUnlimited: Bool) {
            self.amount = amount
            self.isUnlimited = isUnlimited
        }

        static func + (a: Bound, b: Bound) -> Bound {
            Bound(amount: a.amount.plus(b.amount), isUnlimited: a.isUnlimited || b.isUnlimited)
        }
    }

    /// One container's. What follows from `ram` and `swap` when it is left out is told in `openvz.md` 3.1.
    ///
    /// A buffer without a limit adds nothing to what is promised: no one promised it.
    public static func memory(of spec: ContainerSpec) -> Memory {
        let bounds = spec.beancounters
        let swapToo = spec.ram.map { $0.plus(spec.swap ?? 0) }
        let kernel = kernelParts.map { part in
            // With VSwap the kernel's memory is within ram, so that it needs no limit of its own.
            spec.ram != nil && bounds[part] == nil ? .zero : Bound(bounds[part]?.limit)
        }.reduce(.zero, +)
        func bytes(_ pages: Int64) -> Int64 { pages.times(Size.page) }
        /// What a guarantee without end comes to is the whole of the container, as far as that is known.
        func guarantee(_ beancounter: Beancounter, else standard: Int64?) -> Int64 {
            guard let pages = bounds[beancounter]?.barrier else { return standard ?? 0 }
            return pages == Int64.max ? standard ?? 0 : bytes(pages)
        }
        let overcommitted = spec.vmOvercommit.flatMap { factor in
            swapToo.flatMap { factor > 0 ? Int64(exactly: (Double($0) * factor).rounded(.up)) : nil }
        }
        return Memory(
            kernel: kernel, ram: Bound(spec.ram) + kernel,
            survivable: guarantee(.oomguarpages, else: spec.ram).plus(kernel.amount),
            promised: guarantee(.vmguarpages, else: swapToo).plus(kernel.amount),
            allocatable: Bound(bounds[.privvmpages].map { bytes($0.limit) } ?? overcommitted) + kernel,
            processes: Bound(bounds[.numproc]?.limit))
    }

    /// All containers' together.
    public static func memory(of specs: [ContainerSpec]) -> Memory {
        specs.map { memory(of: $0) }.reduce(Memory()) { a, b in
            Memory(
                kernel: a.kernel + b.kernel, ram: a.ram + b.ram, survivable: a.survivable.plus(b.survivable),
                promised: a.promised.plus(b.promised), allocatable: a.allocatable + b.allocatable,
                processes: a.processes + b.processes)
        }
    }

    /// The CPU power of a host in cpuunits: 25 for each bogomips.
    public static func power(of host: HostFigures) -> Double { host.bogomips * 25 }

    private static let kernelParts: [Beancounter] = [.kmemsize, .tcpsndbuf, .tcprcvbuf, .dgramrcvbuf, .othersockbuf]
}

// MARK: - Warnings

extension Capacity {
    /// What the host cannot hold: a container larger than it, and promises that add up to more than RAM and swap.
    public static func warnings(for specs: [ContainerSpec], host: HostFigures) -> [Finding] {
        specs.flatMap { tooLarge($0, host) } + brokenPromises(specs, host)
    }

    private static func tooLarge(_ spec: ContainerSpec, _ host: HostFigures) -> [Finding] {
        var findings: [Finding] = []
        if let ram = spec.ram, ram > host.ram {
            findings.append(
                finding(
                    "host-ram-holds-container", "spec.ram",
                    "\(spec.name): expected at most the host's RAM of \(text(host.ram)), got \(text(ram))"))
        }
        if spec.ram != nil, let swap = spec.swap, swap > host.swap {
            findings.append(
                finding(
                    "host-swap-holds-container", "spec.swap",
                    "\(spec.name): expected at most the host's swap of \(text(host.swap)), got \(text(swap))"))
        }
        return findings
    }

    private static func brokenPromises(_ specs: [ContainerSpec], _ host: HostFigures) -> [Finding] {
        let sum = memory(of: specs)
        let there = host.ram.plus(host.swap)
        var findings: [Finding] = []
        for (field, name, promised) in [
            ("spec.beancounters.vmguarpages", "guaranteed allocations", sum.promised),
            ("spec.beancounters.oomguarpages", "memory that is safe from the OOM killer", sum.survivable),
        ] where promised > there {
            findings.append(
                finding(
                    "host-holds-guarantees", field,
                    "\(specs.count) container\(specs.count == 1 ? "" : "s"): expected \(name) of at most RAM and swap together, "
                        + "\(text(there)), got \(text(promised)) (\(percent(promised, of: there)) %)"))
        }
        return findings
    }

    private static func finding(_ rule: String, _ field: String, _ message: String) -> Finding {
        Finding(rule: rule, severity: .warning, field: field, message: message)
    }

    private static func text(_ bytes: Int64) -> String { "\(bytes >> 20) MiB" }
}

// MARK: - Tables

extension Capacity {
    /// vzmemcheck's table: a row for each container, then the sums and what the host has; in percent of the host.
    ///
    /// `kernel` is of 40 % of the low memory, `ram` of the RAM, `ram+swap`, `oom` and `alloc` of RAM and swap, `numproc` of the
    /// kernel's threads-max. The sums of what is held are of what is known.
    /// - Parameter held: what containers hold, by name; none of one that does not run.
    public static func memoryTable(_ specs: [ContainerSpec], held: [String: Held] = [:], host: HostFigures) -> String {
        let there = host.ram.plus(host.swap)
        let kernel = host.lowMemory / 5 * 2
        func cells(_ name: String, _ memory: Memory, _ held: [Held]) -> [String] {
            func part(_ figure: (Held) -> Int64?, of whole: Int64) -> String {
                let known = held.compactMap(figure)
                return known.isEmpty ? "-" : percent(known.reduce(0) { $0.plus($1) }, of: whole)
            }
            return [
                name, part(\.kernel, of: kernel), percent(memory.kernel, of: kernel), part(\.ram, of: host.ram),
                percent(memory.ram, of: host.ram), part(\.both, of: there), percent(memory.survivable, of: there),
                part(\.allocated, of: there), percent(memory.promised, of: there), percent(memory.allocatable, of: there),
                part(\.processes, of: host.threadsMax), percent(memory.processes, of: host.threadsMax),
            ]
        }
        func whole(_ kernel: String, _ ram: String, _ both: String, _ processes: String) -> [String] {
            [kernel, kernel, ram, ram, both, both, both, both, both, processes, processes]
        }
        return table(
            [
                ["name"] + ["kernel", "kernel", "ram", "ram", "ram+swap", "oom", "alloc", "alloc", "alloc", "numproc", "numproc"],
                [""] + ["held", "limit", "held", "limit", "held", "promise", "held", "promise", "limit", "held", "limit"],
            ] + specs.map { spec in cells(spec.name, memory(of: spec), held[spec.name].map { [$0] } ?? []) }
                + [cells("all, % of the host", memory(of: specs), specs.compactMap { held[$0.name] })]
                + [["host"] + whole(text(kernel), text(host.ram), text(there), "\(host.threadsMax)")])
    }

    /// vzcpucheck's table: the cpuunits of each container, their sum with the host's own 1000, and the power of the host.
    public static func cpuTable(_ specs: [ContainerSpec], host: HostFigures) -> String {
        let sum = specs.reduce(hostUnits) { $0 + $1.cpuunits }
        let power = power(of: host)
        func part(_ units: Int) -> String { power > 0 ? percent(Double(units) / power) + " %" : "-" }
        return table(
            [["name", "cpuunits", "of the host's power"]] + specs.map { [$0.name, "\($0.cpuunits)", part($0.cpuunits)] }
                + [["host itself", "\(hostUnits)", part(hostUnits)], ["all", "\(sum)", part(sum)]]
                + [["power of the host", "\(Int64(exactly: power.rounded()) ?? 0)", "\(host.cpus) CPUs"]])
    }

    /// What OpenVZ gives the host itself (VE0CPUUNITS).
    static let hostUnits = 1000

    private static func percent(_ part: Bound, of whole: Int64) -> String {
        part.isUnlimited ? "unlimited" : percent(part.amount, of: whole)
    }

    static func percent(_ part: Int64, of whole: Int64) -> String { whole > 0 ? percent(Double(part) / Double(whole)) : "-" }

    /// A part of 1 in percent, with two decimals.
    private static func percent(_ part: Double) -> String {
        guard part < 1e9 else { return "many" }
        let hundredths = Int((part * 10_000).rounded())
        let fraction = String(hundredths % 100)
        return "\(hundredths / 100).\(fraction.count < 2 ? "0" : "")\(fraction)"
    }

    /// Rows in columns: the first left-aligned, the others right-aligned.
    private static func table(_ rows: [[String]]) -> String {
        let widths = (rows.first ?? []).indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            let cells = row.indices.map { column in
                let blanks = String(repeating: " ", count: widths[column] - row[column].count)
                return column == 0 ? row[column] + blanks : blanks + row[column]
            }
            return cells.joined(separator: "  ")
        }.joined(separator: "\n")
    }
}
