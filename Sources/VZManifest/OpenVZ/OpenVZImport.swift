/// OpenVZ's configurations as manifests: `CTID.conf`, `vz.conf` and the `*.conf-sample` of OpenVZ legacy and Virtuozzo 7.
///
/// Lines and numbers are read as OpenVZ's own tools read them (`openvz.md` 6.2 and 6.3). One wrong value does not spoil the file:
/// the rest is taken over, and every line that is not, or not as it stands there, is told with its reason.
///
/// Different from OpenVZ's tools, on purpose:
/// - A negative number is refused. They read it as unlimited, the opposite of what a small number means.
/// - An empty value, `a:` and `:b` are refused. They read what is missing as 0, which refuses everything.
/// - `VM_OVERCOMMIT` below 0 is refused: a negative factor means nothing.
/// - `IOLIMIT` above 2147483647 is kept. They cut it there for want of bits.
/// - `ONBOOT=auto` is read, as Virtuozzo 7 does: started when it ran at the last shutdown, which is what leaving it out means.
/// - A wrong name in `CAPABILITY` leaves the others in force. They drop what follows it.
/// - `DEVNODES` need not exist. They look at the host that reads the file, which is not the one that it was written on.
/// - A missing MAC address stays missing, and so do the names and addresses of the other ends. They make up a new MAC address
///   whenever they read the file.
/// - `NAMESERVER`, `SEARCHDOMAIN` and `HOSTNAME` are checked. They write any text into the container's files.
/// - Of `PHYSPAGES` and `SWAPPAGES` only the limit is taken: the barrier has no meaning (`openvz.md` 3.1).
/// - What leaving a key out means is not written: `CPULIMIT=0`, a beancounter without bounds, a device with the mode `none`.
public enum OpenVZImport {
    /// What the file does not say.
    public struct Options: Sendable {
        /// The bytes and the path of the node's `vz.conf`, whose values hold where the container's file has none.
        public var global: (bytes: [UInt8], file: String)?
        /// How many CPUs the node had, for `CPULIMIT="25%"`, which is of all of them.
        public var hostCPUs: Int?

        public init(global: (bytes: [UInt8], file: String)? = nil, hostCPUs: Int? = nil) {
            self.global = global
            self.hostCPUs = hostCPUs
        }
    }

    /// Reads a configuration. No input makes it fail otherwise, or take longer than a moment.
    /// - Parameter bytes: at most 1 MiB.
    /// - Parameter file: its path, whose last part tells what it is (`101.conf`, `vz.conf`, `ve-basic.conf-sample`); it is not
    ///   opened.
    public static func parse(_ bytes: [UInt8], file: String, options: Options = Options()) -> ImportResult {
        let lexer = ConfLexer(bytes, file: file)
        var importer = ConfImporter(file: file, options: options)
        importer.diagnostics += lexer.mistakes
        importer.read(lexer.assignments)
        if let global = options.global, importer.kind == .container {
            importer.readGlobal(ConfLexer(global.bytes, file: global.file, isOwn: false))
        }
        return importer.result()
    }
}
