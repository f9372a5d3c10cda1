// The keeper of locked pages (Sources/vz-keeper): how it is talked to, and the filter that has a container's calls brought before it.
#ifndef VZ_KEEPER_H
#define VZ_KEEPER_H

#include <stdint.h>

enum vz_keeper_kind {
    VZ_KEEPER_KEEP = 1,  // with three descriptors: the listener of a filter, the table with the counter, the container's control group
    VZ_KEEPER_LOOK = 2,  // with two: the table and the control group. The bound was changed
    VZ_KEEPER_COUNT = 3, // count the pages of all containers anew
    VZ_KEEPER_ASK = 4,   // whether the container is kept
};

/// One packet (SOCK_SEQPACKET). It is answered by one 32-bit number: 0, or an errno; ENOENT: no such container is kept.
struct vz_keeper_message {
    uint32_t kind;
    uint32_t ctid;
    /// Where in the table its struct vz_counter is, in bytes.
    uint64_t counter;
    /// Whether the keeper is to write how much is held; else somebody else does.
    uint32_t counts;
    /// The owner of the container's user namespace: who may set limits of its processes without a capability of the host.
    uint32_t owner;
};

// What the filter tells calls by; VZ_I386_ are the numbers of 32-bit programs.
enum { VZ_MAP_LOCKED = 0x2000, VZ_SHM_LOCK = 11, VZ_IPC_64 = 0x100, VZ_IPC_SHMCTL = 24, VZ_X32 = 0x40000000, VZ_MEMFD_SECRET = 447 };
enum {
    VZ_I386_MMAP = 90, VZ_I386_IPC = 117, VZ_I386_MLOCK = 150, VZ_I386_MLOCKALL = 152, VZ_I386_MMAP2 = 192, VZ_I386_MLOCK2 = 376,
    VZ_I386_SHMCTL = 396, VZ_I386_SETRLIMIT = 75, VZ_I386_PRLIMIT = 340,
};

enum { VZ_RLIMIT_MEMLOCK = 8 };

/// In the low bits of a limit of locked memory (RLIMIT_MEMLOCK) that vz has set; a program that sets its own has other bits there. The
/// kernel goes by whole pages.
#define VZ_KEEPER_MARK 0x5a7u

/// A socket that listens at `path`, which is made with mode 0600; close-on-exec. -1 with errno.
int vz_keeper_listen(const char *path);
/// A connection to it, on which the keeper said that it is there. -1 with errno; ETIMEDOUT after `milliseconds`.
int vz_keeper_connect(const char *path);
int vz_keeper_await(int socket, int milliseconds);
/// Sends a message, with `table` and `group` when these are not negative. 0; -1 with errno.
int vz_keeper_send(int socket, const struct vz_keeper_message *message, int table, int group);

#endif
