internal import Glibc

/// Goes through a group and the groups nested in it.
///
/// A container may have made those itself: names may be any bytes, depth and number any at all. Therefore the walk keeps two
/// directories open however deep it is, and no path of it is ever joined for the kernel.
enum ControlGroupWalk {
    /// Calls `visit` for each group, a nested one before the one it lies in, the top last. Groups that vanish meanwhile are passed
    /// over.
    ///
    /// `visit` gets the group's directory, that of the group above, and the names from the top's own down to the group's.
    static func bottomUp(
        _ top: String, in hierarchy: ControlGroupTree.Hierarchy,
        visit: (_ group: Descriptor, _ above: Descriptor, _ names: [[CChar]]) throws(KernelError) -> Void
    ) throws(KernelError) {
        guard var current = try hierarchy.openGroup(top) else { return }
        var names = [Array((top.split(separator: "/").last.map(String.init) ?? top).utf8CString)]
        var pending = [try children(of: current)]
        while let last = pending.indices.last {
            if let name = pending[last].popLast() {
                guard let child = try open(name, at: current) else { continue }
                names.append(name)
                pending.append(try children(of: child))
                current = child
            } else {
                let above = try Descriptor.open("..", O_RDONLY | O_DIRECTORY, at: current)
                try visit(current, above, names)
                names.removeLast()
                pending.removeLast()
                current = above
            }
        }
    }

    /// The names of the groups right in one, as the kernel keeps them: any bytes, ending with a zero.
    static func children(of group: Descriptor) throws(KernelError) -> [[CChar]] {
        // A cgroup directory has two links and one more for each group in it: most have none, and then it needs no reading.
        var status = stat()
        if fstat(group.raw, &status) == 0, status.st_nlink == 2 { return [] }
        let raw = openat(group.raw, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard raw >= 0, let stream = fdopendir(raw) else {
            let number = errno
            if raw >= 0 { close(raw) }
            if number == ENOENT || number == ENODEV { return [] }
            throw KernelError("list groups", errno: number)
        }
        defer { closedir(stream) }
        var names: [[CChar]] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else { break }
            guard Int(entry.pointee.d_type) == Int(DT_DIR) else { continue }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                bytes.prefix { $0 != 0 }.map { CChar(bitPattern: $0) } + [0]
            }
            if name != [46, 0] && name != [46, 46, 0] { names.append(name) }
        }
        guard errno == 0 || errno == ENOENT || errno == ENODEV else { throw KernelError("list groups", errno: errno) }
        return names
    }

    /// A name for messages: what is no UTF-8 in it is replaced.
    static func text(of name: [CChar]) -> String {
        String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// The nested group's directory; `nil` when it is gone. A symbolic link is never followed.
    private static func open(_ name: [CChar], at directory: Descriptor) throws(KernelError) -> Descriptor? {
        while true {
            let raw = openat(directory.raw, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            if raw >= 0 { return Descriptor(adopting: raw) }
            switch errno {
            case EINTR: continue
            case ENOENT, ENODEV: return nil
            default: throw KernelError("open cgroup \(text(of: name))", errno: errno)
            }
        }
    }
}
