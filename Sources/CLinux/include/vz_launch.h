// The step interpreter: starts a process in new or existing namespaces without forking the caller's memory.
//
//   caller ──clone3(VM|VFORK|FILES|PIDFD)──► outer ──clone3(VM|…namespaces)──► inner ──execve──► the program
//
// The caller prepares two lists of steps. `outer` runs with the caller's identity and file table: it clones the inner process, puts
// it into cgroups, writes its id maps, releases it, waits until it has executed its program, and exits. `inner` runs in the new
// process. Both share the caller's memory until execve, so they call the kernel directly: no allocation, no locks, no errno.
// When `outer` has exited the inner process is an orphan: it belongs to process 1 (unless cloned with CLONE_PARENT).
#ifndef VZ_LAUNCH_H
#define VZ_LAUNCH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum vz_op {
    // outer
    VZ_CLONE = 1,        // number: clone flags of the inner process; fd: directory of the cgroup (v2) that it begins in, or negative
    VZ_WRITE_PROC,       // path: name below /proc/PID of the inner process; text: what is written
    VZ_IDMAP,            // fd: detached mount that gets the id map of the inner process' user namespace
    VZ_MAP_USERNS,       // fd: BPF map from numbers of user namespaces; the inner process' gets number, 8 bytes; word: gets its own number into the low half
    VZ_IPC_CONTROL,      // path: a system control of the inner process' IPC namespace; text: what is written; number: its root
    VZ_RELEASE,          // lets the inner process go on from VZ_AWAIT_RELEASE
    VZ_AWAIT_EXEC,       // waits until the inner process has executed its program or ended
    // inner
    VZ_AWAIT_RELEASE,
    VZ_JOIN_GROUP,       // fd: `tasks` of the cgroup (v1) that the process joins
    VZ_SET_IDS,          // number: user and group id, real, effective and saved; no supplementary groups
    VZ_NEW_SESSION,
    VZ_HOSTNAME,         // text
    VZ_LOOPBACK_UP,
    VZ_PRIVATE_MOUNTS,   // no mount event passes between this mount namespace and another
    VZ_ATTACH_HERE,      // fd: detached mount, attached over the working directory, which moves into it
    VZ_ATTACH,           // fd: detached mount; path: below directory fd2 (negative: the working directory), never through a symbolic
                         // link at its end
    VZ_MOUNT_NEW,        // text: type; pairs: key, value, …; number: MOUNT_ATTR_*; path: below directory fd2; hard: not 0 when the
                         // working directory moves into it
    VZ_PIVOT_ROOT,       // the working directory becomes the root, the old root is detached
    VZ_OPEN_STDIO,       // path: opened read-write as 0, 1 and 2
    VZ_SET_CAPS,         // caps: cap_t that becomes permitted, effective; the bounding set is cut down to it; inheritable is empty
    VZ_LIMIT_FILES,      // number, hard: soft and hard limit of open files (RLIMIT_NOFILE)
    VZ_KEEP_LOCKED,      // fd: socket of the keeper (vz_keeper.h), which gets the filter's listener, table fd2 with the counter at byte
                         // hard, and control group fd3; number: CTID; owner; text: any, when the
                         // keeper is to count
    VZ_DEFAULT_SIGNALS,  // nothing blocked, nothing ignored
    VZ_CLOSE_ON_EXEC,    // number: every descriptor from this one on
    VZ_CONTROLLING_TTY,  // fd: becomes the terminal of this new session
    VZ_EXEC,             // paths: candidates in order; argv; env
    // both
    VZ_CHDIR,            // fd, or path when fd is negative
    VZ_ENTER_MOUNT,      // path: a directory, through no symbolic link; number: the id of the mount that it must be in (ESTALE)
    VZ_DETACH,           // path: the topmost mount there is taken away, busy or not
    VZ_SET_EFFECTIVE_IDS,// number: effective user and group id; those for files stay root's
    VZ_UNSHARE,          // number: flags
    VZ_SETNS,            // fd: pidfd; number: flags
    VZ_LIMIT_LOCKED,     // number: bytes of locked memory (RLIMIT_MEMLOCK), soft, and hard where it could be raised again
    VZ_WRITE,            // fd; text
    VZ_DUP2,             // fd → fd2
};

struct vz_step {
    int32_t op;
    int32_t fd, fd2, fd3;
    uint64_t number, hard;
    uint32_t owner;           // of the user namespace
    const char *path;
    const char *text;
    const char *const *list;  // pairs, or candidate paths; NULL-terminated
    const char *const *argv;
    const char *const *env;
    const void *caps;
    uint64_t *word;
};

struct vz_launched {
    int32_t pid;         // of the inner process, as the caller sees it; 0 when it was never made
    int32_t pidfd;       // close-on-exec; -1 when there is none
    int32_t failed;      // 0 nothing, 1 a step of outer, 2 a step of inner, 3 the start of outer itself
    int32_t step;        // index of the failed step
    int32_t error;       // its errno
};

/// Runs both lists. 0 when the inner process executed its program, else -1 with `result` telling the failed step; then no process
/// is left. Blocks the calling thread and all its signals meanwhile.
int vz_launch(const struct vz_step *outer, size_t outer_count, const struct vz_step *inner, size_t inner_count,
              struct vz_launched *result);

#endif
