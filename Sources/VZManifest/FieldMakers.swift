internal import VZModel

// One function for each kind of place that a value is put into.
extension Field {
    typealias Path<Value> = any WritableKeyPath<Draft, Value> & Sendable

    /// A mapping that other entries of the table stand in.
    static func group(_ path: String, _ about: About) -> Field {
        Field(path, .group, about, put: { _, _ in }, get: { _ in nil })
    }

    /// A word that is always the same.
    static func constant(_ path: String, _ word: String, _ about: About) -> Field {
        Field(path, .word([word]), about, put: { _, _ in }, get: { _ in .text(word) })
    }

    static func word<Value: RawRepresentable<String> & CaseIterable & SendableMetatype>(
        _ path: String, _ place: Path<Value>, _ about: About
    ) -> Field {
        Field(path, .word(Value.allCases.map(\.rawValue)), about) { draft, value in
            if case .text(let text) = value, let word = Value(rawValue: text) { draft[keyPath: place] = word }
        } get: { draft in
            .text(draft[keyPath: place].rawValue)
        }
    }

    static func bool(_ path: String, _ place: Path<Bool>, _ about: About) -> Field {
        Field(path, .bool, about) { draft, value in
            if case .bool(let bool) = value { draft[keyPath: place] = bool }
        } get: { draft in
            .bool(draft[keyPath: place])
        }
    }

    static func bool(_ path: String, _ place: Path<Bool?>, _ about: About) -> Field {
        Field(path, .bool, about) { draft, value in
            if case .bool(let bool) = value { draft[keyPath: place] = bool }
        } get: { draft in
            draft[keyPath: place].map { .bool($0) }
        }
    }

    static func integer(_ path: String, _ place: Path<Int>, _ range: ClosedRange<Int>, _ about: About) -> Field {
        Field(path, .integer(range), about) { draft, value in
            if case .integer(let number) = value { draft[keyPath: place] = number }
        } get: { draft in
            .integer(draft[keyPath: place])
        }
    }

    static func integer(_ path: String, _ place: Path<Int?>, _ range: ClosedRange<Int>, _ about: About) -> Field {
        Field(path, .integer(range), about) { draft, value in
            if case .integer(let number) = value { draft[keyPath: place] = number }
        } get: { draft in
            draft[keyPath: place].map { .integer($0) }
        }
    }

    static func decimal(_ path: String, _ place: Path<Double?>, _ range: ClosedRange<Double>, _ about: About) -> Field {
        Field(path, .decimal(range), about) { draft, value in
            if case .decimal(let number) = value { draft[keyPath: place] = number }
        } get: { draft in
            draft[keyPath: place].map { .decimal($0) }
        }
    }

    static func ctid(_ path: String, _ place: Path<ContainerID?>, _ about: About) -> Field {
        Field(path, .integer(ContainerID.range), about) { draft, value in
            if case .integer(let number) = value { draft[keyPath: place] = ContainerID(number) }
        } get: { draft in
            draft[keyPath: place].map { .integer($0.number) }
        }
    }

    static func text(_ path: String, _ place: Path<String>, _ rule: TextRule, _ about: About) -> Field {
        Field(path, .text(rule), about) { draft, value in
            if case .text(let text) = value { draft[keyPath: place] = text }
        } get: { draft in
            .text(draft[keyPath: place])
        }
    }

    static func text(_ path: String, _ place: Path<String?>, _ rule: TextRule, _ about: About) -> Field {
        Field(path, .text(rule), about) { draft, value in
            if case .text(let text) = value { draft[keyPath: place] = text }
        } get: { draft in
            draft[keyPath: place].map { .text($0) }
        }
    }

    /// Numbers of CPUs or of NUMA nodes.
    static func numbers(_ path: String, _ place: Path<NumberSet>, _ about: About) -> Field {
        Field(path, .text(.numbers), about) { draft, value in
            if case .text(let text) = value, let set = NumberSet(text: text) { draft[keyPath: place] = set }
        } get: { draft in
            .text(draft[keyPath: place].text)
        }
    }

    static func texts(_ path: String, _ place: Path<[String]>, _ rule: TextRule, isSet: Bool = true, _ about: About) -> Field {
        Field(path, .texts(rule, isSet: isSet), about) { draft, value in
            if case .list(let list) = value { draft[keyPath: place] = list }
        } get: { draft in
            .list(draft[keyPath: place])
        }
    }

