// memory.h - privvmpages, lockedpages (counted), and the gate of kmemsize at fork.
//
// privvmpages is the address space that may need RAM or swap: what the kernel itself calls data and stack of each address space. It is
// taken over from there after each call that changes it; in between, what vm_enough_memory was asked for is added.
#ifndef VZ_MEMORY_H
#define VZ_MEMORY_H

struct counted_memory {
    __u32 slot;
    __u32 use;
    long private_pages, locked_pages;
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1 << 18);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, __u64);
    __type(value, struct counted_memory);
} counted_memories SEC(".maps");

INLINE void move(struct vz_counter *counter, long from, long to)
{
    if (to > from)
        force(counter, to - from);
    else if (to < from)
        uncharge(counter, from - to);
}

/// Takes over what an address space's own counters say. - Parameter number: the slot of one that is not known yet; 0: leave it so.
INLINE struct counted_memory *look_at_memory(struct mm_struct *mm, __u32 number)
{
    __u64 key = (__u64)mm;
    struct counted_memory *memory = bpf_map_lookup_elem(&counted_memories, &key);
    if (!memory) {
        struct vz_slot *slot = slot_at(number);
        if (!slot || !in_force())
            return 0;
        struct counted_memory fresh = {.slot = number, .use = use_of(slot)};
        bpf_map_update_elem(&counted_memories, &key, &fresh, BPF_NOEXIST);
        memory = bpf_map_lookup_elem(&counted_memories, &key);
        if (!memory)
            return 0;
    }
    struct vz_slot *slot = slot_still_of(memory->slot, memory->use);
    if (!slot)
        return 0;
    long private_pages = mm->data_vm + mm->stack_vm;
    long locked_pages = mm->locked_vm;
    if (private_pages != memory->private_pages)
        move(&slot->counters[VZ_PRIVVMPAGES], __sync_lock_test_and_set(&memory->private_pages, private_pages), private_pages);
    if (locked_pages != memory->locked_pages)
        move(&slot->counters[VZ_LOCKEDPAGES], __sync_lock_test_and_set(&memory->locked_pages, locked_pages), locked_pages);
    return memory;
}

// At the function, in either tier: a program at the LSM hook of this name could not refuse, and the kernel takes none.
SEC("fmod_ret/security_vm_enough_memory_mm")
int BPF_PROG(before_vm_enough_memory, struct mm_struct *mm, long pages)
{
    __u32 number = slot_number_of_current();
    struct vz_slot *slot = slot_at(number);
    if (!slot || !mm || !in_force())
        return 0;
    struct counted_memory *memory = look_at_memory(mm, number);
    if (!memory)
        return 0;
    struct vz_counter *counter = &slot->counters[VZ_PRIVVMPAGES];
    if (counter->held + pages > counter->barrier) {
        refuse(counter);
        return -ENOMEM;
    }
    __sync_fetch_and_add(&memory->private_pages, pages);
    force(counter, pages);
    return 0;
}

INLINE int look_at_own_memory(void)
{
    __u32 number = slot_number_of_current();
    struct mm_struct *mm = number ? bpf_get_current_task_btf()->mm : 0;
    if (mm)
        look_at_memory(mm, number);
    return 0;
}

#define LOOK_AFTER_CALL(call)                                                                                                  \
    SEC("fexit/__x64_sys_" #call)                                                                                              \
    int BPF_PROG(after_##call) { return look_at_own_memory(); }

LOOK_AFTER_CALL(mmap)
LOOK_AFTER_CALL(munmap)
LOOK_AFTER_CALL(mremap)
LOOK_AFTER_CALL(brk)
LOOK_AFTER_CALL(mlock)
LOOK_AFTER_CALL(mlock2)
LOOK_AFTER_CALL(munlock)
LOOK_AFTER_CALL(mlockall)
LOOK_AFTER_CALL(munlockall)

SEC("tp_btf/sched_process_fork")
int BPF_PROG(after_fork, struct task_struct *parent, struct task_struct *child)
{
    if (!parent || !child)
        return 0;
    __u32 number = slot_number(child->cred->user_ns);
    if (!number)
        return 0;
    struct mm_struct *mm = child->mm, *parents = parent->mm;
    if (mm && mm != parents) {
        look_at_memory(mm, number);
        if (parents)
            look_at_memory(parents, 0);
    }
    return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(after_exec, struct task_struct *task)
{
    if (!task)
        return 0;
    __u32 number = slot_number(task->cred->user_ns);
    struct mm_struct *mm = number ? task->mm : 0;
    if (mm)
        look_at_memory(mm, number);
    return 0;
}

SEC("fentry/exit_mmap")
int BPF_PROG(before_exit_mmap, struct mm_struct *mm)
{
    __u64 key = (__u64)mm;
    struct counted_memory *memory = bpf_map_lookup_elem(&counted_memories, &key);
    if (!memory)
        return 0;
    struct vz_slot *slot = slot_still_of(memory->slot, memory->use);
    long private_pages = memory->private_pages, locked_pages = memory->locked_pages;
    if (bpf_map_delete_elem(&counted_memories, &key) || !slot)
        return 0;
    move(&slot->counters[VZ_PRIVVMPAGES], private_pages, 0);
    move(&slot->counters[VZ_LOCKEDPAGES], locked_pages, 0);
    return 0;
}

SEC("fmod_ret/security_task_alloc")
int BPF_PROG(task_alloc, struct task_struct *task, unsigned long clone_flags)
{
    struct vz_slot *slot = charged_current();
    return slot && kernel_memory_is_short(slot) ? -ENOMEM : 0;
}

#endif
