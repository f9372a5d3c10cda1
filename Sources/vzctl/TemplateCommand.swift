internal import ArgumentParser
internal import VZIsolation
internal import VZReconciler

/// `vzctl template`: what roots are made from.
struct TemplateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "template", abstract: "OS templates: what the roots of containers are made from.",
        subcommands: [ListTemplates.self, CreateTemplate.self, RemoveTemplate.self])

    static func store() throws -> TemplateStore {
        _ = try NodeAccess(changing: false)
        return TemplateStore(directory: NodePaths(environment: Node.environment).templates)
    }
}

struct ListTemplates: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List the templates of this node.")

    func run() throws {
        try report {
            let rows = try TemplateCommand.store().list().map { [$0.name, $0.isArchive ? "archive" : "directory", $0.path] }
            print(table([["NAME", "KIND", "PATH"]] + rows))
        }
    }
}

struct CreateTemplate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Make a template from a directory, from an archive, or from Debian's busybox-static.")

    @Argument(help: "Name of the template.")
    var name: String

    @Option(help: "A directory, or an archive (.tar, .tar.gz, .tar.xz, .tar.zst).", completion: .file())
    var from: String?

    @Flag(help: "Make a tiny one from busybox-static.")
    var busybox = false

    func validate() throws {
        guard (from != nil) != busybox else { throw ValidationError("give either --from PATH or --busybox") }
        guard TemplateStore.isName(name) else {
            throw ValidationError(
                "a template's name has letters, digits, dots, dashes and underscores, and begins with one of the first two; got \"\(name)\""
            )
        }
    }

    func run() throws {
        try report {
            let store = try TemplateCommand.store()
            if let from { try store.create(name, from: from) } else { try store.createBusybox(name) }
            say("template \(name) made in \(store.directory)")
            // Containers may have been waiting for it.
            Node.pokeDaemon(of: NodePaths(environment: Node.environment))
        }
    }
}

struct RemoveTemplate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove", abstract: "Remove a template; roots that were made from it stay.")

    @Argument(help: "Name of the template.")
    var name: String

    func run() throws {
        try report {
            let store = try TemplateCommand.store()
            guard try store.find(name) != nil else { throw Failure("no template \"\(name)\" in \(store.directory)", .noTemplate) }
            try store.remove(name)
        }
    }
}
