// vz-keeper: one small process on a node that is asked whenever a program in a container wants to lock memory. The kernel holds these calls
// (seccomp_unotify(2)) until it has answered.
//
// Each process of a container that holds locked pages is given, as its RLIMIT_MEMLOCK, what it holds and its share of what the barrier
// leaves. So the kernel itself refuses what nobody is asked about: memory mapped under MCL_FUTURE, mremap of what is locked, a stack.
// The sum of these limits never passes the barrier.
//
// A filter without a listener answers ENOSYS to every program. Therefore there is a second process, the spare, that shares the table of
// open files and does nothing but wait for the first to end; then it takes its place. What has to be known for that is in memory that both
// have, also the question that is being answered.
#ifndef KEEPER_H
#define KEEPER_H

#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { CONTAINERS = 4096, LISTENERS = 65536, FUTURES = 64, PENDINGS = 16 };
/// More than this is no bound at all, pages.
#define UNBOUND (1LL << 50)

/// struct vz_counter of the table of beancounters (vz_beancounters.h).
struct counter { int64_t held, maxheld, barrier, limit, failcnt; };

struct container {
    uint32_t ctid, listeners;
    int table, group;
    uint64_t counter;
    uint32_t counts, owner;
    int64_t last_held, seen_barrier;
    /// Until when none of its questions is taken, us; 0: they are.
    int64_t rests_until;
    /// Processes whose every new page will be locked, also while they hold none; 0: none.
    struct { int32_t pid; uint64_t start; } futures[FUTURES];
    /// What was allowed and may not have been done yet: `target` is what the process will hold.
    struct { int32_t pid, tid; int64_t target, until; } pendings[PENDINGS];
};

struct listener { int fd; uint32_t container; };

/// What the spare takes over.
struct state {
    /// The question that is being answered; its id is 0 when there is none.
    union { struct seccomp_notif notif; char room[1024]; } question;
    int32_t asked;
    uint32_t listeners;
    /// How many places of either table were ever used: those behind them take no memory.
    uint32_t used_listeners, used_containers;
    struct listener listener[LISTENERS];
    struct container container[CONTAINERS];
};

/// A process of a container.
struct process {
    int32_t pid;
    /// Which thread of it has its memory: another when the first has ended.
    int32_t tid;
    int64_t locked, size, floor;
    bool is_holder;
    uint64_t soft, hard;
};

/// `is_done`: the call answers 0, and is not made.
struct answer { int error; bool is_refused, is_done; };

/// Decides about a question of a container; before it allows, the caller's limit is set. `counter` is mapped.
struct answer decide(struct container *container, struct counter *counter, const struct seccomp_notif *question);
/// Whether limits can be raised here (CAP_SYS_RESOURCE). Else they are held by the soft limit alone, which programs are kept from setting.
extern bool may_raise;
/// Shares what the barrier leaves anew.
void rebalance(struct container *container, struct counter *counter);

/// proc.c. One read of /proc/PID/status; false when it has ended. `pid` becomes that of its process.
bool read_process(int32_t tid, struct process *process);
uint64_t start_time(int32_t pid);
/// All processes of a control group and of those below it: how many, -1 with errno.
int list_processes(int group, struct process **list);
int64_t now_us(void);

#endif
