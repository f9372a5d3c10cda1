internal import VZKernel

/// By what a node is known again: a number in its state directory, so that it is the same after a reboot and on another machine that
/// took the directory over.
extension Node {
    private struct Identity: Codable {
        var id: String
    }

    /// 32 hexadecimal digits; `nil` on a node that was only looked at yet.
    public var id: String? { recall(Identity.self, "id")?.id }

    /// Gives the node its id, unless it has one, or may have one that cannot be read.
    func ensureID() throws {
        guard try !hasID() else { return }
        let lock = try lockRecords()
        defer { withExtendedLifetime(lock) {} }
        // Somebody else may have done so meanwhile.
        guard try !hasID() else { return }
        let parts = (0..<2).map { _ in
            let digits = String(UInt64.random(in: .min ... .max), radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }
        try host.write(Identity(id: parts.joined()), "id")
    }

    private func hasID() throws(StoreError) -> Bool {
        do throws(StoreError) {
            return try host.read(Identity.self, "id") != nil
        } catch {
            guard error.code == .corrupt else { throw error }
            note(error.message)
            return false
        }
    }
}
