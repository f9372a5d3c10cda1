// ptys.h - numpty: pseudo-terminals. The file system devpts that a container is given has the bound (max=), and refuses: ENOSPC. Here they
// are counted, and a container with a bound is kept from mounting another devpts, which would have none: EPERM.
#ifndef VZ_PTYS_H
#define VZ_PTYS_H

enum { DEVPTS_SUPER_MAGIC = 0x1cd1 };

struct counted_ptys {
    __u32 slot;
    __u32 use;
    __s64 count;
};

/// By the instance of devpts.
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1 << 16);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, __u64);
    __type(value, struct counted_ptys);
} counted_ptys SEC(".maps");

SEC("fexit/devpts_new_index")
int BPF_PROG(after_devpts_new_index, void *instance, int index)
{
    __u32 number = slot_number_of_current();
    struct vz_slot *slot = slot_at(number);
    if (!slot || !in_force())
        return 0;
    struct vz_counter *counter = &slot->counters[VZ_NUMPTY];
    if (index < 0) {
        refuse(counter);
        return 0;
    }
    __u64 key = (__u64)instance;
    struct counted_ptys first = {.slot = number, .use = use_of(slot)};
    bpf_map_update_elem(&counted_ptys, &key, &first, BPF_NOEXIST);
    struct counted_ptys *ptys = bpf_map_lookup_elem(&counted_ptys, &key);
    if (!ptys || ptys->slot != number)
        return 0;
    __sync_fetch_and_add(&ptys->count, 1);
    force(counter, 1);
    return 0;
}

SEC("fentry/devpts_kill_index")
int BPF_PROG(before_devpts_kill_index, void *instance, int index)
{
    __u64 key = (__u64)instance;
    struct counted_ptys *ptys = bpf_map_lookup_elem(&counted_ptys, &key);
    if (!ptys)
        return 0;
    struct vz_slot *slot = slot_still_of(ptys->slot, ptys->use);
    __s64 left = __sync_fetch_and_add(&ptys->count, -1) - 1;
    if (slot)
        uncharge(&slot->counters[VZ_NUMPTY], 1);
    if (left <= 0)
        bpf_map_delete_elem(&counted_ptys, &key);
    return 0;
}

SEC("fmod_ret/security_sb_kern_mount")
int BPF_PROG(sb_kern_mount, struct super_block *sb)
{
    if (sb->s_magic != DEVPTS_SUPER_MAGIC)
        return 0;
    struct vz_slot *slot = charged_current();
    if (!slot || slot->counters[VZ_NUMPTY].barrier == __INT64_MAX__)
        return 0;
    refuse(&slot->counters[VZ_NUMPTY]);
    return -EPERM;
}

#endif
