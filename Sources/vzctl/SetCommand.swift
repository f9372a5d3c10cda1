internal import ArgumentParser
internal import VZKernel
internal import VZManifest
internal import VZModel
internal import VZPlan
internal import VZReconciler

/// `vzctl set`: fields of a container otherwise than its manifest says.
struct SetCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set",
        abstract: "Set fields of a container, in a drop-in of its manifest or, with --for, for some time.",
        usage: "vzctl set NAME [--FIELD VALUE]... [--unset FIELD]... [--for TIME] [--reason TEXT]",
        discussion: """
            Fields are spelled as in a manifest or as OpenVZ's options: --cpuunits 2000 --ram 1G --numproc 100:110 --stop-timeout 30s. \
            Without --for they are written to FILE.d/90-local.yaml beside the manifest. With --for 2h they are kept on this node, with \
            who said so and why, and taken back when the time is over. --unset FIELD takes either back. OpenVZ's --save is the default.
            Exit codes: 0; 64 usage; 65 not valid; 68 no such container; 75 held or on trial.
            """)

    @Argument(parsing: .captureForPassthrough, help: "Name or CTID, then the fields.")
    var words: [String]

    func run() throws {
        if words.first == "--help" || words.first == "-h" { throw CleanExit.helpRequest(self) }
        try report {
            let asked = try parse()
            let access = try NodeAccess(changing: true)
            let target = try access.free(asked.name)
            let assignments = try asked.fields.map { path, value in
                do throws(FieldAssignment.Refusal) {
                    return try FieldAssignment.assign(value, to: path, of: target.record.name)
                } catch { throw Failure("--\(path): \(error.message)", .invalidData) }
            }
            if let time = asked.time {
                let now = Timestamp.now
                try access.node.set(assignments, of: target) {
                    Overrides.Word($0, owner: owner(), reason: asked.reason, since: now, until: now + time.seconds)
                }
                say("CT \(target.record.ctid): set until \(Timestamp.text(now + time.seconds))")
            } else {
                let taken = try access.node.unset(asked.unset, of: target.record.ctid)
                do {
                    let path = try access.node.save(assignments, unsetting: asked.unset, of: target)
                    say("CT \(target.record.ctid): written to \(path)" + (taken.isEmpty ? "" : "; taken back: \(taken)"))
                } catch let refusal as FieldAssignment.Refusal { throw Failure(refusal.message, .invalidData) }
            }
            try settle(access, asked.name)
        }
    }

    /// Brings it into effect now when there is no daemon to do it.
    private func settle(_ access: NodeAccess, _ name: String) throws {
        if access.node.pokeDaemon() { return }
        let target = try access.target(name, remembering: true)
        if let hold = target.desired.hold { throw Failure("CT \(target.record.ctid) \(name): \(hold)", .temporary) }
        if let why = target.lastKnownGood { throw Failure("\(why): the last accepted manifest of \(name) stays in force") }
        try access.node.converge(target, in: access.books).0.requireDone()
    }

    private struct Asked {
        var name = ""
        var fields: [(path: String, value: String)] = []
        var unset: [String] = []
        var time: TimeSpan?
        var reason = ""
    }

    private func parse() throws -> Asked {
        var asked = Asked()
        var rest = words[...]
        func value(of option: String) throws -> String {
            guard let value = rest.popFirst() else { throw Failure("\(option): expected a value", .usage) }
            return value
        }
        while let word = rest.popFirst() {
            guard word.hasPrefix("--") else {
                guard asked.name.isEmpty else { throw Failure("expected --FIELD VALUE, got \"\(word)\"", .usage) }
                asked.name = word
                continue
            }
            // --cpuunits=2000 as well.
            let parts = word.dropFirst(2).split(separator: "=", maxSplits: 1).map(String.init)
            let option = parts.first ?? ""
            if parts.count == 2 { rest = [parts[1]] + rest }
            switch option {
            case "save": continue
            case "reason": asked.reason = try value(of: word)
            case "for":
                let text = try value(of: word)
                guard let time = TimeSpan(argument: text) else {
                    throw Failure("--for: expected 90s, 15m, 2h or 7d, got \"\(text)\"", .usage)
                }
                asked.time = time
            case "unset": asked.unset.append(try path(try value(of: word)))
            default: asked.fields.append((try path(option), try value(of: word)))
            }
        }
        guard !asked.name.isEmpty else { throw Failure("expected the name or CTID of a container", .usage) }
        guard !asked.fields.isEmpty || !asked.unset.isEmpty else { throw Failure("expected --FIELD VALUE", .usage) }
        guard asked.unset.isEmpty || asked.time == nil else {
            throw Failure("--unset takes back what was set; expected no --for", .usage)
        }
        return asked
    }

    private func path(_ option: String) throws -> String {
        guard let path = FieldAssignment.path(of: option) else {
            let near = FieldTable.suggestion(for: option).map { "; did you mean \($0)?" } ?? ""
            throw Failure("there is no field \"\(option)\"\(near)", .usage)
        }
        if path == "state" { throw Failure("state: use vzctl start and stop", .usage) }
        if path == "ctid" { throw Failure("ctid: a container has the one that it has", .usage) }
        return path
    }
}
