internal import Glibc
internal import VZIsolation
internal import VZReconciler

/// Measures one node, named by VZ_CONFIG_DIR and so on, and prints a table; what is left of the node in the kernel and on the
/// disk is for the caller to take away. See `run`.
@main
struct Main {
    static func main() {
        do {
            let arguments = Array(CommandLine.arguments.dropFirst())
            guard let part = arguments.first else {
                throw Broken(
                    "usage: vz-bench start | vz-bench daemon VZD | vz-bench manifests | vz-bench cpu | vz-bench io | vz-bench memory "
                        + "| vz-bench clean")
            }
            let paths = NodePaths(environment: Node.environment)
            guard paths.controlGroup != NodePaths.standard.controlGroup, paths.state != NodePaths.standard.state else {
                throw Broken("expected VZ_CGROUP and the other directories of a node of its own")
            }
            var table = Table()
            switch part {
            case "start": try StartBenchmark(paths: paths).run(count: 50, into: &table)
            case "io": try IOBenchmark(paths: paths).run(into: &table)
            case "daemon" where arguments.count == 2:
                try DaemonBenchmark(paths: paths, program: arguments[1]).run(edits: 100, looks: 20, into: &table)
            case "cpu": try CPUBenchmark(paths: paths).run(count: 5, seconds: 4, into: &table)
            case "manifests": try ManifestBenchmark().run(count: 10_000, into: &table)
            case "memory": try MemoryBenchmark(paths: paths).run(into: &table)
            // Swap areas are the host's: those that a killed one left.
            case "clean": return try VSwap(controlGroup: paths.controlGroup).removeAll()
            default:
                throw Broken(
                    "expected start, manifests, cpu, io, memory, clean, or daemon and the path of vzd; got "
                        + arguments.joined(separator: " "))
            }
            print(table.text)
        } catch {
            print("vz-bench: \(error)")
            exit(1)
        }
    }
}
