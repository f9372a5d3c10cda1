#define _GNU_SOURCE
#include "vz_process.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int vz_pidfd_open(pid_t pid) { return syscall(SYS_pidfd_open, pid, 0); }

int vz_pidfd_send_signal(int pidfd, int signal) { return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0); }

// include/uapi/linux/pidfd.h of Linux 6.15; the header of the build machine may be older than the kernel that we run on.
struct pidfd_info_v1 {
    uint64_t mask, cgroupid;
    uint32_t pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
    int32_t exit_code;
};
#define VZ_PIDFD_INFO_EXIT (1UL << 3)
#define VZ_PIDFD_GET_INFO _IOWR(0xFF, 11, struct pidfd_info_v1)

int vz_pidfd_exit_status(int pidfd, int *status) {
    struct pidfd_info_v1 info = {.mask = VZ_PIDFD_INFO_EXIT};
    if (ioctl(pidfd, VZ_PIDFD_GET_INFO, &info) < 0) return -1;
    if (!(info.mask & VZ_PIDFD_INFO_EXIT)) {
        errno = ENODATA;
        return -1;
    }
    *status = info.exit_code;
    return 0;
}

// Between vfork and exec: system calls only, for the memory is the caller's. Its thread waits until we have left it.
static int execute_command(char *const argv[], int output, int errors, pid_t parent) {
    struct sigaction normal = {.sa_handler = SIG_DFL};
    for (int signal = 1; signal < NSIG; signal++) sigaction(signal, &normal, NULL);
    // Whoever was killed before this took effect is not our parent any more.
    if (prctl(PR_SET_PDEATHSIG, SIGKILL)) return errno;
    if (getppid() != parent) return ESRCH;
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0 || dup2(null, 0) < 0 || dup2(output, 1) < 0 || dup2(errors, 2) < 0) return errno;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execvp(argv[0], argv);
    return errno;
}

int vz_command(char *const argv[], int output, int errors, pid_t *pid) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    volatile int failure = 0;
    pid_t parent = getpid(), child = vfork();
    if (child == 0) {
        failure = execute_command(argv, output, errors, parent);
        _exit(127);
    }
    int error = child < 0 ? errno : failure;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (child > 0 && error) waitpid(child, NULL, 0);
    errno = error;
    *pid = child;
    return error ? -1 : 0;
}

int vz_wait_child(int pidfd, int *status) {
    siginfo_t info = {0};
    int answer;
    do answer = waitid(P_PIDFD, pidfd, &info, WEXITED | __WALL); while (answer < 0 && errno == EINTR);
    if (answer == 0)
        *status = info.si_code == CLD_EXITED ? info.si_status << 8 : info.si_status | (info.si_code == CLD_DUMPED ? 0x80 : 0);
    return answer;
}

// A thread that has entered another namespace is never used again: it ends with its one task.
struct inside_task {
    int pidfd, namespaces;
    long (*work)(struct inside_task *);
    const char *path;
    const char *name;
    char *into;
    size_t size;
    unsigned root;
    long answer;
    int error;
};

static void *inside_thread(void *argument) {
    struct inside_task *task = argument;
    task->answer = setns(task->pidfd, task->namespaces) ? -1 : task->work(task);
    task->error = errno;
    return NULL;
}

static long inside(struct inside_task *task) {
    pthread_t thread;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 * 1024);
    int error = pthread_create(&thread, &small, inside_thread, task);
    pthread_attr_destroy(&small);
    if (!error) error = pthread_join(thread, NULL);
    errno = error ? error : task->error;
    return error ? -1 : task->answer;
}

static long set_hostname(struct inside_task *task) { return sethostname(task->name, strlen(task->name)); }

int vz_hostname_set(int pidfd, const char *name) {
    struct inside_task task = {.pidfd = pidfd, .namespaces = CLONE_NEWUTS, .work = set_hostname, .name = name};
    return inside(&task);
}

static long write_control(struct inside_task *task) {
    int file = open(task->path, O_WRONLY | O_CLOEXEC);
    // Since Linux 5.19 they are the namespace's root's alone. By the system call: the C library would change all threads.
    if (file < 0 && errno == EACCES && !syscall(SYS_setresuid, -1, task->root, -1)) file = open(task->path, O_WRONLY | O_CLOEXEC);
    if (file < 0) return -1;
    size_t size = strlen(task->name);
    long answer = write(file, task->name, size) == (ssize_t)size ? 0 : -1;
    int error = errno;
    close(file);
    errno = error;
    return answer;
}

