internal import VZManifest

/// (e): manifests of 50 lines, parsed and validated on one core; processor time, the best of three.
struct ManifestBenchmark {
    private static let aim = 120.0

    func run(count largest: Int, into table: inout Table) throws {
        table.heading("(e) manifests of 50 lines: processor time of one core for each")
        for count in [largest / 4, largest / 2, largest] {
            let files = (0..<count).map { Array(Self.manifest($0).utf8) }
            let runs = try (0..<3).map { _ in try measure(files) }
            let parse = (runs.map(\.parse).min() ?? 0) * 1e6 / Double(count)
            let all = (runs.map(\.all).min() ?? 0) * 1e6 / Double(count)
            table.row(
                "\(count) manifests: parse; parse, compose and validate", ["\(parse.fixed(1)) µs", "\(all.fixed(1)) µs"],
                aim: "under \(Int(Self.aim)) µs", met: all < Self.aim)
        }
    }

    private func measure(_ files: [[UInt8]]) throws -> (parse: Double, all: Double) {
        let start = Clock.ownCPU()
        let parsed = files.enumerated().map { ManifestParser.parse($1, file: "/etc/vz.d/c\($0).yaml") }
        let parse = Clock.ownCPU() - start
        let set = ManifestSet(parsed)
        let all = Clock.ownCPU() - start
        guard set.documents.count == files.count else {
            let mistake = set.diagnostics.first.map(\.description) ?? ""
            throw Broken("expected \(files.count) valid manifests, got \(set.documents.count): \(mistake)")
        }
        return (parse, all)
    }

    /// A manifest of 50 lines with a value for most fields, like no other in the set.
    private static func manifest(_ number: Int) -> String {
        """
        # Container \(number)
        apiVersion: vz/v1
        kind: Container
        metadata:
          name: c\(number)
          labels: {tier: front, rack: r\(number % 40)}
        spec:
          ctid: \(101 + number)
          state: running
          description: Front end \(number)
          template: debian-12
          init: [/sbin/init]
          env: {TERM: linux}
          hostname: c\(number).example.org
          nameserver: [10.0.0.2]
          searchdomain: [example.org]
          onboot: true
          bootorder: \(number % 100)
          cpuunits: \(1000 + number % 1000)
          cpulimit: 150
          cpus: 2
          cpumask: 0-3,5
          ioprio: 4
          iolimit: 10M
          iopslimit: 500
          diskspace: "2G:2200M"
          diskinodes: "131072:144179"
          beancounters:
            kmemsize: "14372700:14790164"
            lockedpages: 256
            privvmpages: "65536:69632"
            shmpages: 21504
            numproc: 240
            vmguarpages: "33792:unlimited"
            oomguarpages: "26112:unlimited"
            numtcpsock: 360
            numflock: "188:206"
            numpty: 16
            numsiginfo: 256
            tcpsndbuf: {barrier: 1720320, limit: 2703360}
            othersockbuf: "1126080:2097152"
            dcachesize: "3409920:3624960"
            numfile: 9312
          network:
            venet: [10.\(number / 65536).\(number / 256 % 256).\(number % 256), "2001:db8::\(number % 10000)"]
            veth: [{name: eth0, bridge: vmbr0, address: [192.168.1.5/24]}]
          netfilter: stateless
          features: [tun, fuse]
          lifecycle:
            disruption: live
        """ + "\n"
    }
}
