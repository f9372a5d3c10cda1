// The table of beancounters as the programs in the kernel and user space share it: an array of slots, mapped into memory. Counters are
// read and bounds written by plain loads and stores, each of 8 aligned bytes.
//
// What of this a running system has stays as it is: another layout is another VZ_LAYOUT, and another place for the pinned maps.
#ifndef VZ_BEANCOUNTERS_H
#define VZ_BEANCOUNTERS_H

#define VZ_LAYOUT 1

/// Slots, the first of which is nobody's.
#define VZ_SLOTS 4096

/// Counters by OpenVZ's kernel ids (openvz.md 1.2); 4, 20, 21 and 22 mean nothing.
enum vz_resource {
    VZ_KMEMSIZE = 0,
    VZ_LOCKEDPAGES = 1,
    VZ_PRIVVMPAGES = 2,
    VZ_SHMPAGES = 3,
    VZ_NUMPROC = 5,
    VZ_PHYSPAGES = 6,
    VZ_VMGUARPAGES = 7,
    VZ_OOMGUARPAGES = 8,
    VZ_NUMTCPSOCK = 9,
    VZ_NUMFLOCK = 10,
    VZ_NUMPTY = 11,
    VZ_NUMSIGINFO = 12,
    VZ_TCPSNDBUF = 13,
    VZ_TCPRCVBUF = 14,
    VZ_OTHERSOCKBUF = 15,
    VZ_DGRAMRCVBUF = 16,
    VZ_NUMOTHERSOCK = 17,
    VZ_DCACHESIZE = 18,
    VZ_NUMFILE = 19,
    VZ_NUMIPTENT = 23,
    VZ_SWAPPAGES = 24,
    VZ_RESOURCES = 25,
};

struct vz_counter {
    long long held, maxheld, barrier, limit, failcnt;
};

/// 1024 bytes.
struct vz_slot {
    /// CTID, 0: the slot is free. Of slot 0: nothing.
    unsigned int ctid;
    /// The depth of the container's control group below the top of its hierarchy.
    unsigned int depth;
    /// The number of its user namespace, 0 while there is none; above these 32 bits a number by which the slot's use for this container is
    /// told from all others, 0 of one that an earlier version started. Of slot 0: the version of the programs in force.
    unsigned long long userns;
    /// Which node's it is: a digest of the name of its control group.
    unsigned long long node;
    struct vz_counter counters[VZ_RESOURCES];
};

/// What a user namespace is charged to: numbers of namespaces come again, so that the owner has to be the same as well, which is the
/// container's first user id.
struct vz_place {
    unsigned int slot;
    unsigned int owner;
};

struct vz_bpf_config {
    /// Which programs these are.
    unsigned long long version;
    /// The depth of the containers' own user namespaces below the host's: 1.
    int level;
    /// Whether they are of the BPF LSM, whose refusals the kernel cleans up after otherwise than after those of modify-return.
    unsigned int lsm;
    /// The slot that is being seeded.
    unsigned int slot;
    /// Whether memory is accounted by cgroup v1.
    unsigned int memory_v1;
    /// Whether programs stand at the ends of calls.
    unsigned int sees_ends;
    unsigned int unused;
};

#endif
