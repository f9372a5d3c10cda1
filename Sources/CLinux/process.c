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
struct hostname_task { int pidfd, error; const char *name; };

static void *hostname_thread(void *argument) {
    struct hostname_task *task = argument;
    if (setns(task->pidfd, CLONE_NEWUTS)) task->error = errno;
    else if (sethostname(task->name, strlen(task->name))) task->error = errno;
    return NULL;
}

int vz_hostname_set(int pidfd, const char *name) {
    struct hostname_task task = {.pidfd = pidfd, .name = name};
    pthread_t thread;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 * 1024);
    int error = pthread_create(&thread, &small, hostname_thread, &task);
    pthread_attr_destroy(&small);
    if (!error) error = pthread_join(thread, NULL);
    if (!error) error = task.error;
    errno = error;
    return error ? -1 : 0;
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
