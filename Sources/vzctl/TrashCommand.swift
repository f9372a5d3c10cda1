internal import ArgumentParser
internal import VZIsolation
internal import VZKernel
internal import VZModel
internal import VZReconciler

/// `vzctl trash`: the roots of containers whose manifests are gone.
struct TrashCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trash",
        abstract: "Look at, restore and empty the trash, where roots are kept for 7 days.",
        subcommands: [Show.self, Restore.self, Empty.self], defaultSubcommand: Show.self)

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(commandName: "list", abstract: "List what is in the trash.")

        func run() throws {
            try report {
                let items = try Trash(paths: NodeAccess(changing: false).node.paths).items()
                let rows = items.map {
                    ["\($0.ctid)", $0.name, Timestamp.text($0.time), Timestamp.text($0.time + Trash.retention), $0.file]
                }
                print(table([["CTID", "NAME", "SINCE", "UNTIL", "ITEM"]] + rows))
            }
        }
    }

    struct Restore: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Put a root back; a manifest with the container's CTID starts from it again.",
            discussion: "Exit codes: 0; 1 there is another root by now; 68 no such item.")

        @Argument(help: "As trash list shows it; or a name or CTID, for its latest.")
        var item: String

        func run() throws {
            try report {
                let node = try NodeAccess(changing: true).node
                let found = try TrashCommand.find(item, in: node)
                if let damage = try node.restore(found) { say("vzctl: \(damage)") }
                say("CT \(found.ctid) \(found.name): its root is back; put its manifest back to start it")
            }
        }
    }

    struct Empty: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Destroy what is in the trash.", discussion: "Exit codes: 0; 64 without --yes; 68 no such item.")

        @Argument(help: "One item as trash list shows it; everything when left out.")
        var item: String?

        @Flag(help: "It is meant: what is destroyed cannot be had back.")
        var yes = false

        func run() throws {
            try report {
                guard yes else { throw Failure("this destroys data for good: give --yes", .usage) }
                let node = try NodeAccess(changing: true).node
                let items = try item.map { [try TrashCommand.find($0, in: node)] } ?? Trash(paths: node.paths).items()
                for item in items { try Trash(paths: node.paths).destroy(item) }
                say("\(items.count) destroyed")
            }
        }
    }

    private static func find(_ name: String, in node: Node) throws -> Trash.Item {
        let items = try Trash(paths: node.paths).items()
        if let item = items.last(where: { $0.file == name || $0.name == name || "\($0.ctid)" == name }) { return item }
        throw Failure("\"\(name)\" is not in the trash; there are \(items.map(\.file))", .unknownContainer)
    }
}
