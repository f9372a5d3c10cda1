// The filter (seccomp(2)) of the calls by which a program locks memory. What it looks at of all other calls is their number alone, so that
// the kernel asks it once for each number and not at each call (Linux 5.11).
#ifndef VZ_KEEPER_FILTER_H
#define VZ_KEEPER_FILTER_H

#include "vz_keeper.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/syscall.h>

#define VZ_LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
// Jumps to the answers at the filter's end.
enum { VZ_FILTER_LENGTH = 48, VZ_ALLOW = VZ_FILTER_LENGTH - 3, VZ_ASK = VZ_FILTER_LENGTH - 2, VZ_MISSING = VZ_FILTER_LENGTH - 1 };
#define VZ_IF(at, value, to) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, (to) - (at) - 1, 0)
#define VZ_IF_ELSE(at, value, to, other) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, (to) - (at) - 1, (other) - (at) - 1)
#define VZ_IF_BITS(at, bits, to, other) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, (to) - (at) - 1, (other) - (at) - 1)
#define VZ_AND(value) BPF_STMT(BPF_ALU | BPF_AND | BPF_K, value)
#define VZ_GO(at, to) BPF_JUMP(BPF_JMP | BPF_JA, (to) - (at) - 1, 0, 0)

enum { VZ_OF_I386 = 14, VZ_OF_FLAGS = 26, VZ_OF_SHMCTL = 28, VZ_OF_IPC = 31, VZ_OF_SETRLIMIT = 37, VZ_OF_PRLIMIT = 39 };

static struct sock_filter vz_keeper_filter[VZ_FILTER_LENGTH] = {
    [0] = VZ_LOAD(arch),
    [1] = VZ_IF(1, AUDIT_ARCH_I386, VZ_OF_I386),
    [2] = VZ_IF_ELSE(2, AUDIT_ARCH_X86_64, 3, VZ_ALLOW),
    [3] = VZ_LOAD(nr),
    [4] = VZ_AND(~VZ_X32),
    [5] = VZ_IF(5, SYS_mlock, VZ_ASK),
    [6] = VZ_IF(6, SYS_mlock2, VZ_ASK),
    [7] = VZ_IF(7, SYS_mlockall, VZ_ASK),
    [8] = VZ_IF(8, SYS_mmap, VZ_OF_FLAGS),
    [9] = VZ_IF(9, SYS_shmctl, VZ_OF_SHMCTL),
    [10] = VZ_IF(10, VZ_MEMFD_SECRET, VZ_MISSING),
    [11] = VZ_IF(11, SYS_setrlimit, VZ_OF_SETRLIMIT),
    [12] = VZ_IF(12, SYS_prlimit64, VZ_OF_PRLIMIT),
    [13] = VZ_GO(13, VZ_ALLOW),
    [VZ_OF_I386] = VZ_LOAD(nr),
    [15] = VZ_IF(15, VZ_I386_MLOCK, VZ_ASK),
    [16] = VZ_IF(16, VZ_I386_MLOCK2, VZ_ASK),
    [17] = VZ_IF(17, VZ_I386_MLOCKALL, VZ_ASK),
    // Its flags are in memory, where they can be changed after a look.
    [18] = VZ_IF(18, VZ_I386_MMAP, VZ_ASK),
    [19] = VZ_IF(19, VZ_I386_MMAP2, VZ_OF_FLAGS),
    [20] = VZ_IF(20, VZ_I386_SHMCTL, VZ_OF_SHMCTL),
    [21] = VZ_IF(21, VZ_I386_IPC, VZ_OF_IPC),
    [22] = VZ_IF(22, VZ_MEMFD_SECRET, VZ_MISSING),
    [23] = VZ_IF(23, VZ_I386_SETRLIMIT, VZ_OF_SETRLIMIT),
    [24] = VZ_IF(24, VZ_I386_PRLIMIT, VZ_OF_PRLIMIT),
    [25] = VZ_GO(25, VZ_ALLOW),
    [VZ_OF_FLAGS] = VZ_LOAD(args[3]),
    [27] = VZ_IF_BITS(27, VZ_MAP_LOCKED, VZ_ASK, VZ_ALLOW),
    [VZ_OF_SHMCTL] = VZ_LOAD(args[1]),
    [29] = VZ_AND(~VZ_IPC_64),
    [30] = VZ_IF_ELSE(30, VZ_SHM_LOCK, VZ_ASK, VZ_ALLOW),
    [VZ_OF_IPC] = VZ_LOAD(args[0]),
    [32] = VZ_AND(0xffff),
    [33] = VZ_IF_ELSE(33, VZ_IPC_SHMCTL, 34, VZ_ALLOW),
    [34] = VZ_LOAD(args[2]),
    [35] = VZ_AND(~VZ_IPC_64),
    [36] = VZ_IF_ELSE(36, VZ_SHM_LOCK, VZ_ASK, VZ_ALLOW),
    [VZ_OF_SETRLIMIT] = VZ_LOAD(args[0]),
    [38] = VZ_IF_ELSE(38, VZ_RLIMIT_MEMLOCK, VZ_ASK, VZ_ALLOW),
    [VZ_OF_PRLIMIT] = VZ_LOAD(args[1]),
    [40] = VZ_IF_ELSE(40, VZ_RLIMIT_MEMLOCK, 41, VZ_ALLOW),
    // Without a new limit it only reads.
    [41] = VZ_LOAD(args[2]),
    [42] = VZ_IF_ELSE(42, 0, 43, VZ_ASK),
    [43] = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2]) + 4),
    [44] = VZ_IF_ELSE(44, 0, VZ_ALLOW, VZ_ASK),
    [VZ_ALLOW] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    [VZ_ASK] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
    [VZ_MISSING] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
};

#endif
