// The two processes, their questions, and who is kept.
#define _GNU_SOURCE
#include "keeper.h"

#include "vz_keeper.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// Descriptors with fixed numbers, so that the spare finds them.
enum { LISTENING = 3, STATE = 4 };
// What an event is about, in the upper half of its word.
enum { OF_LISTENING, OF_CONNECTION, OF_CONTAINER, OF_SPARE };

static struct state *state;
static int events = -1, connections;
static pid_t spare;

// MARK: The table

static struct counter *map_counter(const struct container *container, void **page, size_t *size) {
    long unit = sysconf(_SC_PAGESIZE);
    uint64_t start = container->counter / unit * unit;
    *size = 2 * unit;
    if (container->counter + sizeof(struct counter) <= start + unit) *size = unit;
    *page = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, container->table, start);
    return *page == MAP_FAILED ? NULL : (struct counter *)((char *)*page + (container->counter - start));
}

/// Does something with a container's counter, mapped meanwhile.
static int with_counter(struct container *container, int (*work)(struct container *, struct counter *, void *), void *argument) {
    void *page;
    size_t size;
    struct counter *counter = map_counter(container, &page, &size);
    if (!counter) return ENOMEM;
    int answer = work(container, counter, argument);
    munmap(page, size);
    return answer;
}

// MARK: Questions

static int respond(struct container *container, struct counter *counter, void *argument) {
    int fd = *(int *)argument;
    const struct seccomp_notif *question = &state->question.notif;
    struct answer answer = decide(container, counter, question);
    uint32_t flags = answer.error || answer.is_done ? 0 : SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    // The process whose limit was changed was the one that asked.
    if (ioctl(fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &question->id)) return 0;
    struct seccomp_notif_resp response = {.id = question->id, .error = -answer.error, .flags = flags};
    if (ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &response) == 0 && answer.is_refused)
        __atomic_fetch_add(&counter->failcnt, 1, __ATOMIC_SEQ_CST);
    return 0;
}

static void answer_question(void) {
    struct listener *listener = &state->listener[state->asked];
    struct container *container = &state->container[listener->container];
    if (with_counter(container, respond, &listener->fd)) {
        struct seccomp_notif_resp response = {.id = state->question.notif.id, .error = -ENOMEM};
        ioctl(listener->fd, SECCOMP_IOCTL_NOTIF_SEND, &response);
    }
    state->question.notif.id = 0;
}

static void watch(int fd, uint32_t of, uint32_t number, uint32_t what, int operation) {
    struct epoll_event event = {.events = what, .data.u64 = (uint64_t)of << 32 | number};
    epoll_ctl(events, operation, fd, &event);
}

static void listen_to(const struct container *container, uint32_t what) {
    for (uint32_t i = 0; i < state->used_listeners; i++)
        if (state->listener[i].fd && state->listener[i].container == container - state->container)
            watch(state->listener[i].fd, OF_CONTAINER, i, what, EPOLL_CTL_MOD);
}

/// A container with many processes takes long to look at, and its root decides how often. It gets a fifth of our time, and the others do
/// not wait for it.
static void rest(struct container *container, int64_t began) {
    enum { SHORT_US = 200, REST = 4 };
    int64_t now = now_us(), took = now - began;
    if (took < SHORT_US) return;
    container->rests_until = now + REST * took;
    listen_to(container, 0);
}

/// Listens again to those that have rested. - Returns: after how many milliseconds to look again; -1: nobody rests.
static int wake(void) {
    int64_t first = -1, now = now_us();
    for (uint32_t i = 0; i < state->used_containers; i++) {
        struct container *container = &state->container[i];
        if (!container->listeners || !container->rests_until) continue;
        int64_t left = container->rests_until - now;
        if (left <= 0) {
            container->rests_until = 0;
            listen_to(container, EPOLLIN);
        } else if (first < 0 || left < first) {
            first = left;
        }
    }
    return first < 0 ? -1 : (int)(first / 1000 + 1);
}

static void ask(int32_t number) {
    int64_t began = now_us();
    memset(&state->question, 0, sizeof state->question);
    state->asked = number;
    // The kernel writes it there before it says that it has: whoever takes over finds it.
    if (ioctl(state->listener[number].fd, SECCOMP_IOCTL_NOTIF_RECV, &state->question.notif) == 0) answer_question();
    state->question.notif.id = 0;
    rest(&state->container[state->listener[number].container], began);
}

// MARK: Who is kept

static struct container *find(uint32_t ctid) {
    for (uint32_t i = 0; i < state->used_containers; i++)
        if (state->container[i].listeners && state->container[i].ctid == ctid) return &state->container[i];
    return NULL;
}

