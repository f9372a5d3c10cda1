// Who may lock how much.
#define _GNU_SOURCE
#include "keeper.h"

#include "vz_keeper.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/kcmp.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096, MCL_BITS = 7, MCL_CURRENT_BIT = 1, MCL_FUTURE_BIT = 2, MCL_ONFAULT_BIT = 4, PATIENCE_US = 20000 };

/// What a call asks for.
struct wish {
    /// Pages; of `all` what the process has and has not locked yet.
    int64_t pages;
    bool all;
    /// More may follow that nobody is asked about.
    bool is_open;
    /// System V shared memory, which is no process's.
    bool is_shared;
    /// A limit of locked memory that a program sets; `wants_old`: and wants to know the one before.
    bool is_limit, wants_old;
};

static int64_t pages_of(uint64_t bytes) { return (int64_t)((bytes + PAGE - 1) / PAGE); }

static struct wish wish_of_mlockall(uint64_t flags) {
    // Those that the kernel refuses ask for nothing.
    if (!flags || flags & ~(uint64_t)MCL_BITS || flags == MCL_ONFAULT_BIT) return (struct wish){0};
    return (struct wish){.all = flags & MCL_CURRENT_BIT, .is_open = flags & MCL_FUTURE_BIT};
}

static struct wish wish_of(const struct seccomp_data *call) {
    const __u64 *args = call->args;
    struct wish range = {.pages = pages_of(args[1] + args[0] % PAGE)}, area = {.pages = pages_of(args[1])};
    struct wish shared = {.is_shared = true}, open = {.is_open = true};
    struct wish limit = {.is_limit = true}, change = {.is_limit = true, .wants_old = args[3]};
    if (call->arch == AUDIT_ARCH_I386) {
        switch (call->nr) {
        case VZ_I386_MLOCK: case VZ_I386_MLOCK2: return range;
        case VZ_I386_MMAP2: return area;
        case VZ_I386_MLOCKALL: return wish_of_mlockall((uint32_t)args[0]);
        case VZ_I386_MMAP: return open;
        case VZ_I386_SETRLIMIT: return limit;
        case VZ_I386_PRLIMIT: return change;
        default: return shared;
        }
    }
    switch (call->nr & ~VZ_X32) {
    case SYS_mlock: case SYS_mlock2: return range;
    case SYS_mmap: return area;
    case SYS_setrlimit: return limit;
    case SYS_prlimit64: return change;
    case SYS_mlockall: return wish_of_mlockall((uint32_t)args[0]);
    default: return shared;
    }
}

// MARK: Limits

bool may_raise;

static bool is_ours(uint64_t limit) { return !may_raise || limit == RLIM_INFINITY || limit % PAGE == VZ_KEEPER_MARK; }

static uint64_t limit_of(int64_t pages) { return pages >= UNBOUND ? RLIM_INFINITY : (uint64_t)pages * PAGE + VZ_KEEPER_MARK; }

/// What a limit becomes: one that a program set itself is never raised.
static uint64_t changed(uint64_t limit, uint64_t wanted) { return is_ours(limit) || limit > wanted ? wanted : limit; }

static bool call_prlimit(const struct container *container, int32_t tid, const struct rlimit *new, struct rlimit *old) {
    if (prlimit(tid, RLIMIT_MEMLOCK, new, old) == 0) return true;
    if (errno != EPERM || seteuid(container->owner)) return false;
    // The owner of a user namespace has all capabilities in it.
    bool is_done = prlimit(tid, RLIMIT_MEMLOCK, new, old) == 0;
    return seteuid(0) == 0 && is_done;
}

static bool read_limit(const struct container *container, struct process *process) {
    struct rlimit limit;
    if (!call_prlimit(container, process->tid, NULL, &limit)) return false;
    process->soft = limit.rlim_cur;
    process->hard = limit.rlim_max;
    return true;
}

/// - Parameter raising: whether this is the turn of limits that become more, or of those that become less.
static bool set_limit(const struct container *container, struct process *process, int64_t pages, bool raising) {
    uint64_t wanted = limit_of(pages);
    struct rlimit limit = {.rlim_cur = changed(process->soft, wanted), .rlim_max = process->hard};
    if (may_raise) limit.rlim_max = changed(process->hard, wanted);
    if (limit.rlim_cur > limit.rlim_max) limit.rlim_cur = limit.rlim_max;
    if (limit.rlim_cur == process->soft && limit.rlim_max == process->hard) return false;
    bool is_more = limit.rlim_cur > process->soft || (limit.rlim_cur == process->soft && limit.rlim_max > process->hard);
    if (is_more != raising || !call_prlimit(container, process->tid, &limit, NULL)) return false;
    process->soft = limit.rlim_cur;
    process->hard = limit.rlim_max;
    return true;
}

