// Parses and validates manifests of 50 lines each on one core, and tells the processor time for each.
//
//     swift run -c release --package-path Tests/bench-manifest manifest-bench [COUNT]
//
// Exit status 1 when one takes more than 120 µs, or when twice as many take much more than twice the time.

internal import VZManifest

/// A manifest of 50 lines with a value for most fields, like no other in the set.
func manifest(_ number: Int) -> String {
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

func measure(_ files: [[UInt8]]) -> (parse: Double, all: Double) {
    let start = processorTime()
    let parsed = files.enumerated().map { ManifestParser.parse($1, file: "/etc/vz.d/c\($0).yaml") }
    let parse = processorTime() - start
    let set = ManifestSet(parsed)
    let all = processorTime() - start
    guard set.documents.count == files.count else {
        print(
            "manifest-bench: expected \(files.count) valid manifests, got \(set.documents.count): \(set.diagnostics.first.map(\.description) ?? "")"
        )
        fail()
    }
    return (parse, all)
}

func text(_ number: Double) -> String { "\(Double(Int(number * 10)) / 10)" }

let largest = CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 10_000
var each: [Double] = []
for count in [largest / 4, largest / 2, largest] where count > 0 {
    let files = (0..<count).map { Array(manifest($0).utf8) }
    let lines = files[0].count { $0 == 10 }
    // The best of three: what the machine does besides only ever adds.
    let runs = (0..<3).map { _ in measure(files) }
    let parse = (runs.map(\.parse).min() ?? 0) / Double(count)
    let all = (runs.map(\.all).min() ?? 0) / Double(count)
    each.append(all)
    print("\(count) manifests of \(lines) lines: \(text(parse)) µs each to parse, \(text(all)) µs each to parse and validate")
}
if let most = each.max(), let least = each.min(), most > 120 || most > 1.5 * least {
    print("manifest-bench: expected at most 120 µs each and linear time, got \(text(least))…\(text(most)) µs")
    fail()
}
