internal import Glibc
internal import VZIsolation
public import VZKernel
internal import VZModel
internal import VZPlan

extension Node {
    /// The swap that the containers that shall run are promised, in all, bytes. Pure.
    static func promisedSwap(_ targets: [Target]) -> Int64 {
        targets.reduce(0) { sum, target in
            guard target.desired.state == .running, target.spec.ram != nil, let swap = target.spec.swap, swap > 0 else {
                return sum
            }
            let (more, tooMuch) = sum.addingReportingOverflow(swap)
            return tooMuch ? .max : more
        }
    }

    /// Makes the swap space that containers are promised, and takes away what is no longer needed (`VSwap`).
    /// - Parameter isShort: whether the host is short of memory.
    /// - Returns: what was done; what does not hold is added to the look's warnings.
    public func provideSwap(for look: inout Look, isShort: Bool = false) throws(KernelError) -> [String] {
        guard core.host.supports(.swapMax), let ram = core.host.ram else { return [] }
        guard let lock = try FileLock.lock(paths.locks + "/swap", deadline: .now + .seconds(120)) else {
            throw KernelError("lock \(paths.locks)/swap", errno: EAGAIN, detail: "another vz has held it for 120 s")
        }
        defer { withExtendedLifetime(lock) {} }
        let swap = VSwap(controlGroup: paths.controlGroup, claim: paths.run + "/vswap")
        let (done, warnings) = try swap.provide(Self.promisedSwap(look.targets), ram: ram, isShort: isShort)
        look.warnings += warnings
        return done
    }
}
