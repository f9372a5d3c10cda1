// samples.h - what the kernel counts itself: read when somebody asks, never charged.
#ifndef VZ_SAMPLES_H
#define VZ_SAMPLES_H

enum { PAGE_SIZE = 4096 };

/// Where the sums of a memory control group's statistics stand, by their number; since 6.11 those that are kept are packed.
extern const void mem_cgroup_stats_index __ksym __weak;

/// A control group of a process at a given depth: the container's, from whichever group below it the process is in. 0: there is none.
INLINE struct cgroup_subsys_state *group_state(struct task_struct *task, __u64 controller, __u32 depth)
{
    struct css_set *set = BPF_CORE_READ(task, cgroups);
    struct cgroup_subsys_state *state = 0;
    if (!set || controller >= 16)
        return 0;
    bpf_probe_read_kernel(
        &state, sizeof state, (void *)set + bpf_core_field_offset(struct css_set, subsys) + controller * sizeof(void *));
    for (int i = 0; i < 8 && state; i++) {
        int level = BPF_CORE_READ(state, cgroup, level);
        if (level <= (int)depth)
            return level == (int)depth ? state : 0;
        state = BPF_CORE_READ(state, parent);
    }
    return 0;
}

/// One of a memory control group's statistics, as the kernel summed it up last (at most 2 s ago); negative when it cannot be read.
INLINE __s64 memory_statistic(struct mem_cgroup *group, __u64 item)
{
    struct memcg_vmstats *all = BPF_CORE_READ(group, vmstats);
    __s64 value = -1;
    if (!all || item >= 256)
        return -1;
    if (&mem_cgroup_stats_index) {
        __s8 packed = -1;
        bpf_probe_read_kernel(&packed, sizeof packed, (const void *)&mem_cgroup_stats_index + item);
        if (packed < 0)
            return -1;
        item = packed;
    }
    bpf_probe_read_kernel(
        &value, sizeof value, (void *)all + bpf_core_field_offset(struct memcg_vmstats, state) + item * sizeof(long));
    return value;
}

/// Kernel memory of a memory control group, bytes; negative when it cannot be read.
INLINE __s64 kernel_memory_of(struct mem_cgroup *group)
{
    // v1 counts it apart, exactly; v2 among its statistics.
    __s64 pages = config.memory_v1 ? BPF_CORE_READ(group, kmem.usage.counter)
                                   : memory_statistic(group, bpf_core_enum_value(enum memcg_stat_item, MEMCG_KMEM));
    return pages < 0 ? -1 : pages * PAGE_SIZE;
}

/// Whether the container has more kernel memory than its barrier of kmemsize allows. The kernel has no limit of its own for it: things
/// that take much of it are refused from then on.
INLINE bool kernel_memory_is_short(struct vz_slot *slot)
{
    struct vz_counter *counter = &slot->counters[VZ_KMEMSIZE];
    if (counter->barrier == __INT64_MAX__)
        return false;
    __u64 controller = bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id);
    struct mem_cgroup *group = (void *)group_state(bpf_get_current_task_btf(), controller, slot->depth);
    __s64 held = group ? kernel_memory_of(group) : -1;
    if (held < 0)
        return false;
    counter->held = held;
    if (held > counter->barrier) {
        refuse(counter);
        return true;
    }
    if (held > counter->maxheld)
        counter->maxheld = held;
    return false;
}

#endif
