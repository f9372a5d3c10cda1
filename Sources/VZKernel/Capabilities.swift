internal import CCap
internal import Glibc

/// A set of Linux capabilities (capabilities(7)), named and applied by libcap.
public final class Capabilities: @unchecked Sendable {  // never changed after init; libcap locks its own state
    let raw: cap_t
    public let names: [String]

    /// The set that a process gets as permitted and effective; nothing is inheritable.
    /// - Parameter names: in lower case, without `cap_`.
    /// - Throws: `KernelError` for a name that libcap does not know.
    public init(_ names: [String]) throws(KernelError) {
        guard let set = cap_init() else { throw KernelError("make capability set", errno: errno) }
        self.raw = set
        self.names = names.sorted()
        for name in names {
            var value: cap_value_t = 0
            guard cap_from_name("cap_" + name, &value) == 0 else {
                throw KernelError("find capability \"\(name)\"", detail: "libcap knows no such name")
            }
            // One that this kernel does not have cannot be given.
            guard value < cap_max_bits() else { continue }
            guard cap_set_flag(set, CAP_PERMITTED, 1, &value, CAP_SET) == 0,
                cap_set_flag(set, CAP_EFFECTIVE, 1, &value, CAP_SET) == 0
            else { throw KernelError("add capability \"\(name)\"", errno: errno) }
        }
    }

    deinit { cap_free(UnsafeMutableRawPointer(raw)) }
}