// MARK: What is remembered of processes

static bool is_future(struct container *container, const struct process *process) {
    for (int i = 0; i < FUTURES; i++) {
        int32_t pid = container->futures[i].pid;
        if (!pid) continue;
        if (pid == process->pid && start_time(pid) == container->futures[i].start) return true;
        // Another process with the same memory.
        if (pid != process->pid && syscall(SYS_kcmp, pid, process->pid, KCMP_VM, 0, 0) == 0) return true;
    }
    return false;
}

/// False: no more can be remembered.
static bool note_future(struct container *container, const struct process *process) {
    int free = -1;
    for (int i = 0; i < FUTURES; i++) {
        int32_t pid = container->futures[i].pid;
        struct process other;
        if (pid && (!read_process(pid, &other) || start_time(pid) != container->futures[i].start))
            container->futures[i].pid = pid = 0;
        if (pid == process->pid) return true;
        if (!pid) free = i;
    }
    if (free < 0) return false;
    container->futures[free].start = start_time(process->pid);
    container->futures[free].pid = process->pid;
    return true;
}

static int64_t pending_target(struct container *container, const struct process *process) {
    int64_t most = 0, now = now_us();
    for (int i = 0; i < PENDINGS; i++) {
        if (container->pendings[i].pid != process->pid) continue;
        if (container->pendings[i].until < now || process->locked >= container->pendings[i].target) container->pendings[i].pid = 0;
        else if (container->pendings[i].target > most) most = container->pendings[i].target;
    }
    return most;
}

static void note_pending(struct container *container, int32_t pid, int32_t tid, int64_t target) {
    int oldest = 0;
    for (int i = 0; i < PENDINGS; i++) {
        if (!container->pendings[i].pid) {
            oldest = i;
            break;
        }
        if (container->pendings[i].until < container->pendings[oldest].until) oldest = i;
    }
    container->pendings[oldest].target = target;
    container->pendings[oldest].until = now_us() + PATIENCE_US;
    container->pendings[oldest].tid = tid;
    container->pendings[oldest].pid = pid;
}

static void forget_pendings(struct container *container, int32_t tid) {
    for (int i = 0; i < PENDINGS; i++)
        if (container->pendings[i].tid == tid) container->pendings[i].pid = 0;
}

// MARK: Sums

static int by_locked(const void *a, const void *b) {
    const struct process *left = a, *right = b;
    return left->locked < right->locked ? -1 : left->locked > right->locked;
}

/// The sum of what all are to have at least, each address space once; `holders`: how many there are.
static int64_t sum(struct process *list, int count, int *holders) {
    int64_t total = 0;
    *holders = 0;
    for (int i = 0; i < count; i++) {
        if (!list[i].is_holder) continue;
        (*holders)++;
        total += list[i].floor;
        // Sorted, so that processes with the same memory are neighbours; a few looks back do.
        for (int j = i - 1; j >= 0 && j >= i - 8 && list[j].locked == list[i].locked && list[i].locked > 0; j--) {
            if (!list[j].is_holder || syscall(SYS_kcmp, list[i].pid, list[j].pid, KCMP_VM, 0, 0) != 0) continue;
            total -= list[i].floor < list[j].floor ? list[i].floor : list[j].floor;
            break;
        }
    }
    return total;
}

struct look { struct process *list; int count, holders; int64_t total; };

static bool look_at(struct container *container, struct look *look) {
    look->count = list_processes(container->group, &look->list);
    if (look->count < 0) return false;
    for (int i = 0; i < look->count; i++) {
        struct process *process = &look->list[i];
        if (!read_limit(container, process)) process->locked = 0;
        int64_t target = pending_target(container, process);
        process->floor = process->locked > target ? process->locked : target;
        process->is_holder = process->floor > 0 || is_future(container, process);
    }
    qsort(look->list, look->count, sizeof *look->list, by_locked);
    look->total = sum(look->list, look->count, &look->holders);
    return true;
}

static void note_held(struct container *container, struct counter *counter, int64_t held) {
    container->last_held = held;
    if (!container->counts) return;
    counter->held = held;
    if (held > counter->maxheld) counter->maxheld = held;
}

static int64_t share(int64_t barrier, const struct look *look, int64_t asked) {
    int64_t left = barrier - look->total - asked;
    if (barrier >= UNBOUND) return UNBOUND;
    return left > 0 && look->holders > 0 ? left / look->holders : 0;
}

static int64_t wanted(const struct process *process, int64_t barrier, int64_t part) {
    return process->is_holder && barrier < UNBOUND ? process->floor + part : barrier;
}

