import Testing

@testable import VZKernel

/// What is lost or left when a system call fails, or its caller is killed at it: `Tests/faults` tries all of them.
@Suite(.serialized, .enabled(if: mayUseControlGroups)) struct FaultTests {
    /// In the virtual machine, where a program takes 50 times as long to start, it would take an hour.
    @Test(.enabled(if: !TestPlace.isVirtualMachine)) func aSampleOfAllFaultsIsSurvivedOrTold() throws {
        let faults = "\(#filePath.split(separator: "/").dropLast(2).map { "/\($0)" }.joined())/faults"
        // Its failures are the end of what it writes to standard error, which is part of the error.
        let counts = try Command.run([faults, "--sample", "--programs", TestPlace.programs], patience: 400)
        #expect(counts.contains("passed, 0 failed, 0 skipped"))
    }
}
