internal import VZModel

/// What one document sets, field by field: a profile, a container, or a drop-in to one.
struct Layer: Sendable {
    /// By path of the field, without groups.
    var values: [String: FieldValue] = [:]
    /// Where each value stands, by path of the field; and each entry of a mapping of names to strings, and each group.
    var places: [String: SourceLocation] = [:]
    /// What it takes away from the layers below, before it sets anything.
    var deletions: [Deletion] = []

    enum Deletion: Hashable, Sendable {
        /// A field, or a group with all that is in it.
        case field(String)
        /// An entry of a mapping of names to strings.
        case entry(field: String, name: String)
    }

    /// Puts `upper` over this layer: mappings are merged deeply, lists are replaced, what `upper` deletes goes (RFC 7386).
    mutating func merge(_ upper: Layer) {
        for deletion in upper.deletions { delete(deletion) }
        for (path, value) in upper.values {
            switch (values[path], value) {
            case (.map(let below), .map(let above)): values[path] = .map(below.merging(above) { _, new in new })
            case (.bounds(let below), .lowerBound(let barrier)):
                values[path] = .bounds(BarrierLimit(barrier: barrier, limit: below.limit))
            case (.bounds(let below), .upperBound(let limit)):
                values[path] = .bounds(BarrierLimit(barrier: below.barrier, limit: limit))
            case (.upperBound(let limit), .lowerBound(let barrier)), (.lowerBound(let barrier), .upperBound(let limit)):
                values[path] = .bounds(BarrierLimit(barrier: barrier, limit: limit))
            default: values[path] = value
            }
        }
        places.merge(upper.places) { _, new in new }
        // They hold for every layer that this one is put over as well.
        deletions += upper.deletions
    }

    private mutating func delete(_ deletion: Deletion) {
        switch deletion {
        case .field(let path):
            values[path] = nil
            places[path] = nil
            let prefix = path + "."
            for key in values.keys where key.hasPrefix(prefix) { values[key] = nil }
            for key in places.keys where key.hasPrefix(prefix) { places[key] = nil }
        case .entry(let field, let name):
            guard case .map(var map) = values[field] else { return }
            map[name] = nil
            values[field] = .map(map)
            places["\(field).\(name)"] = nil
        }
    }

    /// The part that a container takes over from a profile or from the defaults.
    var spec: Layer {
        Layer(
            values: values.filter { $0.key.hasPrefix("spec.") }, places: places.filter { $0.key.hasPrefix("spec.") },
            deletions: deletions)
    }

    /// All values in their places in a spec.
    var draft: Draft {
        var draft = Draft()
        for (path, value) in values { FieldTable.byPath[path]?.put(&draft, value) }
        return draft
    }
}