    /// A list that is never empty; its first element may have a rule of its own.
    static func list(
        _ path: String, _ place: Path<[String]>, first: TextRule, rest: TextRule, _ about: About
    ) -> Field {
        Field(path, .list(first: first, rest: rest), about) { draft, value in
            if case .list(let list) = value { draft[keyPath: place] = list }
        } get: { draft in
            .list(draft[keyPath: place])
        }
    }

    static func resolver(_ path: String, _ place: Path<ResolverList?>, _ rule: TextRule, _ about: About) -> Field {
        Field(path, .inherited(rule), about) { draft, value in
            if case .list(let list) = value { draft[keyPath: place] = .list(list) }
            if case .text = value { draft[keyPath: place] = .inherit }
        } get: { draft in
            switch draft[keyPath: place] {
            case .inherit: .text("inherit")
            case .list(let list): .list(list)
            case nil: nil
            }
        }
    }

    static func map(
        _ path: String, _ place: Path<[String: String]>, names: TextRule, values: TextRule, _ about: About
    ) -> Field {
        Field(path, .map(names: names, values: values), about) { draft, value in
            if case .map(let map) = value { draft[keyPath: place] = map }
        } get: { draft in
            .map(draft[keyPath: place])
        }
    }

    /// A list of mappings, whose fields are put into `element`, one mapping after the other.
    static func records<Element: Sendable>(
        _ path: String, _ place: Path<[Element]>, element: Path<Element>, _ about: About
    ) -> Field {
        Field(path, .records, about) { draft, value in
            guard case .records(let records) = value else { return }
            let fields = FieldTable.children["\(path)[]"] ?? []
            draft[keyPath: place] = records.map { record in
                var inner = Draft()
                for field in fields {
                    if let value = record[field.name] { field.put(&inner, value) }
                }
                return inner[keyPath: element]
            }
        } get: { draft in
            let fields = FieldTable.children["\(path)[]"] ?? []
            let defaults = Draft()
            return .records(
                draft[keyPath: place].map { one in
                    var inner = Draft()
                    inner[keyPath: element] = one
                    var record: [String: FieldValue] = [:]
                    for field in fields {
                        guard let value = field.get(inner), field.required || value != field.get(defaults) else { continue }
                        record[field.name] = value
                    }
                    return record
                })
        }
    }

    /// Bytes of memory, rounded up to pages.
    static func size(_ path: String, _ place: Path<Int64?>, minimum: Int64, _ about: About) -> Field {
        Field(path, .size(minimum: minimum, inPages: true), about) { draft, value in
            if case .size(let bytes) = value { draft[keyPath: place] = bytes }
        } get: { draft in
            draft[keyPath: place].map { .size($0) }
        }
    }

    /// Bytes a second.
    static func rate(_ path: String, _ place: Path<Int64>, _ about: About) -> Field {
        Field(path, .size(minimum: 0, inPages: false), about) { draft, value in
            if case .size(let bytes) = value { draft[keyPath: place] = bytes }
        } get: { draft in
            .size(draft[keyPath: place])
        }
    }

    static func duration(_ path: String, _ place: Path<Int>, _ about: About) -> Field {
        Field(path, .duration(0...31_536_000), about) { draft, value in
            if case .duration(let seconds) = value { draft[keyPath: place] = seconds }
        } get: { draft in
            .duration(draft[keyPath: place])
        }
    }

    /// The soft and the hard limit of a disk quota.
    static func quota(_ path: String, _ place: Path<BarrierLimit?>, _ unit: Beancounter.Unit, _ about: About) -> Field {
        let rule = BoundsRule(unit: unit, shape: nil, lower: "soft", upper: "hard", isUnlimitedKnown: false)
        return Field(path, .bounds(rule), about) { draft, value in
            if case .bounds(let bounds) = value { draft[keyPath: place] = bounds }
        } get: { draft in
            draft[keyPath: place].map { .bounds($0) }
        }
    }

    /// One of OpenVZ's user beancounters. Its default is to be left out.
    static func beancounter(_ beancounter: Beancounter, _ unit: String, _ summary: String) -> Field {
        let rule = BoundsRule(unit: beancounter.unit, shape: beancounter.shape)
        let about = About(unit: unit, openVZ: beancounter.rawValue.uppercased(), disruption: .live, summary: summary)
        return Field("spec.beancounters.\(beancounter.rawValue)", .bounds(rule), about) { draft, value in
            if case .bounds(let bounds) = value { draft.spec.beancounters[beancounter] = bounds }
        } get: { draft in
            draft.spec.beancounters[beancounter].map { .bounds($0) }
        }
    }
}
