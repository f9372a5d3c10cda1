/// Why a record of the host's store could not be read or written.
public struct StoreError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What kind of fault it is; more may come.
    public struct Code: Equatable, Sendable {
        private let name: String
        /// The record's bytes are not what was written. It was moved aside, unless the store was opened for looking only.
        public static let corrupt = Code(name: "corrupt")
        /// The record is sound, but written in a form that this version does not know. It was left alone.
        public static let unsupported = Code(name: "unsupported")
        /// The name is none of a record.
        public static let name = Code(name: "name")
        /// The store was opened for looking only.
        public static let readOnly = Code(name: "readOnly")
        /// A file or directory is not private to us: a link, another owner, or open to others.
        public static let unsafe = Code(name: "unsafe")
        /// The kernel refused.
        public static let system = Code(name: "system")
    }

    public var code: Code
    /// Verb first, then the file, then what was expected, and what to do.
    public var message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }
}
