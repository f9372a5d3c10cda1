internal import VZModel

// What the end of a file decides: the mode of the memory (`openvz.md` 3.1), and the disk.
extension ConfImporter {
    static func beancounter(_ beancounter: Beancounter) -> Handler {
        { importer, assignment throws(ConfProblem) in
            let syntax: ConfNumber.Syntax =
                switch beancounter.unit {
                case .items: .plain
                case .pages: .pages
                case .bytes: .bytes
                }
            importer.bounds[beancounter] = try importer.number(assignment, syntax)
            // Where it goes is known at the end.
            return ""
        }
    }

    /// The numbers of an assignment; told of when one is beyond what OpenVZ counts.
    mutating func number(_ assignment: ConfAssignment, _ syntax: ConfNumber.Syntax) throws(ConfProblem) -> BarrierLimit {
        let read = try ConfNumber.bounds(assignment.value, syntax)
        if read.isTruncated { note(assignment, "a number above \(Int64.max) is taken for unlimited, as OpenVZ does") }
        return read.bounds
    }

    mutating func finishMemory() {
        let isVSwap = RuleOperands.isVSwap(physpages: bounds[.physpages])
        let usesSLM = !isVSwap && (slmMode == "slm" || slmMode == "all")
        if isVSwap {
            takeVSwap()
        } else if usesSLM, let limit = slmLimit {
            spec.ram = Size.roundedToPages(limit)
            if let assignment = first["SLMMEMORYLIMIT"] { take(assignment, as: "spec.ram") }
            if let assignment = first["PHYSPAGES"], bounds[.physpages] != nil {
                note(assignment, "with SLM, ram is SLMMEMORYLIMIT")
            }
            if let assignment = first["SWAPPAGES"], bounds[.swappages] != nil { note(assignment, "with SLM, there is no swap") }
        } else {
            takeBeancounterMode()
        }
        for beancounter in Beancounter.allCases where beancounter != .physpages && beancounter != .swappages {
            takeBounds(beancounter)
        }
        if spec.ram == nil, spec.vmOvercommit != nil {
            spec.vmOvercommit = nil
            mapped.removeAll { $0.field == "spec.vm_overcommit" }
            if let assignment = first["VM_OVERCOMMIT"] {
                note(
                    assignment,
                    "it reckons privvmpages from RAM and swap, which the file does not limit: no VSwap without PHYSPAGES")
            }
        }
        if let assignment = first["SLMMEMORYLIMIT"], slmLimit != nil, !usesSLM {
            note(assignment, "Virtuozzo counts it only without VSwap and with SLMMODE slm or all")
        }
    }

    private mutating func takeVSwap() {
        for (beancounter, key, field) in [
            (Beancounter.physpages, "PHYSPAGES", "spec.ram"), (.swappages, "SWAPPAGES", "spec.swap"),
        ] {
            guard let assignment = first[key], let given = bounds[beancounter] else { continue }
            if given.barrier != 0 { note(assignment, "only the limit has a meaning; the barrier of \(given.barrier) is left out") }
            let bytes = min(given.limit.times(Size.page), Size.largest)
            if beancounter == .swappages {
                spec.swap = bytes
            } else if bytes > 0 {
                spec.ram = bytes
            } else {
                refuse(
                    assignment, "expected a limit above 0 pages, got \(Quoting.shown(assignment.value)); nothing runs without RAM")
                continue
            }
            take(assignment, as: field)
        }
        if spec.ram == nil { spec.swap = nil }
    }

    private mutating func takeBeancounterMode() {
        if let assignment = first["PHYSPAGES"], let given = bounds[.physpages] {
            // Its limit is unlimited here, or there would be VSwap.
            let barrier = given.barrier == 0 || given.barrier == given.limit ? "" : "; the barrier has no meaning and is left out"
            note(assignment, "without VSwap physpages is not limited, which is what leaving it out means" + barrier)
        }
        guard let assignment = first["SWAPPAGES"], let given = bounds[.swappages] else { return }
        if given.barrier != 0, given.barrier != given.limit {
            note(assignment, "only the limit has a meaning; the barrier is left out")
        }
        if given.limit != BarrierLimit.unlimited {
            spec.beancounters[.swappages] = BarrierLimit(barrier: 0, limit: given.limit)
        }
        take(assignment, as: "spec.beancounters.swappages")
    }

    private mutating func takeBounds(_ beancounter: Beancounter) {
        guard let assignment = first[beancounter.rawValue.uppercased()], var given = bounds[beancounter] else { return }
        if beancounter.shape == .guarantee, given.limit == RuleOperands.unlimited32 {
            note(assignment, "the limit \(given.limit) is the unlimited of a 32-bit kernel; unlimited is written")
            given.limit = BarrierLimit.unlimited
        }
        if given != Self.leftOut(beancounter, withRAM: spec.ram != nil) { spec.beancounters[beancounter] = given }
        take(assignment, as: "spec.beancounters.\(beancounter.rawValue)")
    }

    /// What a manifest means by leaving a beancounter out; `nil` where that depends on `ram` and `swap` (`openvz.md` 3.1).
    static func leftOut(_ beancounter: Beancounter, withRAM: Bool) -> BarrierLimit? {
        switch beancounter {
        case .lockedpages, .privvmpages: withRAM ? nil : BarrierLimit(both: BarrierLimit.unlimited)
        case .vmguarpages, .oomguarpages: withRAM ? nil : BarrierLimit(barrier: 0, limit: BarrierLimit.unlimited)
        case .physpages, .swappages: BarrierLimit(barrier: 0, limit: BarrierLimit.unlimited)
        default: BarrierLimit(both: BarrierLimit.unlimited)
        }
    }

    mutating func finishDisk() {
        if diskQuota == false, spec.layout == .dir {
            for key in ["DISKSPACE", "DISKINODES"] {
                guard let assignment = first[key] else { continue }
                mapped.removeAll { $0.location == assignment.location }
                note(assignment, "DISK_QUOTA=no switches the quota off; without one there is no limit")
            }
            spec.diskspace = nil
            spec.diskinodes = nil
        }
        for (path, key) in [(\ContainerSpec.diskspace, "DISKSPACE"), (\.diskinodes, "DISKINODES")] {
            guard let given = spec[keyPath: path], let assignment = first[key] else { continue }
            if given == BarrierLimit(both: BarrierLimit.unlimited) { spec[keyPath: path] = nil }
            if given.barrier > given.limit, diskQuota != true || first["DISK_QUOTA"]?.isOwn != true {
                note(assignment, "the soft limit is above the hard one and never reached; the hard one is written for both")
                spec[keyPath: path] = BarrierLimit(both: given.limit)
            }
        }
    }
}
