internal import VZKernel

/// The models of the node's disks for io.cost, one a line: `vda: rbps=… rseqiops=… rrandiops=… wbps=… wseqiops=… wrandiops=…`.
///
/// A disk that is not in it is measured once, when the first container asks for a share of it, and put there; from then on the file
/// is the administrator's.
struct IOCostFile {
    let path: String

    /// The model of a disk; `nil` when there is none yet.
    /// - Throws: `KernelError` when there is a line for it that cannot be understood: it is not measured over somebody's word.
    func model(of disk: BlockDevice) throws(KernelError) -> IOCostModel? {
        guard let line = try lines().last(where: { $0.hasPrefix("\(disk.name):") }) else { return nil }
        guard let model = IOCostModel(text: line.dropFirst(disk.name.count + 1)) else {
            throw KernelError(
                "read the model of \(disk.name) in \(path)",
                detail: "expected rbps=… rseqiops=… rrandiops=… wbps=… wseqiops=… wrandiops=…, each 1 or more, got \"\(line)\"; "
                    + "mend the line, or remove it and the disk is measured"
            ).waitingForInput
        }
        return model
    }

    func add(_ model: IOCostModel, of disk: BlockDevice) throws(KernelError) {
        let text = (try lines() + ["\(disk.name): \(model)"]).joined(separator: "\n") + "\n"
        try KernelFile.replace(path, with: Array(text.utf8))
    }

    private func lines() throws(KernelError) -> [String] {
        do throws(KernelError) {
            return try KernelFile.read(path).split(separator: "\n").map(String.init)
        } catch {
            if KernelFile.isMissing(error) { return [] }
            throw error
        }
    }
}
