import Testing

@testable import VZReconciler

@Suite struct AbsencesTests {
    private let start = ContinuousClock.now
    private func at(_ milliseconds: Int) -> ContinuousClock.Instant { start + .milliseconds(milliseconds) }

    @Test func whatStaysAwayIsGone() {
        var absences = Absences<String>(patience: .seconds(1))
        #expect(absences.recent(among: [], generation: "a", at: at(0)).isEmpty)
        #expect(absences.nextDue(at: at(0)) == nil)
        #expect(absences.recent(among: ["web"], generation: "b", at: at(5000)) == ["web"])
        #expect(absences.nextDue(at: at(5000)) == at(6000))
        #expect(absences.recent(among: ["web"], generation: "b", at: at(5999)) == ["web"])
        #expect(absences.recent(among: ["web"], generation: "b", at: at(6000)).isEmpty)
        #expect(absences.nextDue(at: at(6000)) == nil)
    }

    @Test func whatComesBackStartsAnew() {
        var absences = Absences<String>(patience: .seconds(1))
        _ = absences.recent(among: ["web"], generation: "a", at: at(0))
        _ = absences.recent(among: [], generation: "b", at: at(900))
        #expect(absences.recent(among: ["web"], generation: "a", at: at(1000)) == ["web"])
        #expect(absences.nextDue(at: at(1000)) == at(2000))
    }

    @Test func whileSomethingChangesNothingIsGoneButNotForEver() {
        var absences = Absences<String>(patience: .seconds(1))
        for time in stride(from: 0, through: 30_500, by: 500) {
            #expect(absences.recent(among: ["web"], generation: "\(time)", at: at(time)) == ["web"], "\(time)")
        }
        #expect(absences.recent(among: ["web"], generation: "last", at: at(31_000)).isEmpty)
    }

    @Test func withoutPatienceEverythingIsBelieved() {
        var absences = Absences<String>(patience: .zero)
        #expect(absences.recent(among: ["web"], generation: "a", at: at(0)).isEmpty)
        #expect(absences.nextDue(at: at(0)) == nil)
    }
}
