// slots.h - the table of beancounters: one slot for each container, which user space maps into its memory; who is charged; and how.
//
// include/vz_beancounters.h has the same layout for user space.
#ifndef VZ_SLOTS_H
#define VZ_SLOTS_H

#include "../include/vz_beancounters.h"

/// What user space says when it loads the programs.
const volatile struct vz_bpf_config config SEC(".rodata.config");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, VZ_SLOTS);
    __uint(map_flags, BPF_F_MMAPABLE);
    __type(key, __u32);
    __type(value, struct vz_slot);
} slots SEC(".maps");

/// The number of a container's user namespace (its inode in nsfs) → its slot.
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, VZ_SLOTS);
    __type(key, __u32);
    __type(value, struct vz_place);
} slot_of_userns SEC(".maps");

#define INLINE static __always_inline

enum { NEAR = 4096 };

/// What was found in slot_of_userns last, by the low bits of the namespace's number: the way there costs a third of a look into a hash
/// table, and each open file needs it twice.
struct near_slot {
    /// The number of the user namespace, and above it its owner.
    __u64 who;
    __u64 slot;
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, NEAR);
    __type(key, __u32);
    __type(value, struct near_slot);
} near_slots SEC(".maps");

/// The slot of a container's own user namespace; 0: it is none of ours.
INLINE __u32 find_slot(struct user_namespace *ns)
{
    __u32 userns = ns->ns.inum, owner = ns->owner.val, place = userns % NEAR;
    __u64 who = (__u64)owner << 32 | userns;
    struct near_slot *near = bpf_map_lookup_elem(&near_slots, &place);
    if (near && near->who == who) {
        // Two who write it at once may leave halves of both, and it may be of a container that has ended: then the slot is another's.
        __u32 number = near->slot;
        struct vz_slot *slot = bpf_map_lookup_elem(&slots, &number);
        if (slot && (__u32)slot->userns == userns)
            return number;
    }
    struct vz_place *found = bpf_map_lookup_elem(&slot_of_userns, &userns);
    if (!found || found->owner != owner)
        return 0;
    if (near) {
        near->slot = found->slot;
        near->who = who;
    }
    return found->slot;
}

/// The slot that a user namespace, or one nested in it, is charged to; 0 for the host, and for what is none of ours.
///
/// A process can leave its control group, but never the user namespace that it was born into. Processes of the host are done after
/// one comparison: theirs has level 0.
INLINE __u32 slot_number(struct user_namespace *ns)
{
    for (int i = 0; i < 8; i++) {
        if (!ns)
            return 0;
        int level = ns->level;
        if (level < config.level)
            return 0;
        if (level == config.level)
            return find_slot(ns);
        ns = ns->parent;
    }
    return 0;
}

INLINE __u32 slot_number_of_current(void)
{
    struct task_struct *task = bpf_get_current_task_btf();
    return slot_number(task->cred->user_ns);
}

INLINE struct vz_slot *slot_at(__u32 number)
{
    return number ? bpf_map_lookup_elem(&slots, &number) : 0;
}

/// The same of something that was counted for a user namespace; 0 when the slot is another's by now.
/// By what a slot's use for one container is told from each other one: numbers of namespaces come again.
INLINE __u32 use_of(struct vz_slot *slot)
{
    __u64 word = slot->userns;
    __u32 use = word >> 32;
    return use ? use : (__u32)word;
}

INLINE struct vz_slot *slot_still_of(__u32 number, __u32 use)
{
    struct vz_slot *slot = slot_at(number);
    return slot && use_of(slot) == use ? slot : 0;
}

/// Whether these programs are those in force. While newer ones take over, both are attached, and the word in slot 0 says whose turn
/// it is: no event is missed, and none is counted twice.
INLINE bool in_force(void)
{
    __u32 zero = 0;
    struct vz_slot *head = bpf_map_lookup_elem(&slots, &zero);
    return head && head->userns == config.version;
}

/// The slot to charge, when it is these programs' turn; 0: nobody.
INLINE struct vz_slot *charged(struct user_namespace *ns)
{
    struct vz_slot *slot = slot_at(slot_number(ns));
    return slot && in_force() ? slot : 0;
}

INLINE struct vz_slot *charged_current(void)
{
    struct task_struct *task = bpf_get_current_task_btf();
    return charged(task->cred->user_ns);
}

INLINE void refuse(struct vz_counter *counter)
{
    __sync_fetch_and_add(&counter->failcnt, 1);
}

/// Adds n > 0, or takes away. Never fails.
INLINE void force(struct vz_counter *counter, __s64 n)
{
    __s64 held = __sync_fetch_and_add(&counter->held, n) + n;
    if (held > counter->maxheld)
        counter->maxheld = held;
}

/// Takes n away; never below nothing: what began before it was counted may end after.
INLINE void uncharge(struct vz_counter *counter, __s64 n)
{
    __s64 held = __sync_fetch_and_add(&counter->held, -n) - n;
    if (held < 0)
        __sync_fetch_and_add(&counter->held, held < -n ? n : -held);
}

/// Adds n. False when there is more than `bound` by now; it stays added, for the caller to take back where the kernel does not end
/// what was refused in a way that takes it back.
INLINE bool charge(struct vz_counter *counter, __s64 n, __s64 bound)
{
    __s64 held = __sync_fetch_and_add(&counter->held, n) + n;
    if (held > bound) {
        refuse(counter);
        return false;
    }
    if (held > counter->maxheld)
        counter->maxheld = held;
    return true;
}

#endif
