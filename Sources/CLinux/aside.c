#define _GNU_SOURCE
#include "vz_aside.h"

#include "system_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TEXT = 2048, STACK = 32 * 1024, GRACE_MS = 100 };

/// What the child works on. It shares our memory, so this lives until it has ended.
struct aside {
    char text[TEXT];
    const char *directory, *names[VZ_ASIDE_FILES];
    int count, pidfd;
    long error;
    long directory_fd, fds[VZ_ASIDE_FILES];
    _Alignas(64) char stack[STACK];
};

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
static struct aside *stuck;

static long read_a_byte(long directory, const char *name) {
    long fd = SYS4(SYS_openat, directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
    if (fd < 0) return fd;
    char byte;
    long answer = SYS3(SYS_read, fd, &byte, 1);
    SYS1(SYS_close, fd);
    return answer == 1 ? 0 : answer < 0 ? answer : -ENODATA;
}

static long open_and_read(struct aside *a) {
    // What is opened with O_PATH lands in our parent's table, whose to close it is: that asks no server.
    long answer = a->directory_fd = SYS4(SYS_openat, AT_FDCWD, a->directory, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    for (int i = 0; i < a->count && answer >= 0; i++)
        answer = a->fds[i] = SYS4(SYS_openat, a->directory_fd, a->names[i], O_PATH | O_CLOEXEC | O_NOFOLLOW, 0);
    // The end of what is opened for reading does ask it, and is ours: from here on the table is our own.
    if (answer >= 0) answer = SYS1(SYS_unshare, CLONE_FILES);
    return answer < 0 ? answer : read_a_byte(a->directory_fd, a->names[0]);
}

static int work(void *argument) {
    struct aside *a = argument;
    a->error = open_and_read(a);
    return 0;
}

/// Gives everything back once the child has ended.
static void finish(struct aside *a, int *fds) {
    if (a->directory_fd >= 0) close((int)a->directory_fd);
    for (int i = 0; i < a->count; i++) {
        if (fds) fds[i] = (int)a->fds[i];
        else if (a->fds[i] >= 0) close((int)a->fds[i]);
    }
    munmap(a, sizeof *a);
}

static struct aside *prepare(const char *directory, const char *const *names, int count) {
    size_t size = strlen(directory) + 1;
    for (int i = 0; i < count; i++) size += strlen(names[i]) + 1;
    if (count < 1 || count > VZ_ASIDE_FILES || size > TEXT) {
        errno = EINVAL;
        return NULL;
    }
    struct aside *a = mmap(NULL, sizeof *a, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (a == MAP_FAILED) return NULL;
    char *end = a->text;
    a->directory = strcpy(end, directory);
    for (int i = 0; i < count; i++) {
        end += strlen(end) + 1;
        a->names[i] = strcpy(end, names[i]);
        a->fds[i] = -1;
    }
    a->count = count;
    a->directory_fd = -1;
    return a;
}

/// Whether the child has ended; then it is reaped.
static int has_ended(struct aside *a, int milliseconds) {
    struct pollfd request = {.fd = a->pidfd, .events = POLLIN};
    int ready;
    do ready = poll(&request, 1, milliseconds); while (ready < 0 && errno == EINTR);
    if (ready != 1) return 0;
    siginfo_t info;
    waitid(P_PIDFD, a->pidfd, &info, WEXITED | __WALL);
    close(a->pidfd);
    return 1;
}

static long begin(struct aside *a) {
    // No signal of ours is handled by the child.
    struct clone_args arguments = {
        .flags = CLONE_VM | CLONE_FILES | CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
        .pidfd = (uint64_t)(uintptr_t)&a->pidfd,
        .stack = (uint64_t)(uintptr_t)a->stack,
        .stack_size = STACK,
    };
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    long pid = clone3_call(&arguments, work, a);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pid < 0 ? pid : 0;
}

static long perform(struct aside *a, int milliseconds, int *fds) {
    long error = begin(a);
    if (error) {
        finish(a, NULL);
        return error;
    }
    if (has_ended(a, milliseconds)) {
        error = a->error;
        finish(a, error ? NULL : fds);
        return error;
    }
    syscall(SYS_pidfd_send_signal, a->pidfd, SIGKILL, NULL, 0);
    if (has_ended(a, GRACE_MS)) finish(a, NULL);
    else stuck = a;
    return -ETIMEDOUT;
}

int vz_open_aside(const char *directory, const char *const *names, int count, int milliseconds, int *fds) {
    pthread_mutex_lock(&one_at_a_time);
    long error = 0;
    if (stuck && has_ended(stuck, 0)) {
        finish(stuck, NULL);
        stuck = NULL;
    }
    if (stuck) error = -ETIMEDOUT;
    struct aside *a = error ? NULL : prepare(directory, names, count);
    if (!error) error = a ? perform(a, milliseconds, fds) : -errno;
    pthread_mutex_unlock(&one_at_a_time);
    errno = (int)-error;
    return error ? -1 : 0;
}
