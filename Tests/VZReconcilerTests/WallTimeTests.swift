import Testing

@testable import VZReconciler

@Suite struct WallTimeTests {
    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"), (1, "1970-01-01T00:00:00.001Z"), (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"), (1_772_366_400_250, "2026-03-01T12:00:00.250Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"), (-62_135_596_800_000, "0001-01-01T00:00:00.000Z"),
        ] as [(Int64, String)])
    func textAndBack(_ milliseconds: Int64, _ text: String) {
        #expect(WallTime(milliseconds: milliseconds).description == text)
        #expect(WallTime(text)?.milliseconds == milliseconds)
    }

    @Test(arguments: [
        "", "2026-03-01", "2026-03-01T12:00:00Z", "2026-03-01T12:00:00.25Z", "2026-03-01T12:00:00.250+00:00",
        "2026-02-30T00:00:00.000Z",
        "2026-03-01T24:00:00.000Z", "2026-03-01t12:00:00.250z", "2026-03-01T12:00:60.000Z", "+026-03-01T12:00:00.250Z",
        "2026-03-01T12:00:00.250Z ",
    ])
    func othersAreRefused(_ text: String) { #expect(WallTime(text) == nil) }

    @Test func now() {
        let before = WallTime.now
        #expect(before <= .now && before > WallTime(milliseconds: 1_700_000_000_000))
        #expect(WallTime(before.description) == before)
        #expect((before + .milliseconds(1500)) - before == .milliseconds(1500))
    }
}
