// seed.h - what a container had before it was counted: the files, sockets, locks and address spaces of processes that run.
//
// Loaded by itself, for one slot, read once while its processes stand still, and let go again. The iterators print nothing.
#ifndef VZ_SEED_H
#define VZ_SEED_H

/// What was met already: several descriptors may name one open file, and several processes one of anything.
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1 << 20);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, __u64);
    __type(value, __u32);
} seen_files SEC(".maps");

INLINE bool is_first(__u64 key)
{
    __u32 seen = 1;
    return !bpf_map_update_elem(&seen_files, &key, &seen, BPF_NOEXIST);
}

/// What was counted for somebody before is counted anew.
INLINE void seed_locks_of(struct lock_owner *owner, int count)
{
    // To the verifier these are pointers, with which it lets nobody reckon.
    struct lock_owner numbers = {};
    bpf_probe_read_kernel(&numbers, sizeof numbers, owner);
    if (!count || !is_first(numbers.a + 31 * numbers.b + 1))
        return;
    bpf_map_delete_elem(&counted_locks, owner);
    set_locks(owner, count, config.slot);
}

INLINE void seed_locks(struct file *file, struct files_struct *files)
{
    struct inode *inode = BPF_CORE_READ(file, f_inode);
    struct file_lock_context *context = BPF_CORE_READ(inode, i_flctx);
    if (!context)
        return;
    struct lock_owner of_file = {.a = (__u64)file}, of_process = {.a = (__u64)inode, .b = (__u64)files};
    struct list_head *flocks = (void *)context + bpf_core_field_offset(struct file_lock_context, flc_flock);
    seed_locks_of(&of_file, count_locks(flocks, (__u64)file, true));
    seed_locks_of(&of_process, count_locks(posix_locks(context), (__u64)files, false));
}

SEC("iter/task_file")
int seed_files(struct bpf_iter__task_file *context)
{
    struct file *file = context->file;
    struct task_struct *task = context->task;
    struct vz_slot *slot = slot_at(config.slot);
    if (!file || !task || !slot || slot_number(file->f_cred->user_ns) != config.slot)
        return 0;
    if (is_first((__u64)file)) {
        force(&slot->counters[VZ_NUMFILE], 1);
        struct socket *socket = bpf_sock_from_file(file);
        struct sock *sk = socket ? socket->sk : 0;
        if (sk) {
            __u64 key = (__u64)sk;
            bpf_map_delete_elem(&counted_sockets, &key);
            force_socket(config.slot, slot, sk, is_tcp(sk->__sk_common.skc_family, sk->sk_type));
            look_at_socket(sk, 0);
        }
    }
    seed_locks(file, task->files);
    return 0;
}

SEC("iter/task")
int seed_memory(struct bpf_iter__task *context)
{
    struct task_struct *task = context->task;
    struct mm_struct *mm = task ? task->mm : 0;
    __u64 key = (__u64)mm;
    if (!mm || slot_number(task->cred->user_ns) != config.slot || !is_first(key))
        return 0;
    bpf_map_delete_elem(&counted_memories, &key);
    look_at_memory(mm, config.slot);
    return 0;
}

#endif