/// Lowers the limits that are to be less. True when somebody had locked more meanwhile: then it is all to be reckoned anew.
static bool lower(const struct container *container, struct look *look, int64_t barrier, int64_t part) {
    bool has_changed = false;
    for (int i = 0; i < look->count; i++) {
        struct process *process = &look->list[i], now;
        if (!set_limit(container, process, wanted(process, barrier, part), false) || !process->is_holder) continue;
        if (read_process(process->tid, &now) && now.locked > process->floor) {
            process->floor = process->locked = now.locked;
            has_changed = true;
        }
    }
    return has_changed;
}

/// Gives each holder what it has, and an equal part of what is left beside `asked`. False when that much is not left.
static bool distribute(const struct container *container, struct look *look, int64_t barrier, int64_t asked) {
    for (int tries = 0; tries < 4; tries++) {
        if (asked && look->total + asked > barrier) return false;
        int64_t part = share(barrier, look, asked);
        if (lower(container, look, barrier, part)) {
            look->total = sum(look->list, look->count, &look->holders);
            continue;
        }
        for (int i = 0; i < look->count; i++) set_limit(container, &look->list[i], wanted(&look->list[i], barrier, part), true);
        return true;
    }
    return false;
}

void rebalance(struct container *container, struct counter *counter) {
    struct look look;
    if (!look_at(container, &look)) return;
    container->seen_barrier = counter->barrier;
    note_held(container, counter, look.total);
    distribute(container, &look, counter->barrier >= UNBOUND ? UNBOUND : counter->barrier, 0);
}

// MARK: Questions

/// Whether what is asked for is within what the caller was given already.
static bool is_within(const struct container *container, const struct counter *counter, const struct process *caller, int64_t pages) {
    return caller->locked > 0 && counter->barrier == container->seen_barrier && counter->barrier < UNBOUND
           && caller->soft % PAGE == VZ_KEEPER_MARK && caller->locked + pages <= (int64_t)(caller->soft / PAGE);
}

static struct answer allow(
    struct container *container, struct counter *counter, struct process *caller, struct wish wish, int64_t barrier) {
    struct answer refused = {.error = ENOMEM, .is_refused = true}, failed = {.error = ENOMEM}, allowed = {0};
    struct look look;
    if (wish.is_open && !note_future(container, caller) && barrier < UNBOUND) return refused;
    container->seen_barrier = counter->barrier;
    if (barrier >= UNBOUND) {
        set_limit(container, caller, UNBOUND, true);
        // It is counted when somebody asks, or in a while.
        if (!container->last_held) container->last_held = 1;
        return allowed;
    }
    if (!look_at(container, &look)) return failed;
    struct process *entry = NULL;
    for (int i = 0; i < look.count; i++)
        if (look.list[i].pid == caller->pid) entry = &look.list[i];
    if (!entry) return failed;
    entry->is_holder = true;
    look.total = sum(look.list, look.count, &look.holders);
    int64_t pages = wish.all ? (entry->size > entry->floor ? entry->size - entry->floor : 0) : wish.pages;
    note_held(container, counter, look.total);
    if (pages < 0 || look.total > barrier || pages > barrier - look.total || !distribute(container, &look, barrier, pages)) return refused;
    // Without a single page the kernel would say that it is not permitted.
    if (entry->floor + pages + share(barrier, &look, pages) == 0) return refused;
    int64_t target = entry->floor + pages;
    set_limit(container, entry, target + share(barrier, &look, pages), true);
    if (pages > 0) note_pending(container, entry->pid, caller->tid, target);
    note_held(container, counter, look.total + pages);
    return allowed;
}

struct answer decide(struct container *container, struct counter *counter, const struct seccomp_notif *question) {
    struct wish wish = wish_of(&question->data);
    int64_t barrier = counter->barrier >= UNBOUND ? UNBOUND : counter->barrier;
    struct process caller = {0};
    // The kernel sees to it that none is raised, or it stays what we made it.
    if (wish.is_limit) return (struct answer){.error = may_raise || !wish.wants_old ? 0 : EPERM, .is_done = !may_raise};
    // The one that asks is stopped in its call, so that its number is its own as long as the question stands.
    if (!read_process(question->pid, &caller) || !read_limit(container, &caller)) return (struct answer){.error = ENOMEM};
    forget_pendings(container, question->pid);
    caller.tid = question->pid;
    if (wish.is_shared) return (struct answer){.error = barrier >= UNBOUND ? 0 : ENOMEM, .is_refused = barrier < UNBOUND};
    if (!wish.is_open && !wish.all && is_within(container, counter, &caller, wish.pages)) return (struct answer){0};
    return allow(container, counter, &caller, wish, barrier);
}
