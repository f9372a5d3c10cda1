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
}
