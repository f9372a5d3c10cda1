// The code between clone and exec. Everything here that a child runs calls the kernel directly: the children share the memory, and
// so the thread-local storage, of a caller whose other threads go on.
#define _GNU_SOURCE
#include "vz_launch.h"

#include "keeper_filter.h"
#include "system_calls.h"
#include "vz_keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/close_range.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STACK_SIZE = 64 * 1024 };

struct run {
    const struct vz_step *outer, *inner;
    size_t outer_count, inner_count;
    struct vz_launched *result;
    char *inner_stack;
    int release[2], executed[2];
};

static size_t length(const char *text) {
    size_t n = 0;
    while (text[n]) n++;
    return n;
}

static char *decimal(char end[12], unsigned value) {
    char *p = end + 11;
    *p = 0;
    do *--p = '0' + value % 10; while (value /= 10);
    return p;
}

static long write_all(int fd, const char *text) {
    size_t n = length(text);
    long done = SYS3(SYS_write, fd, text, n);
    return done < 0 ? done : (size_t)done == n ? 0 : -EIO;
}

/// A byte from a pipe: 0, or -EPIPE when the other end is gone, or -errno.
static long await_byte(int fd) {
    char byte;
    long n;
    do n = SYS3(SYS_read, fd, &byte, 1); while (n == -EINTR);
    return n < 0 ? n : n == 1 ? 0 : -EPIPE;
}

static long write_proc(int pid, const char *name, const char *text) {
    char path[64] = "/proc/", digits[12], *p = path + 6;
    if (length(name) > 32) return -ENAMETOOLONG;
    for (const char *d = decimal(digits, pid); *d;) *p++ = *d++;
    *p++ = '/';
    while (*name) *p++ = *name++;
    *p = 0;
    long fd = SYS4(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0) return fd;
    long answer = write_all(fd, text);
    SYS1(SYS_close, fd);
    return answer;
}

static long limit_files(uint64_t soft, uint64_t hard) {
    struct rlimit64 limit = {.rlim_cur = soft, .rlim_max = hard};
    return SYS4(SYS_prlimit64, 0, RLIMIT_NOFILE, &limit, 0);
}

/// Who may raise limits sets both. For others the hard limit stays what it is, since it could never be raised again.
static long limit_locked(uint64_t bytes) {
    struct rlimit64 limit;
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct caps[2];
    long answer = SYS2(SYS_capget, &head, caps);
    if (answer == 0) answer = SYS4(SYS_prlimit64, 0, RLIMIT_MEMLOCK, 0, &limit);
    if (answer) return answer;
    if (caps[0].effective & 1u << CAP_SYS_RESOURCE) limit.rlim_max = bytes;
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    return SYS4(SYS_prlimit64, 0, RLIMIT_MEMLOCK, &limit, 0);
}

