// The keys that a manifest has no place for, and why (`openvz.md` 6.4 and 6.5).
extension ConfImporter {
    static let unmapped: [String: String] = Dictionary(
        reasons.flatMap { keys, reason in keys.split(separator: " ").map { (String($0), reason) } }
    ) { first, _ in first }

    private static let reasons: [(keys: String, reason: String)] = [
        ("VE_ROOT VE_PRIVATE", "vz keeps the roots of containers at a place of its own; move or copy the data there"),
        ("TEMPLATE", "vz keeps templates at a place of its own"),
        ("DEF_OSTEMPLATE", "write spec.template in a document of kind: Defaults instead"),
        ("ORIGIN_SAMPLE CONFIGFILE", "it only tells where the values came from, and they stand in this file"),
        ("MOUNT_OPTS", "the options that an image is mounted with cannot be chosen"),
        ("MEMINFO", "what /proc/meminfo shows inside follows from ram and swap"),
        ("CPUUWEIGHT CPUWEIGHT", "a raw weight depends on the kernel's scheduler; write spec.cpuunits"),
        ("CPULIMIT_MHZ", "a limit in MHz depends on the host; write spec.cpulimit in percent of one CPU"),
        ("BURST_CPU_AVG_USAGE BURST_CPULIMIT", "bursts above the CPU limit cannot be had"),
        ("NETDEV", "interfaces of the host cannot be moved into a container"),
        ("PCI", "PCI devices of the host cannot be moved into a container"),
        ("VETH", "OpenVZ ignores it too: NETIF took its place"),
        ("IPTABLES", "NETFILTER took its place: choose spec.netfilter by hand, full being all of them"),
        ("IPV6", "IPv6 is always there"),
        ("LOCAL_UID LOCAL_GID", "vz chooses the range of user ids of each container by itself"),
        ("TEMPLATES", "packages of templates are not installed by vz"),
        ("DISK ROOT_DISK", "a container has one disk, that of spec.layout and spec.diskspace"),
        (
            "TOTVMPAGES IPCSHMPAGES ANONSHPAGES RSSPAGES OOMGUAR NUMSOCK UNIXSOCKBUF SOCKRCVBUF NUMUNIXSOCK",
            "an old name, the unit of which is not known for sure: write it under its present name of beancounters"
        ),
        ("JOURNALED_QUOTA", "the quota of users and groups inside is chosen by quotaugidlimit alone"),
        ("DISTRIBUTION", "the template tells the distribution"),
        ("TECHNOLOGIES", "it tells what the kernel of Virtuozzo must have"),
        ("AUTOSTOP AUTOSTOPSTOP", "what becomes of containers when the node stops is the node's affair"),
        ("VE_TYPE", "containers are all of one type"),
        ("UUID", "a container is told by name and ctid"),
        ("APPLY_IPONLY", "it steers Virtuozzo's scripts inside the container"),
        ("OSRELEASE", "the kernel's version is shown as it is"),
        ("USE_NET_RPS", "receive packet steering is the host's affair"),
        ("HA_ENABLE HA_PRIO", "fail-over between nodes is not vz's affair"),
        ("BINDMOUNT", "its form is Virtuozzo's own: write each as {source: …, target: …} in spec.mounts"),
        ("VE_ENVIRONMENT", "its form is Virtuozzo's own: write the variables in spec.env"),
        ("NOATIME AUTOCOMPACT", "an image's mount options and compaction cannot be chosen"),
        ("TRAFFIC_SHAPING TOTALRATE RATE RATEBOUND", "network bandwidth is not limited by vz"),
        ("MEMGUARANTEE MEMGUARANTEE_BYTES", "Virtuozzo's guarantee of memory: write spec.beancounters.oomguarpages"),
        ("PAGECACHE_ISOLATION", "the page cache is always counted with the container's RAM"),
        ("NUMMEMORYSUBGROUPS", "how many control groups a container makes is not limited"),
        ("NUMNETIF", "how many network interfaces a container makes is not limited"),
        ("VERSION", "it tells the version of the file's form"),
        ("PLATFORM", "there is only Linux"),
        ("VEFORMAT VEFSTYPE", "it tells the file system of the private area, which is the host's affair"),
        (
            """
            LOCKDIR DUMPDIR LOGGING LOGFILE LOG_LEVEL VERBOSE VIRTUOZZO VE0CPUUNITS VZFASTBOOT NEIGHBOUR_DEVS ERROR_ON_ARPFAIL \
            VZWDOG IPTABLES_MODULES IP6TABLES CONFIG_CUSTOMIZED VE_STOP_MODE SKIP_SYSCTL_SETUP SKIP_ARPDETECT VE_PARALLEL \
            MODULES_DISABLED VE_ROUTE_SRC_DEV FORCE_ROUTE VE_CGROUP_SLICE
            """, "it is about the node, not about containers"
        ),
    ]
}
