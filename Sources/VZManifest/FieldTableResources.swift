internal import VZModel

// The fields, continued: memory and the beancounters, the network, and what the container may do inside.
extension FieldTable {
    static let memory: [Field] = [
        .size(
            "spec.ram", \.spec.ram, minimum: 1,
            .init(
                unit: "bytes, rounded up to pages of 4096", openVZ: "PHYSPAGES", disruption: .live,
                summary: "The most RAM the container uses; the limit of physpages. Left out, there is no limit.")),
        .size(
            "spec.swap", \.spec.swap, minimum: 0,
            .init(
                unit: "bytes, rounded up to pages of 4096", openVZ: "SWAPPAGES", disruption: .live,
                summary: "The most swap the container uses beside ram; the limit of swappages. Left out beside ram, it is 0.")),
        .decimal(
            "spec.vm_overcommit", \.spec.vmOvercommit, 0...1000,
            .init(
                openVZ: "VM_OVERCOMMIT", disruption: .live,
                summary: "Beside ram: privvmpages is ram and swap together times this. 0, or left out, is no limit.")),
    ]

    static let beancounters: [Field] =
        [
            .group(
                "spec.beancounters",
                .init(
                    summary:
                        "OpenVZ's user beancounters. One that is left out is unlimited, or follows from ram and swap where they are given."
                )
            )
        ]
        + [
            .beancounter(
                .kmemsize, "bytes",
                "The kernel's own memory for the container; beyond the barrier only what must not fail may grow, up to the limit."),
            .beancounter(.lockedpages, "pages of 4096 bytes", "Memory that is locked against being swapped out."),
            .beancounter(
                .privvmpages, "pages of 4096 bytes",
                "Address space that may come to need RAM; beyond the barrier only stacks may grow, up to the limit."),
            .beancounter(.shmpages, "pages of 4096 bytes", "Shared memory, tmpfs included; the barrier equals the limit."),
            .beancounter(
                .numproc, "processes and threads",
                "The most processes and threads; the barrier equals the limit. Left out, there is no limit."),
            .beancounter(
                .physpages, "pages of 4096 bytes",
                "RAM in use; the barrier is 0. Its limit is what ram says, so that the two are never given together."),
            .beancounter(
                .vmguarpages, "pages of 4096 bytes",
                "The address space that is always granted, as the barrier; the limit is unlimited."),
            .beancounter(
                .oomguarpages, "pages of 4096 bytes",
                "The memory up to which the container is spared when the host runs out, as the barrier; the limit is unlimited."),
            .beancounter(.numtcpsock, "sockets", "TCP sockets; the barrier equals the limit."),
            .beancounter(
                .numflock, "locks", "File locks; the gap between barrier and limit is for splitting a lock while unlocking."),
            .beancounter(.numpty, "terminals", "Pseudo-terminals; the barrier equals the limit."),
            .beancounter(.numsiginfo, "signals", "Queued signals; the barrier equals the limit."),
            .beancounter(
                .tcpsndbuf, "bytes", "Send buffers of TCP sockets; the gap is what every socket gets however many there are."),
            .beancounter(
                .tcprcvbuf, "bytes", "Receive buffers of TCP sockets; the gap is what every socket gets however many there are."),
            .beancounter(.othersockbuf, "bytes", "Send buffers of all other sockets, Unix domain and UDP among them."),
            .beancounter(.dgramrcvbuf, "bytes", "Receive buffers of UDP and other datagram sockets."),
            .beancounter(.numothersock, "sockets", "All sockets but TCP's; the barrier equals the limit."),
            .beancounter(.dcachesize, "bytes", "Names and inodes of files that are held in memory."),
            .beancounter(.numfile, "files", "Open files; the barrier equals the limit."),
            .beancounter(.numiptent, "entries", "Entries of the packet filter; the barrier equals the limit."),
            .beancounter(
                .swappages, "pages of 4096 bytes",
                "Swap in use; the barrier is 0. Its limit is what swap says, so that the two are never given together."),
        ]