/// From here on the calls of this process and its children that lock memory wait for whoever has the listener, which is sent away.
static long hand_over_listener(const struct vz_step *s) {
    struct sock_fprog program = {.len = VZ_FILTER_LENGTH, .filter = vz_keeper_filter};
    long listener = SYS3(
        SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program);
    if (listener < 0) return listener;
    struct vz_keeper_message message = {.kind = VZ_KEEPER_KEEP, .ctid = s->number, .counter = s->hard, .counts = s->text != 0, .owner = s->owner};
    struct iovec part = {.iov_base = &message, .iov_len = sizeof message};
    union { struct cmsghdr head; char bytes[CMSG_SPACE(3 * sizeof(int))]; } control;
    for (size_t i = 0; i < sizeof control; i++) ((volatile char *)&control)[i] = 0;
    control.head = (struct cmsghdr){.cmsg_len = CMSG_LEN(3 * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    int *descriptors = (int *)CMSG_DATA(&control.head);
    descriptors[0] = listener;
    descriptors[1] = s->fd2;
    descriptors[2] = s->fd3;
    struct msghdr packet = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    long answer = SYS3(SYS_sendmsg, s->fd, &packet, MSG_NOSIGNAL);
    SYS1(SYS_close, listener);
    return answer < 0 ? answer : 0;
}

/// - name: at most 8 characters: `user`.
static long open_namespace(int pid, const char *name) {
    char path[64] = "/proc/", digits[12], *p = path + 6;
    for (const char *d = decimal(digits, pid); *d;) *p++ = *d++;
    for (const char *d = "/ns/"; *d;) *p++ = *d++;
    while (*name) *p++ = *name++;
    *p = 0;
    return SYS4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
}

static long id_map_mount(int pid, int tree) {
    long fd = open_namespace(pid, "user");
    if (fd < 0) return fd;
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = fd};
    long answer = SYS5(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes);
    SYS1(SYS_close, fd);
    return answer;
}

static long map_user_namespace(int pid, int map, uint64_t value, uint64_t *word) {
    long fd = open_namespace(pid, "user");
    if (fd < 0) return fd;
    struct stat status;
    long answer = SYS2(SYS_fstat, fd, &status);
    SYS1(SYS_close, fd);
    if (answer) return answer;
    // The word first: whoever finds the namespace in the map finds it there as well.
    __atomic_store_n(word, *word >> 32 << 32 | (uint32_t)status.st_ino, __ATOMIC_SEQ_CST);
    uint32_t key = status.st_ino;
    union bpf_attr attributes;
    for (size_t i = 0; i < sizeof attributes; i++) ((volatile char *)&attributes)[i] = 0;
    attributes.map_fd = map;
    attributes.key = (uintptr_t)&key;
    attributes.value = (uintptr_t)&value;
    return SYS3(SYS_bpf, BPF_MAP_UPDATE_ELEM, &attributes, sizeof attributes);
}

static long set_ids(unsigned id) {
    long answer = SYS3(SYS_setresgid, id, id, id);
    if (answer == 0) answer = SYS2(SYS_setgroups, 0, 0);
    return answer ? answer : SYS3(SYS_setresuid, id, id, id);
}

static long set_effective_ids(unsigned id) {
    // Group first on the way down, user first on the way up: each needs the other's privilege.
    if (id) {
        long answer = SYS3(SYS_setresgid, -1, id, -1);
        if (answer == 0) answer = SYS3(SYS_setresuid, -1, id, -1);
        if (answer) return answer;
        // Files stay root's to open: CLONE_INTO_CGROUP asks for it. These two answer the former id and never fail.
        SYS1(SYS_setfsuid, 0);
        SYS1(SYS_setfsgid, 0);
        return 0;
    }
    long answer = SYS3(SYS_setresuid, -1, id, -1);
    return answer ? answer : SYS3(SYS_setresgid, -1, id, -1);
}

static long write_control(const char *path, const char *text) {
    long fd = SYS4(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0) return fd;
    long answer = write_all(fd, text);
    SYS1(SYS_close, fd);
    return answer;
}

/// Enters the IPC namespace, in which the outer process has nothing else to do. Since Linux 5.19 its controls are its root's alone, who
/// is another than the host's.
static long set_ipc_control(int pid, const char *path, const char *text, unsigned root) {
    long fd = open_namespace(pid, "ipc");
    if (fd < 0) return fd;
    long answer = SYS2(SYS_setns, fd, CLONE_NEWIPC);
    SYS1(SYS_close, fd);
    if (answer) return answer;
    answer = write_control(path, text);
    if (answer != -EACCES) return answer;
    answer = set_effective_ids(root);
    if (answer) return answer;
    answer = write_control(path, text);
    long back = set_effective_ids(0);
    return answer ? answer : back;
}

static long loopback_up(void) {
    long fd = SYS3(SYS_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return fd;
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING | IFF_LOOPBACK};
    long answer = SYS3(SYS_ioctl, fd, SIOCSIFFLAGS, &request);
    SYS1(SYS_close, fd);
    return answer;
}

static long attach(int tree, int directory, const char *path) {
    return SYS5(SYS_move_mount, tree, "", directory, path, MOVE_MOUNT_F_EMPTY_PATH | (*path ? 0 : MOVE_MOUNT_T_EMPTY_PATH));
}

static long mount_new(const struct vz_step *s) {
    long context = SYS2(SYS_fsopen, s->text, FSOPEN_CLOEXEC);
    if (context < 0) return context;
    long answer = 0;
    for (const char *const *pair = s->list; answer >= 0 && pair && pair[0]; pair += 2)
        answer = SYS5(SYS_fsconfig, context, FSCONFIG_SET_STRING, pair[0], pair[1], 0);
    if (answer >= 0) answer = SYS5(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, 0, 0, 0);
    if (answer >= 0) answer = SYS3(SYS_fsmount, context, FSMOUNT_CLOEXEC, s->number);
    SYS1(SYS_close, context);
    if (answer < 0) return answer;
    int tree = answer;
    answer = attach(tree, s->fd2, s->path);
    if (answer == 0 && s->hard) answer = SYS1(SYS_fchdir, tree);
    SYS1(SYS_close, tree);
    return answer;
}

static long enter_mount(const char *path, uint64_t id) {
    struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    long fd = SYS4(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
    if (fd < 0) return fd;
    struct statx info;
    long answer = SYS5(SYS_statx, fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &info);
    if (answer == 0 && !(info.stx_mask & STATX_MNT_ID)) answer = -ENOSYS;
    if (answer == 0 && info.stx_mnt_id != id) answer = -ESTALE;
    if (answer == 0) answer = SYS1(SYS_fchdir, fd);
    SYS1(SYS_close, fd);
    return answer;
}

static long pivot_root_here(void) {
    // The old root is stacked under the working directory by the first call and taken away by the second (pivot_root(2)).
    long answer = SYS2(SYS_pivot_root, ".", ".");
    if (answer == 0) answer = SYS2(SYS_umount2, ".", MNT_DETACH);
    return answer ? answer : SYS1(SYS_chdir, "/");
}

static long open_stdio(const char *path) {
    long fd = SYS4(SYS_openat, AT_FDCWD, path, O_RDWR | O_NOCTTY, 0);
    for (int to = 0; fd >= 0 && to < 3; to++) {
        long answer = fd == to ? 0 : SYS3(SYS_dup3, fd, to, 0);
        if (answer < 0) return answer;
    }
    if (fd > 2) SYS1(SYS_close, fd);
    return fd < 0 ? fd : 0;
}

static long default_signals(void) {
    // CLONE_CLEAR_SIGHAND leaves ignored what the caller ignored, and execve would hand that on.
    struct { void *handler; unsigned long flags; void *restorer; uint64_t mask; } normal = {0};
    for (int signal = 1; signal <= 64; signal++)
        if (signal != SIGKILL && signal != SIGSTOP) SYS4(SYS_rt_sigaction, signal, &normal, 0, sizeof normal.mask);
    return SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &normal.mask, 0, sizeof normal.mask);
}

static long set_caps(const void *set) {
    // libcap keeps to prctl and capset here; it does set errno, which nobody else reads while the caller waits.
    cap_t caps = (cap_t)set;
    for (cap_value_t cap = 0; cap < cap_max_bits(); cap++) {
        cap_flag_value_t kept = CAP_CLEAR;
        if (cap_get_flag(caps, cap, CAP_PERMITTED, &kept)) return -errno;
        if (kept == CAP_CLEAR && cap_drop_bound(cap)) return -errno;
    }
    return cap_set_proc(caps) ? -errno : 0;
}

static long execute(const struct vz_step *s) {
    long error = -ENOENT;
    for (const char *const *path = s->list; *path; path++) {
        long answer = SYS3(SYS_execve, *path, s->argv, s->env);
        // As a shell does: what is missing is passed over, and a refusal is remembered over a "not found".
        if (answer != -ENOENT && answer != -ENOTDIR) error = answer;
        if (answer != -ENOENT && answer != -ENOTDIR && answer != -EACCES) break;
    }
    return error;
}

static int inner_main(void *argument);

static long clone_inner(struct run *run, uint64_t flags, int group) {
    int pidfd = -1;
    struct clone_args arguments = {
        .flags = flags | CLONE_VM | CLONE_PIDFD | CLONE_CLEAR_SIGHAND | (group >= 0 ? CLONE_INTO_CGROUP : 0),
        .cgroup = group >= 0 ? group : 0,
        .pidfd = (uint64_t)(uintptr_t)&pidfd,
        .exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD,
        .stack = (uint64_t)(uintptr_t)run->inner_stack,
        .stack_size = STACK_SIZE,
    };
    long pid = clone3_call(&arguments, inner_main, run);
    if (pid < 0) return pid;
    run->result->pid = pid;
    run->result->pidfd = pidfd;
    // The file table here is the caller's: from now on only the inner process can write, so its exec or its end is the end of file.
    SYS1(SYS_close, run->executed[1]);
    run->executed[1] = -1;
    return 0;
}

static long release(struct run *run) {
    long answer = SYS3(SYS_write, run->release[1], "", 1);
    return answer == 1 ? 0 : answer < 0 ? answer : -EIO;
}

static long perform(struct run *run, const struct vz_step *s) {
    switch (s->op) {
    case VZ_CLONE: return clone_inner(run, s->number, s->fd);
    case VZ_JOIN_GROUP: return write_all(s->fd, "0");
    case VZ_WRITE_PROC: return write_proc(run->result->pid, s->path, s->text);
    case VZ_IDMAP: return id_map_mount(run->result->pid, s->fd);
    case VZ_MAP_USERNS: return map_user_namespace(run->result->pid, s->fd, s->number, s->word);
    case VZ_IPC_CONTROL: return set_ipc_control(run->result->pid, s->path, s->text, s->number);
    case VZ_RELEASE: return release(run);
    case VZ_AWAIT_EXEC: await_byte(run->executed[0]); return 0;
    case VZ_AWAIT_RELEASE: SYS1(SYS_close, run->release[1]); return await_byte(run->release[0]);
    case VZ_SET_IDS: return set_ids(s->number);
    case VZ_NEW_SESSION: { long answer = SYS0(SYS_setsid); return answer < 0 ? answer : 0; }
    case VZ_HOSTNAME: return SYS2(SYS_sethostname, s->text, length(s->text));
    case VZ_LOOPBACK_UP: return loopback_up();
    case VZ_PRIVATE_MOUNTS: return SYS5(SYS_mount, 0, "/", 0, MS_REC | MS_PRIVATE, 0);
    case VZ_ATTACH_HERE: {
        long answer = attach(s->fd, AT_FDCWD, "");
        return answer ? answer : SYS1(SYS_fchdir, s->fd);
    }
    case VZ_ATTACH: return attach(s->fd, s->fd2 < 0 ? AT_FDCWD : s->fd2, s->path);
    case VZ_MOUNT_NEW: return mount_new(s);
    case VZ_ENTER_MOUNT: return enter_mount(s->path, s->number);
    case VZ_DETACH: return SYS2(SYS_umount2, s->path, MNT_DETACH | UMOUNT_NOFOLLOW);
    case VZ_PIVOT_ROOT: return pivot_root_here();
    case VZ_OPEN_STDIO: return open_stdio(s->path);
    case VZ_SET_CAPS: return set_caps(s->caps);
    case VZ_LIMIT_FILES: return limit_files(s->number, s->hard);
    case VZ_LIMIT_LOCKED: return limit_locked(s->number);
    case VZ_KEEP_LOCKED: return hand_over_listener(s);
    case VZ_DEFAULT_SIGNALS: return default_signals();
    case VZ_CLOSE_ON_EXEC: return SYS3(SYS_close_range, s->number, ~0u, CLOSE_RANGE_CLOEXEC);
    case VZ_CONTROLLING_TTY: return SYS3(SYS_ioctl, s->fd, TIOCSCTTY, 0);
    case VZ_EXEC: return execute(s);
    case VZ_CHDIR: return s->fd >= 0 ? SYS1(SYS_fchdir, s->fd) : SYS1(SYS_chdir, s->path);
    case VZ_SET_EFFECTIVE_IDS: return set_effective_ids(s->number);
    case VZ_UNSHARE: return SYS1(SYS_unshare, s->number);
    case VZ_SETNS: return SYS2(SYS_setns, s->fd, s->number);
    case VZ_WRITE: return write_all(s->fd, s->text);
    case VZ_DUP2: { long answer = SYS3(SYS_dup3, s->fd, s->fd2, 0); return answer < 0 ? answer : 0; }
    default: return -ENOSYS;
    }
}

static bool run_steps(struct run *run, int who, const struct vz_step *steps, size_t count) {
    for (size_t i = 0; i < count; i++) {
        long answer = perform(run, &steps[i]);
        if (answer >= 0) continue;
        if (!run->result->failed) {  // the first to fail is the cause; the other side's failure only follows from it
            run->result->step = i;
            run->result->error = -answer;
            run->result->failed = who;
        }
        return false;
    }
    return true;
}

static int inner_main(void *argument) {
    struct run *run = argument;
    run_steps(run, 2, run->inner, run->inner_count);
    return 127;
}

static int outer_main(void *argument) {
    struct run *run = argument;
    if (!run_steps(run, 1, run->outer, run->outer_count) && run->result->pidfd >= 0)
        SYS4(SYS_pidfd_send_signal, run->result->pidfd, SIGKILL, 0, 0);
    // Whatever became of it: only when the inner process has left this memory may it be used again.
    if (run->result->pidfd >= 0) await_byte(run->executed[0]);
    return 0;
}

static void finish(struct run *run, int outer_pidfd) {
    siginfo_t info;
    int answer;
    do answer = waitid(P_PIDFD, outer_pidfd, &info, WEXITED | __WALL); while (answer < 0 && errno == EINTR);
    int error = answer < 0 ? errno : info.si_code != CLD_EXITED ? EINTR : 0;
    close(outer_pidfd);
    if (error && !run->result->failed) {
        run->result->failed = 3;
        run->result->error = error;
    }
    if (!run->result->failed || run->result->pidfd < 0) return;
    // A failed start leaves nothing; and the inner process must have left our memory before its stack is given back.
    syscall(SYS_pidfd_send_signal, run->result->pidfd, SIGKILL, NULL, 0);
    struct pollfd ended = {.fd = run->result->pidfd, .events = POLLIN};
    while (poll(&ended, 1, -1) < 0 && errno == EINTR) {}
    waitid(P_PIDFD, run->result->pidfd, &info, WEXITED | __WALL);  // a child of ours only under CLONE_PARENT
    close(run->result->pidfd);
    run->result->pidfd = -1;
}

static void launch_with(struct run *run, char *stacks) {
    int pidfd = -1;
    struct clone_args arguments = {
        .flags = CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
        .pidfd = (uint64_t)(uintptr_t)&pidfd,
        .stack = (uint64_t)(uintptr_t)stacks,
        .stack_size = STACK_SIZE,
    };
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    long pid = clone3_call(&arguments, outer_main, run);
    if (pid < 0) {
        run->result->failed = 3;
        run->result->error = -pid;
    } else {
        finish(run, pidfd);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int vz_launch(const struct vz_step *outer, size_t outer_count, const struct vz_step *inner, size_t inner_count,
              struct vz_launched *result) {
    *result = (struct vz_launched){.pidfd = -1};
    struct run run = {.outer = outer, .outer_count = outer_count, .inner = inner, .inner_count = inner_count, .result = result,
                      .release = {-1, -1}, .executed = {-1, -1}};
    char *stacks = mmap(NULL, 2 * STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stacks == MAP_FAILED || pipe2(run.release, O_CLOEXEC) || pipe2(run.executed, O_CLOEXEC)) {
        result->failed = 3;
        result->error = errno;
    } else {
        run.inner_stack = stacks + STACK_SIZE;
        launch_with(&run, stacks);
    }
    for (int i = 0; i < 2; i++) {
        if (run.release[i] >= 0) close(run.release[i]);
        if (run.executed[i] >= 0) close(run.executed[i]);
    }
    if (stacks != MAP_FAILED) munmap(stacks, 2 * STACK_SIZE);
    return result->failed ? -1 : 0;
}