static void adopt(struct container *container, const struct vz_keeper_message *message, int table, int group) {
    if (container->listeners) {
        close(container->table);
        close(container->group);
    }
    container->table = table;
    container->group = group;
    container->counter = message->counter;
    container->counts = message->counts;
    container->owner = message->owner;
}

static int keep(const struct vz_keeper_message *message, const int *fds) {
    uint32_t number = 0;
    while (number < state->used_listeners && state->listener[number].fd) number++;
    struct container *container = find(message->ctid);
    for (uint32_t i = 0; number < LISTENERS && !container && i < CONTAINERS; i++) {
        if (i < state->used_containers && state->container[i].listeners) continue;
        if (i >= state->used_containers) state->used_containers = i + 1;
        container = &state->container[i];
        memset(container, 0, sizeof *container);
        container->ctid = message->ctid;
    }
    if (number == LISTENERS || !container) return ENOSPC;
    if (number >= state->used_listeners) state->used_listeners = number + 1;
    adopt(container, message, fds[1], fds[2]);
    state->listener[number].container = container - state->container;
    state->listener[number].fd = fds[0];
    container->listeners++;
    state->listeners++;
    watch(fds[0], OF_CONTAINER, number, EPOLLIN, EPOLL_CTL_ADD);
    return 0;
}

static void forget(uint32_t number) {
    struct listener *listener = &state->listener[number];
    struct container *container = &state->container[listener->container];
    int fd = listener->fd;
    if (!fd) return;
    epoll_ctl(events, EPOLL_CTL_DEL, fd, NULL);
    listener->fd = 0;
    close(fd);
    state->listeners--;
    if (--container->listeners) return;
    close(container->table);
    close(container->group);
}

// MARK: Messages

static int look(struct container *container, struct counter *counter, void *argument) {
    (void)argument;
    rebalance(container, counter);
    return 0;
}

static int look_at_all(bool only_held) {
    for (uint32_t i = 0; i < state->used_containers; i++) {
        struct container *container = &state->container[i];
        if (container->listeners && container->counts && (!only_held || container->last_held)) with_counter(container, look, NULL);
    }
    return 0;
}

/// - Returns: what is answered, and whether the descriptors are kept.
static int perform(const struct vz_keeper_message *message, const int *fds, int count, bool *are_kept) {
    struct container *container = find(message->ctid);
    switch (message->kind) {
    case VZ_KEEPER_KEEP: {
        if (count != 3) return EINVAL;
        int error = keep(message, fds);
        *are_kept = !error;
        return error;
    }
    case VZ_KEEPER_LOOK:
        if (count != 2) return EINVAL;
        if (!container) return ENOENT;
        adopt(container, message, fds[0], fds[1]);
        *are_kept = true;
        return with_counter(container, look, NULL);
    case VZ_KEEPER_COUNT: return look_at_all(false);
    case VZ_KEEPER_ASK: return container ? 0 : ENOENT;
    default: return EINVAL;
    }
}

/// False: nothing more will come.
static bool receive(int connection) {
    struct vz_keeper_message message = {0};
    struct iovec part = {.iov_base = &message, .iov_len = sizeof message};
    union { struct cmsghdr head; char bytes[CMSG_SPACE(3 * sizeof(int))]; } control;
    struct msghdr packet = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(connection, &packet, MSG_DONTWAIT);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    int fds[3], count = 0;
    struct cmsghdr *head = CMSG_FIRSTHDR(&packet);
    if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS) {
        count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(fds, CMSG_DATA(head), count * sizeof(int));
    }
    bool are_kept = false;
    int answer = n == sizeof message ? perform(&message, fds, count, &are_kept) : EINVAL;
    for (int i = 0; !are_kept && i < count; i++) close(fds[i]);
    return n > 0 && send(connection, &answer, sizeof answer, MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof answer;
}

static bool accept_one(void) {
    int connection = accept4(LISTENING, NULL, NULL, SOCK_CLOEXEC), hello = 0;
    if (connection < 0) return false;
    struct ucred who;
    socklen_t size = sizeof who;
    if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &who, &size) || who.uid
        || send(connection, &hello, sizeof hello, MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof hello) {
        close(connection);
        return true;
    }
    connections++;
    watch(connection, OF_CONNECTION, connection, EPOLLIN, EPOLL_CTL_ADD);
    return true;
}

// MARK: The spare

/// Waits for the first process to end. It shares its descriptors, and must leave them as they are.
static void be_the_spare(int first, char **argv) {
    struct pollfd end = {.fd = first, .events = POLLIN};
    while (poll(&end, 1, -1) < 1) {}
    char *arguments[] = {argv[0], argv[1], argv[2], "again", NULL};
    execv("/proc/self/exe", arguments);
    _exit(1);
}

