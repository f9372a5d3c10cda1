internal import VZModel

/// Puts a container together: built-in < defaults < profile < document < drop-ins.
enum Composition {
    /// - Parameters:
    ///   - declaration: a container. One with a mistake of its own comes to nothing but more mistakes.
    ///   - bases: the specs that it starts from, lowest first.
    ///   - isWhole: whether nothing that it asks for is missing from `bases`.
    ///   - asksRules: whether the consistency rules are asked.
    static func compose(_ declaration: Declaration, over bases: [Layer], isWhole: Bool = true, asksRules: Bool = true)
        -> ComposedDocument
    {
        var layer = declaration.layer
        if !bases.isEmpty {
            layer = bases.reduce(into: Layer()) { $0.merge($1) }
            layer.merge(declaration.layer)
        }
        let draft = layer.draft
        var result = ComposedDocument(diagnostics: mistakes(in: layer, draft, at: declaration.location, isWhole: isWhole))
        // What a mistake hides would look as if it were left out.
        if isWhole, asksRules, !declaration.isFaulty {
            for finding in ConsistencyRules.check(draft.spec) {
                result.diagnostics.append(
                    Diagnostic(
                        location: layer.places[finding.field] ?? declaration.location, field: finding.field,
                        message: finding.message, severity: finding.severity, rule: finding.rule))
            }
        }
        if !declaration.isFaulty, !result.diagnostics.contains(where: { $0.severity == .error }) {
            result.document = ManifestDocument(
                spec: draft.spec, location: declaration.location, labels: draft.labels, profile: draft.profile,
                fieldLocations: layer.places)
        }
        return result
    }

    /// What is wrong among the fields of one layer, or of several put together.
    /// - Parameter isWhole: whether a field that is missing can come from nowhere else.
    static func mistakes(in layer: Layer, _ draft: Draft, at location: SourceLocation, isWhole: Bool) -> [Diagnostic] {
        var found: [Diagnostic] = []
        func refuse(_ field: String, _ message: String) {
            found.append(Diagnostic(location: layer.places[field] ?? location, field: field, message: message))
        }
        func isGiven(_ field: String) -> Bool { layer.places[field] != nil }

        if isWhole, isGiven("spec.swap"), !isGiven("spec.ram") {
            refuse("spec.swap", "swap is only limited beside ram; expected spec.ram to be given too")
        }
        if isWhole, draft.spec.nodemask != .all, !isGiven("spec.cpumask") {
            refuse("spec.nodemask", "nodes are only chosen beside CPUs; expected spec.cpumask to be given too")
        }
        for (beancounter, field) in [("physpages", "ram"), ("swappages", "swap")]
        where isGiven("spec.ram") && isGiven("spec.beancounters.\(beancounter)") {
            let ram = layer.places["spec.ram"] ?? location
            let isNear = ram.file == (layer.places["spec.beancounters.\(beancounter)"] ?? location).file
            refuse(
                "spec.beancounters.\(beancounter)",
                "says once more what spec.\(field) says beside spec.ram at \(isNear ? "\(ram.line):\(ram.column)" : "\(ram)"); "
                    + "expected one of the two")
        }
        for capability in draft.spec.capabilities.add where draft.spec.capabilities.drop.contains(capability) {
            refuse("spec.capabilities.drop", "\(capability) is also added; expected it in one of the two lists")
        }
        for (index, mount) in draft.spec.mounts.enumerated() where mount.options.contains("ro") && mount.options.contains("rw") {
            refuse("spec.mounts", "mount \(index + 1) has both ro and rw; expected one of the two")
        }
        for pointer in draft.spec.lifecycle.ignoreDrift where !isField(pointer) {
            let fields = FieldTable.all.compactMap {
                $0.path.hasPrefix("spec.") ? "/" + $0.path.dropFirst(5).replacing(".", with: "/") : nil
            }
            let near = NearestName.of(pointer, among: fields).map { "; did you mean \($0)?" } ?? ""
            refuse("spec.lifecycle.ignore_drift", "there is no field \(Quoting.shown(pointer)) below spec\(near)")
        }
        // A drop-in that gives one of two bounds needs the other below it.
        for (path, value) in layer.values where isWhole {
            guard case .bounds(let rule) = FieldTable.byPath[path]?.type else { continue }
            switch value {
            case .lowerBound: refuse(path, "expected \(rule.lower) and \(rule.upper), got no \(rule.upper)")
            case .upperBound: refuse(path, "expected \(rule.lower) and \(rule.upper), got no \(rule.lower)")
            default: break
            }
        }
        return found
    }

    /// Whether a JSON pointer leads to a field below `spec`, or to an entry of one that has any.
    private static func isField(_ pointer: String) -> Bool {
        let parts = pointer.split(separator: "/")
        var path = "spec"
        for (index, part) in parts.enumerated() {
            path += ".\(part)"
            guard let field = FieldTable.byPath[path] else { return false }
            switch field.type {
            case .group: continue
            case .map, .records, .texts, .list, .inherited, .bounds: return index >= parts.count - 2
            default: return index == parts.count - 1
            }
        }
        return true
    }
}
