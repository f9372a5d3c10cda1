internal import Glibc

extension Descriptor {
    /// The names in this directory, without `.` and `..`, in no order; names that are not UTF-8 are left out.
    /// - Throws: `KernelError` of openat(2) and readdir(3): never half a list.
    public func names() throws(KernelError) -> [String] {
        // The stream moves the offset of, and closes, what it is given.
        let copy = openat(raw, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard copy >= 0 else { throw KernelError("list a directory", errno: errno) }
        guard let stream = fdopendir(copy) else {
            let error = errno
            close(copy)
            throw KernelError("list a directory", errno: error)
        }
        defer { closedir(stream) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else { break }
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(validatingCString: $0) }
            }
            if let name, name != ".", name != ".." { names.append(name) }
        }
        guard errno == 0 else { throw KernelError("list a directory", errno: errno) }
        return names
    }
}
