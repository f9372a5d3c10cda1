import Testing
import VZModel

@testable import VZManifest

@Suite struct SizeTests {
    @Test(
        arguments: [
            ("0", 0), ("1", 1), ("1B", 1), ("4096", 4096), ("1K", 1024), ("1k", 1024), ("1.5K", 1536), ("64M", 67_108_864),
            ("64m", 67_108_864), ("0.25G", 268_435_456), ("1.5G", 1_610_612_736), ("2T", 2_199_023_255_552), ("1P", 4096),
            ("131072p", 536_870_912), ("0.5P", 2048), ("0.1K", 103), ("0.0001K", 1), ("0.0K", 0),
            ("1.0000000000000000000000000001K", 1025), ("1.00000000000000000000000000K", 1024),
            ("8388607T", 8_388_607 << 40), ("9223372036854771712", 9_223_372_036_854_771_712), ("00064M", 67_108_864),
        ] as [(String, Int64)])
    func reads(text: String, bytes: Int64) throws {
        #expect(try Size.parse(text) == bytes)
    }

    @Test(arguments: [
        "", "M", "B", ".", ".5M", "5.M", "1.2.3M", "1.5", "1.5B", "-1", "+1", "1 M", " 1", "1MB", "1Mi", "0x10", "1e3", "١",
    ])
    func refuses(text: String) {
        #expect(throws: Size.Problem.noSize) { try Size.parse(text) }
    }

    @Test(arguments: [
        "8388608T", "9223372036854771713", "9223372036854775807", "9223372036854775808", "99999999999999999999999999",
        "99999999999999999999999999T", "2251799813685248P", "8388607.99999999999999999999T",
    ])
    func refusesWhatIsTooLarge(text: String) {
        #expect(throws: Size.Problem.tooLarge) { try Size.parse(text) }
    }

    @Test(
        arguments: [(0, 0), (1, 4096), (4096, 4096), (4097, 8192), (Size.largest, Size.largest), (Int64.max, Size.largest)]
            as [(Int64, Int64)])
    func roundsUpToPages(bytes: Int64, rounded: Int64) {
        #expect(Size.roundedToPages(bytes) == rounded)
    }

    @Test(
        arguments: [
            (0, "0"), (1, "1"), (1000, "1000"), (4096, "4K"), (67_108_864, "64M"), (1_610_612_736, "1536M"), (1 << 40, "1T"),
            (Size.largest, "9007199254740988K"),
        ] as [(Int64, String)])
    func writes(bytes: Int64, text: String) throws {
        #expect(Size.text(bytes) == text)
        #expect(try Size.parse(text) == bytes)
    }
}

@Suite struct CoreScalarTests {
    @Test(
        arguments: [
            ("0", 0), ("1000", 1000), ("-5", -5), ("+5", 5), ("-0", 0), ("0x1F", 31), ("0xff", 255), ("0o17", 15), ("0x0", 0),
            ("9223372036854775807", .max), ("9223372036854775808", .max), ("99999999999999999999999", .max),
            ("-99999999999999999999999", -Int64.max), ("0xFFFFFFFFFFFFFFFFFFFF", .max),
        ] as [(String, Int64)])
    func integers(text: String, number: Int64) {
        #expect(CoreScalar.resolvePlain(text) == .integer(number))
    }

    @Test(arguments: ["010", "00", "-01", "+007", "0123456789"])
    func leadingZeros(text: String) {
        #expect(CoreScalar.resolvePlain(text) == .leadingZero)
    }

    @Test(arguments: ["1.5", ".5", "5.", "1e3", "1.5E-10", "-1.5", "+.5", ".inf", "-.INF", ".nan", "01.5", "1e+3"])
    func floats(text: String) {
        #expect(CoreScalar.resolvePlain(text) == .float)
    }

    @Test(arguments: [("true", CoreScalar.bool(true)), ("False", .bool(false)), ("~", .null), ("Null", .null), ("", .null)])
    func words(text: String, value: CoreScalar) {
        #expect(CoreScalar.resolvePlain(text) == value)
    }

    @Test(arguments: [
        "yes", "no", "on", "off", "y", "tRue", "nULL", "1_000", "12:30:45", "190:20", "0b11", "0x", "0xG", "0o8", "-0x1", "+0o7",
        ".", "-", "+", "-.nan", "1e", "1e+", "e3", "..5", "1.2.3", "--1", ".e3", "64M",
    ])
    func strings(text: String) {
        #expect(CoreScalar.resolvePlain(text) == .string(text))
        #expect(CoreScalar(text, plain: true, tag: nil) == .string(text))
    }

    @Test func quotationMarksAndTagsDecide() {
        let prefix = "tag:yaml.org,2002:"
        #expect(CoreScalar("5", plain: false, tag: nil) == .string("5"))
        #expect(CoreScalar("5", plain: true, tag: "!") == .string("5"))
        #expect(CoreScalar("5", plain: true, tag: prefix + "str") == .string("5"))
        #expect(CoreScalar("5", plain: false, tag: prefix + "int") == .integer(5))
        #expect(CoreScalar("5", plain: true, tag: prefix + "float") == .float)
        #expect(CoreScalar("x", plain: true, tag: prefix + "int") == .badTag(prefix + "int"))
        #expect(CoreScalar("5", plain: true, tag: "!x") == .badTag("!x"))
        #expect(CoreScalar("5", plain: true, tag: prefix + "timestamp") == .badTag(prefix + "timestamp"))
    }
}

@Suite struct NearestNameTests {
    private let names = ["cpuunits", "cpulimit", "ioprio", "ram", "swap", "state", "hostname"]

    @Test(arguments: [
        ("cpuunit", "cpuunits"), ("cpu_units", "cpuunits"), ("CPULIMIT", "cpulimit"), ("cpulimits", "cpulimit"),
        ("ioproi", "ioprio"),
        ("rma", "ram"), ("sawp", "swap"), ("hostName", "hostname"), ("host_name", "hostname"), ("status", "state"),
    ])
    func finds(name: String, near: String) {
        #expect(NearestName.of(name, among: names) == near)
    }

    @Test(arguments: ["", "x", "memory", "description", "é", String(repeating: "a", count: 100_000)])
    func findsNothing(name: String) {
        #expect(NearestName.of(name, among: names) == nil)
    }
}