static void make_spare(char **argv) {
    int self = syscall(SYS_pidfd_open, getpid(), 0);
    int64_t pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid == 0) be_the_spare(self, argv);
    spare = pid;
    int descriptor = pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, spare, 0);
    if (descriptor >= 0) watch(descriptor, OF_SPARE, descriptor, EPOLLIN, EPOLL_CTL_ADD);
}

static void replace_spare(int descriptor, char **argv) {
    epoll_ctl(events, EPOLL_CTL_DEL, descriptor, NULL);
    close(descriptor);
    waitpid(spare, NULL, 0);
    make_spare(argv);
}

// MARK: Beginning and end

static bool is_used(int fd) {
    for (uint32_t i = 0; i < state->used_listeners; i++)
        if (state->listener[i].fd == fd) return true;
    for (uint32_t i = 0; i < state->used_containers; i++) {
        const struct container *container = &state->container[i];
        if (container->listeners && (container->table == fd || container->group == fd)) return true;
    }
    return false;
}

/// In the place of one that was killed.
static void take_over(void) {
    // What that one had open beside is nobody's now.
    DIR *open = opendir("/proc/self/fd");
    struct dirent *entry;
    while (open && (entry = readdir(open))) {
        int fd = atoi(entry->d_name);
        if (fd > STATE && fd != events && fd != dirfd(open) && !is_used(fd)) close(fd);
    }
    if (open) closedir(open);
    for (uint32_t i = 0; i < state->used_listeners; i++)
        if (state->listener[i].fd) watch(state->listener[i].fd, OF_CONTAINER, i, EPOLLIN, EPOLL_CTL_ADD);
    for (uint32_t i = 0; i < state->used_containers; i++) state->container[i].rests_until = 0;
    if (state->question.notif.id && state->listener[state->asked].fd) answer_question();
}

static bool has_capability(void) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct caps[2];
    return syscall(SYS_capget, &head, caps) == 0 && caps[0].effective & 1u << CAP_SYS_RESOURCE;
}

static bool begin(bool again) {
    may_raise = has_capability();
    struct rlimit files = {.rlim_cur = 1 << 20, .rlim_max = 1 << 20};
    // Without the privilege it is what it is.
    if (setrlimit(RLIMIT_NOFILE, &files) && !getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    FILE *score = fopen("/proc/self/oom_score_adj", "w");
    if (score) {
        fputs("-1000", score);
        fclose(score);
    }
    signal(SIGPIPE, SIG_IGN);
    if (!again) {
        int memory = memfd_create("vz-keeper", 0);
        if (memory < 0 || ftruncate(memory, sizeof *state)) return false;
        if (memory != STATE && (dup2(memory, STATE) < 0 || close(memory))) return false;
    }
    state = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, STATE, 0);
    events = epoll_create1(EPOLL_CLOEXEC);
    fcntl(LISTENING, F_SETFL, O_NONBLOCK);
    if (state == MAP_FAILED || events < 0) return false;
    watch(LISTENING, OF_LISTENING, 0, EPOLLIN, EPOLL_CTL_ADD);
    if (again) take_over();
    return true;
}

/// Ends, unless somebody is about to come.
static void end(char **argv) {
    int lock = open(argv[2], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB)) {
        close(lock);
        return;
    }
    if (!accept_one()) {
        unlink(argv[1]);
        if (spare > 0) kill(spare, SIGKILL);
        _exit(0);
    }
    close(lock);
}

static void handle(const struct epoll_event *event, char **argv) {
    uint32_t number = event->data.u64;
    switch (event->data.u64 >> 32) {
    case OF_LISTENING: accept_one(); break;
    case OF_SPARE: replace_spare(number, argv); break;
    case OF_CONNECTION:
        if (receive(number)) break;
        close(number);
        connections--;
        break;
    default:
        if (event->events & EPOLLIN) ask(number);
        else forget(number);
    }
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "vz-keeper is started by vzctl and vzd: SOCKET LOCK, and the socket as descriptor 3\n");
        return 64;
    }
    if (!begin(argc > 3)) return 1;
    make_spare(argv);
    for (;;) {
        bool is_idle = !state->listeners && !connections;
        bool is_counting = false;
        for (uint32_t i = 0; !is_idle && i < state->used_containers; i++)
            is_counting |= state->container[i].listeners && state->container[i].counts && state->container[i].last_held;
        int patience = is_idle ? 20 : is_counting ? 5000 : -1, rested = is_idle ? -1 : wake();
        if (rested >= 0 && (patience < 0 || rested < patience)) patience = rested;
        struct epoll_event event;
        int ready = epoll_wait(events, &event, 1, patience);
        if (ready == 1) handle(&event, argv);
        else if (ready == 0 && is_idle) end(argv);
        else if (ready == 0 && patience == 5000) look_at_all(true);
    }
}
