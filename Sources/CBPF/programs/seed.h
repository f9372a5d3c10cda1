// seed.h - what a container had before it was counted: the files, sockets, locks and address spaces of processes that run.
//
// Loaded by itself, for one slot, read once while its processes stand still, and let go again. The iterators print nothing.
#ifndef VZ_SEED_H
#define VZ_SEED_H

/// Several descriptors may name one open file.
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1 << 20);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, __u64);
    __type(value, __u32);
} seen_files SEC(".maps");

INLINE void seed_locks(struct file *file, struct files_struct *files)
{
    struct inode *inode = BPF_CORE_READ(file, f_inode);
    struct file_lock_context *context = BPF_CORE_READ(inode, i_flctx);
    if (!context)
        return;
    struct lock_owner of_file = {.a = (__u64)file}, of_process = {.a = (__u64)inode, .b = (__u64)files};
    struct list_head *flocks = (void *)context + bpf_core_field_offset(struct file_lock_context, flc_flock);
    int count = count_locks(flocks, (__u64)file, true);
    if (count)
        set_locks(&of_file, 1, config.slot);
    count = count_locks(posix_locks(context), (__u64)files, false);
    if (count)
        set_locks(&of_process, count, config.slot);
}

SEC("iter/task_file")
int seed_files(struct bpf_iter__task_file *context)
{
    struct file *file = context->file;
    struct task_struct *task = context->task;
    struct vz_slot *slot = slot_at(config.slot);
    if (!file || !task || !slot || slot_number(file->f_cred->user_ns) != config.slot)
        return 0;
    __u64 key = (__u64)file;
    __u32 seen = 1;
    if (!bpf_map_update_elem(&seen_files, &key, &seen, BPF_NOEXIST))
        force(&slot->counters[VZ_NUMFILE], 1);
    struct socket *socket = bpf_sock_from_file(file);
    struct sock *sk = socket ? socket->sk : 0;
    if (sk) {
        force_socket(config.slot, slot, sk, is_tcp(sk->__sk_common.skc_family, sk->sk_type));
        look_at_socket(sk, 0);
    }
    seed_locks(file, task->files);
    return 0;
}

SEC("iter/task")
int seed_memory(struct bpf_iter__task *context)
{
    struct task_struct *task = context->task;
    struct mm_struct *mm = task ? task->mm : 0;
    if (mm && slot_number(task->cred->user_ns) == config.slot)
        look_at_memory(mm, config.slot);
    return 0;
}

#endif
