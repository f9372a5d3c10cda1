import Testing
import VZManifest
import VZModel
import VZReconciler

@Suite struct AcceptanceTests {
    private func id(_ number: Int) throws -> ContainerID { try #require(ContainerID(number)) }

    private func document(_ name: String, _ ctid: ContainerID? = nil, in file: String = "a.yaml", cpuunits: Int = 1000)
        -> ManifestDocument
    {
        ManifestDocument(
            spec: ContainerSpec(name: name, ctid: ctid, cpuunits: cpuunits),
            location: SourceLocation(file: file, line: 1, column: 1))
    }

    private func record(_ name: String, _ number: Int, from file: String = "a.yaml", base: UInt32 = 0x7000_0000) throws
        -> ContainerRecord
    {
        ContainerRecord(
            ctid: try id(number), name: name, idBase: base, accepted: ContainerSpec(name: name, ctid: try id(number)),
            source: SourceLocation(file: file, line: 1, column: 1))
    }

    private func accept(
        _ documents: [ManifestDocument], faulty: [String: String] = [:], rejected: Set<String> = [],
        files: Set<String> = ["a.yaml"],
        removal: Acceptance.Removal = .certain, records: [ContainerRecord] = [], present: [Acceptance.Present] = [],
        acknowledged: Bool = false, brake: String? = nil
    ) -> Acceptance {
        var input = Acceptance.Input(
            documents: documents, faulty: faulty,
            rejected: Dictionary(rejected.map { ($0, "a mistake in \($0)") }) { first, _ in first }, files: files,
            removal: { _ in removal })
        (input.isAcknowledged, input.brake) = (acknowledged, brake)
        return Acceptance(of: input, on: .init(records: records, present: present))
    }

    @Test func aNewManifestGetsTheLowestFreeNumberAndIDs() throws {
        let accepted = accept([document("b"), document("a"), document("c", try id(101))])
        #expect(accepted.entries.map(\.record.name) == ["c", "a", "b"])
        #expect(accepted.entries.map(\.record.ctid.number) == [101, 102, 103])
        #expect(accepted.entries.map(\.record.idBase) == [0x7000_0000, 0x7001_0000, 0x7002_0000])
        #expect(accepted.toRemember.count == 3)
    }

    @Test func aSecondLookRemembersNothingNew() throws {
        let documents = [document("a"), document("b")]
        let records = accept(documents).toRemember
        #expect(accept(documents, records: records).toRemember.isEmpty)
    }

    @Test func anAllocatedNumberStaysWithItsName() throws {
        let accepted = accept([document("a"), document("b")], records: [try record("b", 101)])
        #expect(accepted.entries.map(\.record.name) == ["b", "a"])
    }

    @Test func theSameNumberInAnotherFileUnderAnotherNameIsAMove() throws {
        let accepted = accept([document("new", try id(101), in: "b.yaml")], files: ["b.yaml"], records: [try record("old", 101)])
        #expect(accepted.entries.count == 1)
        #expect(accepted.entries[0].record.name == "new")
        #expect(!accepted.entries[0].record.retired)
        #expect(accepted.entries[0].record.idBase == 0x7000_0000)
    }

    @Test func aBrokenFileLeavesTheLastAcceptedInForce() throws {
        let accepted = accept([], faulty: ["a.yaml": "a.yaml:3:4: broken"], records: [try record("web", 101)])
        #expect(accepted.entries[0].lastKnownGood == "a.yaml:3:4: broken")
        #expect(!accepted.entries[0].record.retired)
        #expect(accepted.toRemember.isEmpty)
    }

    @Test func aFaultInOneDocumentKeepsThatOneAndTakesTheOther() throws {
        let accepted = accept(
            [document("b", try id(102), cpuunits: 5000)], faulty: ["a.yaml": "broken"], rejected: ["web"],
            records: [try record("web", 101), try record("b", 102, base: 0x7001_0000)])
        #expect(accepted.entries.map(\.record.retired) == [false, false])
        #expect(accepted.entries[1].record.accepted.cpuunits == 5000)
    }

    @Test func aDocumentTakenOutOfAGoodFileIsRemoved() throws {
        // The file is good and there, the document is not: it was removed for certain.
        let accepted = accept(
            [document("b", try id(102))], records: [try record("web", 101), try record("b", 102, base: 0x7001_0000)])
        #expect(accepted.entries.map(\.record.retired) == [true, false])
    }

    @Test func aFileThatWasRemovedForCertainRetires() throws {
        let accepted = accept([], files: [], records: [try record("web", 101)])
        #expect(accepted.entries[0].record.retired)
        #expect(accepted.toRemember.count == 1)
    }

    @Test func anUnreadableDirectoryRemovesNothing() throws {
        let accepted = accept([], files: [], removal: .unknown("unmounted"), records: [try record("web", 101)])
        #expect(!accepted.entries[0].record.retired)
        #expect(accepted.entries[0].lastKnownGood == "a.yaml is gone, which counts for nothing while this is so: unmounted")
    }

    @Test func anEmptiedDirectoryRemovesNothingUnlessThatIsMeant() throws {
        let records = [try record("web", 101), try record("db", 102, from: "b.yaml", base: 0x7001_0000)]
        for count in 1...2 {
            let known = Array(records.prefix(count))
            let kept = accept([], files: [], removal: .emptied, records: known)
            #expect(kept.entries.allSatisfy { !$0.record.retired && $0.lastKnownGood == nil })
            #expect(kept.entries.allSatisfy { $0.pruneHeld?.contains("vzctl ack") == true })
            let meant = accept([], files: [], removal: .emptied, records: known, acknowledged: true)
            #expect(meant.entries.allSatisfy { $0.record.retired && $0.pruneHeld == nil })
            #expect(meant.removed.count == count)
        }
        let unknown = accept([], files: [], removal: .unknown("unmounted"), records: records, acknowledged: true)
        #expect(unknown.removed.isEmpty, "what cannot be read is never believed")
    }

    @Test func aBrakeHoldsEveryRemovalAndNothingElse() throws {
        let records = [try record("web", 101), try record("db", 102, from: "b.yaml", base: 0x7001_0000)]
        let held = accept([document("web", try id(101), cpuunits: 5000)], records: records, brake: "too many")
        #expect(held.entries.map(\.pruneHeld) == [nil, "too many: vzctl ack "])
        #expect(held.entries[0].record.accepted.cpuunits == 5000)
        #expect(held.removed.isEmpty)
        #expect(held.known == 2)
    }

    @Test func aRemovalOfThisMomentIsNotBelieved() throws {
        let records = [try record("web", 101)]
        var input = Acceptance.Input(documents: [], files: ["b.yaml"], removal: { _ in .certain })
        #expect(Acceptance(of: input, on: .init(records: records)).removed == [try id(101)])
        input.recent = [try id(101)]
        let waiting = Acceptance(of: input, on: .init(records: records))
        #expect(waiting.removed.isEmpty && !waiting.entries[0].record.retired)
        #expect(waiting.entries[0].pruneHeld == "its manifest is gone from a.yaml; waiting for it to stay away")
        input.isAcknowledged = true
        #expect(Acceptance(of: input, on: .init(records: records)).removed == [try id(101)])
    }

    @Test func aFileWithAMistakeThatNobodyIsKnownFromMayHoldWhatIsMissing() throws {
        let records = [try record("web", 101), try record("db", 102, from: "b.yaml", base: 0x7001_0000)]
        var input = Acceptance.Input(
            documents: [], faulty: ["new.yaml": "new.yaml:1:1: a mistake"], files: ["new.yaml"], removal: { _ in .certain })
        #expect(Acceptance(of: input, on: .init(records: records)).removed.count == 2, "it is somebody else's")
        input.nameless = ["new.yaml"]
        let held = Acceptance(of: input, on: .init(records: records))
        #expect(held.removed.isEmpty)
        #expect(held.entries.allSatisfy { $0.pruneHeld?.contains("may be in new.yaml, which has a mistake") == true })
        // What has a mistake now and held a container before is no stranger.
        (input.nameless, input.faulty, input.files) = (["a.yaml"], ["a.yaml": "a.yaml:1:1: a mistake"], ["a.yaml"])
        #expect(Acceptance(of: input, on: .init(records: records)).removed == [try id(102)])
    }

    @Test(arguments: [(0, 3), (3, 3), (15, 3), (19, 3), (20, 4), (1000, 200)])
    func moreThanThreeAndAFifthIsMany(_ known: Int, _ limit: Int) { #expect(Acceptance.limit(of: known) == limit) }

    @Test func whatIsLeftRunningDoesNotCountAsRemoved() throws {
        var record = try record("web", 101)
        record.accepted.lifecycle.deletion = .ignore
        let accepted = accept([], files: [], records: [record])
        #expect(accepted.entries[0].record.retired && accepted.removed.isEmpty)
    }

    @Test func returningEqualsNeverRemoved() throws {
        var retired = try record("web", 101)
        retired.retired = true
        let accepted = accept([document("web", try id(101))], records: [retired])
        #expect(accepted.entries[0].record == (try record("web", 101)))
    }

    @Test func aRetiredNameDoesNotStandInTheWay() throws {
        var retired = try record("web", 101)
        retired.retired = true
        let accepted = accept([document("web")], records: [retired, try record("web", 102, base: 0x7001_0000)])
        #expect(accepted.entries.map(\.record.retired) == [true, false])
    }

    @Test func aRunningContainerWhoseRecordWasLostKeepsItsNumberAndIDs() throws {
        let running = Acceptance.Present(ctid: try id(155), name: "web", idBase: 0x7005_0000)
        let accepted = accept([document("web")], present: [running])
        #expect(accepted.entries[0].record.ctid.number == 155)
        #expect(accepted.entries[0].record.idBase == 0x7005_0000)
    }

    @Test func aNumberInUseByAnUnknownContainerIsNotGivenAway() throws {
        let running = Acceptance.Present(ctid: try id(101), name: "db", idBase: 0x7000_0000)
        let accepted = accept([document("web")], present: [running])
        #expect(accepted.entries[0].record.ctid.number == 102)
        #expect(accepted.entries[0].record.idBase == 0x7001_0000)
    }

    @Test func aRootWhoseRecordWasLostIsFoundByItsName() throws {
        let roots = [
            Acceptance.Present(ctid: try id(101), name: "db", idBase: nil),
            Acceptance.Present(ctid: try id(102), name: "web", idBase: nil),
        ]
        let accepted = accept([document("web"), document("db")], present: roots)
        #expect(accepted.entries.map(\.record.name) == ["db", "web"])
        #expect(accepted.problems == [])
    }

    /// It may be the one that the manifest means, and would be started twice.
    @Test func nothingIsMadeUpWhileOneRunsThatNobodyKnows() throws {
        let stranger = Acceptance.Present(ctid: try id(101), name: nil, idBase: 0x7000_0000)
        let accepted = accept([document("web"), document("db", try id(102))], present: [stranger])
        #expect(accepted.entries.map(\.record.name) == ["db"])
        #expect(accepted.problems.count == 1 && accepted.problems[0].contains("name the CTID in spec.ctid"), "\(accepted.problems)")
    }

    @Test func oneOfTwoRootsOfTheSameNameIsNotChosen() throws {
        let roots = try [101, 102].map { Acceptance.Present(ctid: try id($0), name: "web", idBase: nil) }
        #expect(accept([document("web")], present: roots).problems.count == 1)
        #expect(accept([document("web", try id(102))], present: roots).entries.map(\.record.ctid.number) == [102])
        let running = Acceptance.Present(ctid: try id(103), name: "web", idBase: 0x7000_0000)
        #expect(accept([document("web")], present: roots + [running]).entries.map(\.record.ctid.number) == [103])
    }

    @Test func aRecordThatCannotBeReadIsNeitherReplacedNorTakenForMissing() throws {
        var input = Acceptance.Input(
            documents: [document("web", try id(101)), document("new"), document("db")], files: ["a.yaml"],
            removal: { _ in .certain })
        input.generation = "g"
        let running = Acceptance.Present(ctid: try id(102), name: "db", idBase: 0x7003_0000)
        let node = Acceptance.Node(records: [], present: [running], unreadable: [try id(101): "EIO", try id(102): "EIO"])
        let accepted = Acceptance(of: input, on: node)
        #expect(accepted.entries.map(\.record.name) == ["web", "db"])
        #expect(accepted.entries.map(\.unreadable) == ["EIO", "EIO"])
        #expect(accepted.entries[1].record.idBase == 0x7003_0000)
        #expect(accepted.toRemember == [])
        #expect(accepted.problems.count == 1 && accepted.problems[0].contains("new is new"), "\(accepted.problems)")
    }

    @Test func aThousandManifestsTakeMillisecondsNotSeconds() throws {
        let documents = (0..<1000).map { document("c\($0)", in: "\($0).yaml") }
        let files = Set(documents.map(\.location.file))
        let records = accept(documents, files: files).toRemember
        let start = ContinuousClock.now
        #expect(accept(documents, files: files, records: records).toRemember.isEmpty)
        #expect(ContinuousClock.now - start < .seconds(2), "linear work; a debug build takes some 30 ms")
    }
}
