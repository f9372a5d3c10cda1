// locks.h - numflock: locks of files, flock(2) and fcntl(2). Hard at the barrier: ENOLCK; taking away, even by splitting, never fails.
//
// The kernel's functions that make and free locks are inlined in the one file that they are in, so that there is nothing to stand at but the two
// tracepoints at the end of each operation; the unlock that close(2) implies ends there as well. What an owner has of one file is
// counted in the kernel's own list then.
#ifndef VZ_LOCKS_H
#define VZ_LOCKS_H

/// flock: a, the open file. fcntl: a, the inode; b, the owner.
struct lock_owner {
    __u64 a, b;
};

struct held_locks {
    __u32 slot;
    __u32 use;
    int count;
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1 << 18);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct lock_owner);
    __type(value, struct held_locks);
} counted_locks SEC(".maps");

/// Takes over how many locks an owner has of a file. - Parameter number: the slot of an owner that is not known yet.
INLINE void set_locks(struct lock_owner *owner, int count, __u32 number)
{
    struct held_locks *held = bpf_map_lookup_elem(&counted_locks, owner);
    if (held) {
        struct vz_slot *slot = slot_still_of(held->slot, held->use);
        int before = __sync_lock_test_and_set(&held->count, count);
        if (slot && count > before)
            force(&slot->counters[VZ_NUMFLOCK], count - before);
        if (slot && count < before)
            uncharge(&slot->counters[VZ_NUMFLOCK], before - count);
        if (!count)
            bpf_map_delete_elem(&counted_locks, owner);
    } else if (count) {
        struct vz_slot *slot = slot_at(number);
        struct held_locks locks = {.slot = number, .use = slot ? use_of(slot) : 0, .count = count};
        if (slot && !bpf_map_update_elem(&counted_locks, owner, &locks, BPF_NOEXIST))
            force(&slot->counters[VZ_NUMFLOCK], count);
    }
}

struct lock_request {
    __u64 owner, file;
    unsigned char type;
};

INLINE struct lock_request read_lock(struct file_lock *now)
{
    struct lock_request request = {};
    if (bpf_core_field_exists(struct file_lock, c)) {
        request.owner = (__u64)now->c.flc_owner;
        request.file = (__u64)now->c.flc_file;
        request.type = now->c.flc_type;
    } else {
        struct file_lock___flat *then = (void *)now;
        request.owner = (__u64)then->fl_owner;
        request.file = (__u64)then->fl_file;
        request.type = then->fl_type;
    }
    return request;
}

SEC("tp_btf/flock_lock_inode")
int BPF_PROG(after_flock, struct inode *inode, struct file_lock *lock, int error)
{
    // Newer kernels take the arguments of tracepoints for possibly null.
    if (!inode || !lock)
        return 0;
    struct lock_request request = read_lock(lock);
    struct lock_owner owner = {.a = request.file};
    if (!in_force())
        return 0;
    if (request.type == F_UNLCK)
        set_locks(&owner, 0, 0);
    else if (!error)
        set_locks(&owner, 1, slot_number_of_current());
    return 0;
}

struct lock_walk {
    __u64 at, head, wanted;
    /// From a lock's place in the list to what is compared.
    long offset;
    int count;
};

static int count_lock(__u32 i, struct lock_walk *walk)
{
    if (!walk->at || walk->at == walk->head)
        return 1;
    __u64 found = 0;
    bpf_probe_read_kernel(&found, sizeof found, (void *)(walk->at + walk->offset));
    if (found == walk->wanted)
        walk->count++;
    return bpf_probe_read_kernel(&walk->at, sizeof walk->at, (void *)walk->at) ? 1 : 0;
}

/// Counts the locks of a kernel's list that belong to an owner, or, with `by_file`, that were made through an open file.
INLINE int count_locks(struct list_head *head, __u64 wanted, bool by_file)
{
    long list, field;
    if (bpf_core_field_exists(struct file_lock, c)) {
        list = bpf_core_field_offset(struct file_lock_core, flc_list);
        field = by_file ? bpf_core_field_offset(struct file_lock_core, flc_file)
                        : bpf_core_field_offset(struct file_lock_core, flc_owner);
    } else {
        list = bpf_core_field_offset(struct file_lock___flat, fl_list);
        field = by_file ? bpf_core_field_offset(struct file_lock___flat, fl_file)
                        : bpf_core_field_offset(struct file_lock___flat, fl_owner);
    }
    struct lock_walk walk = {.head = (__u64)head, .wanted = wanted, .offset = field - list};
    bpf_probe_read_kernel(&walk.at, sizeof walk.at, head);
    // An ordinary loop of this length is more than a verifier follows.
    bpf_loop(65536, count_lock, &walk, 0);
    // Read anew by a helper: a branch on walk.count itself would have the verifier follow each of its values.
    int count = 0;
    bpf_probe_read_kernel(&count, sizeof count, &walk.count);
    return count;
}

INLINE struct list_head *posix_locks(struct file_lock_context *context)
{
    return (void *)context + bpf_core_field_offset(struct file_lock_context, flc_posix);
}

SEC("tp_btf/posix_lock_inode")
int BPF_PROG(after_posix_lock, struct inode *inode, struct file_lock *lock, int error)
{
    if (!inode || !lock)
        return 0;
    struct lock_request request = read_lock(lock);
    struct lock_owner owner = {.a = (__u64)inode, .b = request.owner};
    __u32 number = slot_number_of_current();
    // Of the host, mostly: nothing known of the owner, and nothing to be.
    if (!bpf_map_lookup_elem(&counted_locks, &owner) && (request.type == F_UNLCK || !number))
        return 0;
    struct file_lock_context *context = BPF_CORE_READ(inode, i_flctx);
    if (context && in_force())
        set_locks(&owner, count_locks(posix_locks(context), request.owner, false), number);
    return 0;
}

SEC("fmod_ret/security_file_lock")
int BPF_PROG(file_lock, struct file *file, unsigned int cmd)
{
    struct vz_slot *slot = cmd == F_UNLCK ? 0 : charged_current();
    if (!slot)
        return 0;
    struct vz_counter *counter = &slot->counters[VZ_NUMFLOCK];
    if (counter->held < counter->barrier)
        return 0;
    refuse(counter);
    return -ENOLCK;
}

#endif