    static let network: [Field] = [
        .group("spec.network", .init(summary: "The network interfaces of the container, beside lo.")),
        .texts(
            "spec.network.venet", \.spec.network.venet, .addressWithOrWithoutPrefix,
            .init(
                openVZ: "IP_ADDRESS", disruption: .live,
                summary:
                    "Addresses of venet0, the routed interface without a MAC address: the container can use these and no others.")),
        .records(
            "spec.network.veth", \.spec.network.veth, element: \.interface,
            .init(openVZ: "NETIF", disruption: .live, summary: "Ethernet interfaces, each one end of a pair.")),
        .text(
            "spec.network.veth[].name", \.interface.name, .interfaceName,
            .init(required: true, summary: "The interface's name inside.")),
        .text(
            "spec.network.veth[].bridge", \.interface.bridge, .hostInterfaceName,
            .init(summary: "The bridge of the host that the other end is joined to. Left out, it is joined to none.")),
        .text(
            "spec.network.veth[].mac", \.interface.mac, .mac,
            .init(summary: "The interface's address. Left out, it is derived from the ctid and the name.")),
        .text(
            "spec.network.veth[].host_ifname", \.interface.hostName, .hostInterfaceName,
            .init(summary: "The other end's name on the host. Left out, it is derived from the ctid.")),
        .text(
            "spec.network.veth[].host_mac", \.interface.hostMAC, .mac,
            .init(summary: "The other end's address. Left out, it is derived from the ctid and the name.")),
        .bool(
            "spec.network.veth[].mac_filter", \.interface.macFilter,
            .init(summary: "Whether frames with another source address than mac are dropped.")),
        .texts(
            "spec.network.veth[].address", \.interface.address, .addressWithPrefix,
            .init(summary: "Addresses of the interface. Left out, they are the container's own affair.")),
    ]

    static let inside: [Field] = [
        .word(
            "spec.netfilter", \.spec.netfilter,
            .init(
                openVZ: "NETFILTER", disruption: .restart,
                summary:
                    "What of the packet filter may be used inside: nothing, rules without, with connection tracking, or all of it.")
        ),
        .group("spec.capabilities", .init(summary: "Capabilities of the container beside the default set.")),
        .texts(
            "spec.capabilities.add", \.spec.capabilities.add, .capability,
            .init(
                openVZ: "CAPABILITY", disruption: .restart, summary: "Capabilities that the container has beyond the default set.")),
        .texts(
            "spec.capabilities.drop", \.spec.capabilities.drop, .capability,
            .init(openVZ: "CAPABILITY", disruption: .restart, summary: "Capabilities of the default set that the container lacks.")),
        .texts(
            "spec.devices", \.spec.devices, .device,
            .init(
                openVZ: "DEVICES", disruption: .live,
                summary: "Devices of the host that may be used inside, and how: r reads, w writes, q manages disk quotas.")),
        .texts(
            "spec.features", \.spec.features, .feature,
            .init(
                openVZ: "FEATURES", disruption: .restart,
                summary:
                    "What the container may use beyond the usual. lxcfs, changed live, has it see its own numbers in /proc/meminfo, "
                    + "cpuinfo, stat, loadavg, uptime, swaps and diskstats; it is on where the host has it, unless lxcfs:off is listed."
            )),
        .records(
            "spec.mounts", \.spec.mounts, element: \.mount,
            .init(openVZ: "BINDMOUNT", disruption: .restart, summary: "Directories of the host that are seen inside.")),
        .text(
            "spec.mounts[].source", \.mount.source, .directory,
            .init(required: true, summary: "The directory of the host.")),
        .text(
            "spec.mounts[].target", \.mount.target, .directory,
            .init(required: true, summary: "Where it is seen inside.")),
        .texts(
            "spec.mounts[].options", \.mount.options, .mountOption,
            .init(summary: "How it is mounted.")),
    ]

    static let lifecycle: [Field] = [
        .group("spec.lifecycle", .init(summary: "What convergence may do to the container.")),
        .word(
            "spec.lifecycle.deletion", \.spec.lifecycle.deletion,
            .init(
                summary:
                    "What removing the manifest does: stop and keep the data, stop and move the data to the trash, or nothing at all."
            )),
        .word(
            "spec.lifecycle.disruption", \.spec.lifecycle.disruption,
            .init(summary: "The strongest disturbance that convergence may cause by itself.")),
        .texts(
            "spec.lifecycle.ignore_drift", \.spec.lifecycle.ignoreDrift, .pointer,
            .init(summary: "JSON pointers to the fields below spec that another actor changes; what it sets is left alone.")),
        .bool(
            "spec.lifecycle.hold", \.spec.lifecycle.hold,
            .init(summary: "Whether nothing at all is done to the container.")),
    ]
}