int vz_ipc_control_set(int pidfd, const char *path, const char *value, unsigned root) {
    struct inside_task task = {
        .pidfd = pidfd, .namespaces = CLONE_NEWIPC, .work = write_control, .path = path, .name = value, .root = root};
    return inside(&task);
}

static long read_control(struct inside_task *task) {
    int file = open(task->path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return -1;
    ssize_t length = read(file, task->into, task->size - 1);
    int error = errno;
    close(file);
    errno = error;
    if (length >= 0) task->into[length] = 0;
    return length < 0 ? -1 : 0;
}

int vz_ipc_control_get(int pidfd, const char *path, char *value, size_t size) {
    struct inside_task task = {
        .pidfd = pidfd, .namespaces = CLONE_NEWIPC, .work = read_control, .path = path, .into = value, .size = size};
    return inside(&task);
}

static int own_uts = -1;
static pthread_mutex_t own_uts_lock = PTHREAD_MUTEX_INITIALIZER;

/// Opened once; what fails now may succeed the next time.
static int open_own_uts(void) {
    pthread_mutex_lock(&own_uts_lock);
    if (own_uts < 0) own_uts = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);
    int error = errno, answer = own_uts;
    pthread_mutex_unlock(&own_uts_lock);
    errno = error;
    return answer;
}

// Read at every look at every container: there and back in the calling thread, which costs a tenth of a thread made for it.
int vz_hostname_get(int pidfd, char *name, size_t size) {
    int own = open_own_uts();
    if (own < 0 || setns(pidfd, CLONE_NEWUTS)) return -1;
    int answer = gethostname(name, size), error = errno;
    // A thread that stayed there would lie to everybody who uses it later. The kernel refuses it only for want of memory, and not for long;
    // if it does, that must not go unnoticed.
    for (int tries = 1; setns(own, CLONE_NEWUTS); tries++) {
        if (tries == 100) abort();
        usleep(10000);
    }
    errno = error;
    return answer;
}

int vz_pty_peer(int master) { return ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC); }

int vz_pty_unlock(int master) {
    int zero = 0;
    return ioctl(master, TIOCSPTLCK, &zero);
}

int vz_terminal_size_copy(int from, int to) {
    struct winsize size;
    return ioctl(from, TIOCGWINSZ, &size) || ioctl(to, TIOCSWINSZ, &size) ? -1 : 0;
}

int vz_set_undumpable(void) { return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }

// The child of a process with threads: only calls that signal-safety(7) allows.
static void write_at_end(int file, const char *text, size_t length, int pipe) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    // 0 and 1 alone stay: whoever waits for the end of a pipe, or for a lock, is not to wait for us.
    int low = dup(file), end = dup(pipe);
    if (low < 0 || end < 0 || dup2(end, 0) < 0 || dup2(low, 1) < 0) _exit(1);
    syscall(SYS_close_range, 2u, ~0u, 0);
    char byte;
    ssize_t n;
    do n = read(0, &byte, 1); while (n > 0 || (n < 0 && errno == EINTR));
    n = write(1, text, length);
    _exit(n != (ssize_t)length);
}

pid_t vz_write_at_end(int file, const char *text, size_t length, int *handle) {
    int ends[2];
    if (vz_pipe(ends)) return -1;
    pid_t child = fork();
    if (child == 0) write_at_end(file, text, length, ends[0]);
    int error = errno;
    close(ends[0]);
    if (child < 0) close(ends[1]);
    else *handle = ends[1];
    errno = error;
    return child;
}

int vz_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

int vz_poll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

int vz_poll_add(int poll, int descriptor) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = descriptor};
    return epoll_ctl(poll, EPOLL_CTL_ADD, descriptor, &event);
}

int vz_poll_remove(int poll, int descriptor) { return epoll_ctl(poll, EPOLL_CTL_DEL, descriptor, NULL); }

int vz_poll_wait(int poll, int *ready, int count) {
    struct epoll_event events[64];
    int n = epoll_wait(poll, events, count < 64 ? count : 64, -1);
    for (int i = 0; i < n; i++) ready[i] = events[i].data.fd;
    return n;
}

void vz_use_one_heap(void) { mallopt(M_ARENA_MAX, 1); }

static volatile sig_atomic_t postponed[NSIG];

static void postpone(int signal) { postponed[signal] = 1; }

void vz_postpone_signal(int signal) {
    struct sigaction action = {.sa_handler = postpone, .sa_flags = SA_RESTART};
    sigaction(signal, &action, NULL);
}

void vz_resend_postponed(void) {
    for (int signal = 1; signal < NSIG; signal++) {
        if (!postponed[signal]) continue;
        postponed[signal] = 0;
        kill(getpid(), signal);
    }
}
