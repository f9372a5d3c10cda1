public import VZKernel

/// How `cpuunits` become the kernel's weights of CPU time, for all containers of a node alike.
///
/// The standard is what OpenVZ's 1000 units were to the kernel: its default weight. Where that does not hold all the containers of a
/// node, they are scaled together, so that their ratios stay. Pure.
public struct CPUScale: Hashable, Sendable {
    /// The weight that `units` units have.
    let weight: Int64
    let units: Int64
    private let range: ClosedRange<Int64>
    public let isStandard: Bool

    /// A weight below this cannot be told well enough from the next: that is as exact as 1/16.
    static let coarsest: Int64 = 8

    /// The standard one on a kernel.
    public init(_ kernel: ControlGroupTree.WeightScale) {
        (weight, units, range, isStandard) = (kernel.default, 1000, kernel.range, true)
    }

    private init(weight: Int64, units: Int64, range: ClosedRange<Int64>) {
        (self.weight, self.units, self.range, isStandard) = (weight, units, range, false)
    }

    /// The one that holds containers of all these units: the standard one where it can, else the one by which the greatest has the
    /// kernel's greatest weight, which leaves the most room below it.
    public init(for all: some Sequence<Int>, on kernel: ControlGroupTree.WeightScale) {
        let standard = CPUScale(kernel)
        // What is the same for all is a ratio of 1 in any case.
        guard let least = all.min(), let greatest = all.max(), least < greatest, !standard.holds(least, greatest) else {
            self = standard
            return
        }
        self.init(weight: kernel.range.upperBound, units: Int64(greatest), range: kernel.range)
    }

    private func holds(_ least: Int, _ greatest: Int) -> Bool {
        Int64(least) * weight >= Self.coarsest * units && Int64(greatest) * weight <= range.upperBound * units
    }

    /// The weight of so many units, as far as the kernel's range goes.
    public func weight(of cpuunits: Int) -> Int64 {
        let rounded = (Int64(cpuunits) * weight + units / 2) / units
        return min(max(rounded, range.lowerBound), range.upperBound)
    }

    /// The units that a weight stands for, to be shown.
    public func cpuunits(of weight: Int64) -> Int64 {
        let weight = min(max(weight, 0), 1 << 32)
        return self.weight == 0 ? 0 : (weight * units + self.weight / 2) / self.weight
    }

    /// The least units whose ratio to the others holds; `nil` when `cpuunits` are enough.
    func least(above cpuunits: Int) -> Int64? {
        guard !isStandard, Int64(cpuunits) * weight < range.lowerBound * units else { return nil }
        return (range.lowerBound * units + weight - 1) / weight
    }

    /// What is told of a scale that is not the standard one. - Parameter name: of the kernel's setting.
    func note(_ name: String) -> String? {
        isStandard
            ? nil
            : "cpuunits of this node are scaled together: \(name) is units × \(weight) / \(units), since the standard scale does not "
                + "hold the least and the greatest of them"
    }
}
