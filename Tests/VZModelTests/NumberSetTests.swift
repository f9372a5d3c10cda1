import Testing
import VZModel

@Suite struct NumberSetTests {
    @Test(arguments: [
        ("all", "all"), ("0", "0"), ("0,1,2", "0-2"), ("5,0-2,3", "0-3,5"), ("0-3,2-4,9", "0-4,9"), ("4095", "4095"), ("7-7", "7"),
    ])
    func isReadAndWrittenInOneForm(text: String, canonical: String) {
        #expect(NumberSet(text: text)?.text == canonical)
        #expect(NumberSet(text: canonical) == NumberSet(text: text))
    }

    @Test(arguments: [
        "", ",", "-", "1-", "-1", "3-1", "1--2", "1-2-3", "01", "4096", "99999", " 1", "1 ", "1,,2", "auto", "ALL", "+1", "१",
    ])
    func isNone(text: String) { #expect(NumberSet(text: text) == nil) }

    @Test(arguments: [
        ("0", "0-1", true), ("0-1", "0-1", true), ("0,2", "0-3", true), ("0,2", "0-1,3", false), ("1-4", "0-3,5", false),
        ("0", "all", true), ("all", "all", true), ("all", "0-4095", false), ("2-3,5", "2-5", true), ("4", "0-3,5", false),
    ])
    func isPartOfAnother(part: String, whole: String, isPart: Bool) throws {
        #expect(try #require(NumberSet(text: part)).isSubset(of: #require(NumberSet(text: whole))) == isPart)
    }
}
