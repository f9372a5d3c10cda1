import Testing
import VZModel

@testable import VZReconciler

@Suite struct BootOrderTests {
    private func id(_ number: Int) throws -> ContainerID { try #require(ContainerID(number)) }

    @Test func higherFirstUnsetLastTiesByNumber() throws {
        let given: [(Int, Int?)] = [(105, nil), (104, 0), (103, 7), (102, 7), (101, nil), (110, 9)]
        let groups = BootOrder.groups(try given.map { (try id($0.0), $0.1) })
        #expect(groups.map { $0.map(\.number) } == [[110], [102, 103], [104], [101, 105]])
        #expect(BootOrder.groups([]).isEmpty)
    }

    @Test func aGroupBeginsWhenEachOfTheOneBeforeWasTried() throws {
        var stages = BootStages([[try id(101), try id(102)], [try id(103)]])
        #expect(try stages.isWaiting(id(101)) && stages.isWaiting(id(103)))
        #expect(stages.advance().map(\.number) == [101, 102])
        #expect(try !stages.isWaiting(id(101)) && stages.isWaiting(id(103)))
        stages.tried(try id(102))
        #expect(stages.advance().isEmpty)
        stages.tried(try id(102))
        stages.tried(try id(101))
        #expect(stages.advance().map(\.number) == [103])
        #expect(!stages.isOver)
        stages.tried(try id(103))
        #expect(stages.isOver && stages.advance().isEmpty)
    }

    @Test func aGroupThatHangsIsNotWaitedForForEver() throws {
        var stages = BootStages([[try id(101)], [try id(102)]])
        _ = stages.advance()
        #expect(stages.force().map(\.number) == [102])
        stages.tried(try id(101))
        #expect(!stages.isOver)
    }
}
