// report.h - /proc/user_beancounters as OpenVZ had it (version 2.5), of the kernel's own making: a file in bpffs, whose text is made
// when it is read, with or without vzd. From inside a container only its own lines are seen.
#ifndef VZ_REPORT_H
#define VZ_REPORT_H

/// Process 1 of a container: the one whose number in the pid namespace below the host's is 1. One that has ended and that nobody has
/// waited for yet is none: its address space is gone.
INLINE bool is_process_one(struct task_struct *task)
{
    if (task->pid != task->tgid || !task->mm)
        return false;
    struct pid *pid = BPF_CORE_READ(task, thread_pid);
    int number = 0;
    if (!pid || (int)BPF_CORE_READ(pid, level) != config.level)
        return false;
    bpf_probe_read_kernel(
        &number, sizeof number,
        (void *)pid + bpf_core_field_offset(struct pid, numbers) + config.level * bpf_core_type_size(struct upid));
    return number == 1;
}

INLINE void take(struct vz_counter *counter, __s64 held)
{
    if (held < 0)
        return;
    counter->held = held;
    if (held > counter->maxheld)
        counter->maxheld = held;
}

INLINE __s64 memory_events(struct mem_cgroup *group, __u64 event)
{
    __s64 count = 0;
    if (event < 16)
        bpf_probe_read_kernel(
            &count, sizeof count, (void *)group + bpf_core_field_offset(struct mem_cgroup, memory_events) + event * sizeof(long));
    return count;
}

/// Takes over what the kernel counts for the container's control groups, which process 1 is in.
INLINE void take_samples(struct task_struct *task, struct vz_slot *slot)
{
    struct vz_counter *c = slot->counters;
    take(&c[VZ_NUMSIGINFO], queued_signals(task->cred->user_ns));
    struct pids_cgroup *pids = (void *)group_state(task, bpf_core_enum_value(enum cgroup_subsys_id, pids_cgrp_id), slot->depth);
    if (pids) {
        take(&c[VZ_NUMPROC], BPF_CORE_READ(pids, counter.counter));
        if (bpf_core_field_exists(pids->watermark))
            take(&c[VZ_NUMPROC], BPF_CORE_READ(pids, watermark));
        c[VZ_NUMPROC].held = BPF_CORE_READ(pids, counter.counter);
        struct pids_cgroup___one *older = (void *)pids;
        c[VZ_NUMPROC].failcnt = bpf_core_field_exists(older->events_limit) ? BPF_CORE_READ(older, events_limit.counter)
                                                                           : BPF_CORE_READ(pids, events[0].counter);
    }
    struct mem_cgroup *memory =
        (void *)group_state(task, bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id), slot->depth);
    if (!memory)
        return;
    // What v2 counts as swap, v1 counts together with RAM in the same place.
    __s64 ram = BPF_CORE_READ(memory, memory.usage.counter), swap = BPF_CORE_READ(memory, swap.usage.counter);
    if (config.memory_v1)
        swap = swap > ram ? swap - ram : 0;
    take(&c[VZ_PHYSPAGES], BPF_CORE_READ(memory, memory.watermark));
    c[VZ_PHYSPAGES].held = ram;
    c[VZ_PHYSPAGES].failcnt = memory_events(memory, bpf_core_enum_value(enum memcg_memory_event, MEMCG_OOM));
    take(&c[VZ_SWAPPAGES], swap);
    c[VZ_SWAPPAGES].failcnt = memory_events(memory, bpf_core_enum_value(enum memcg_memory_event, MEMCG_SWAP_FAIL));
    take(&c[VZ_KMEMSIZE], kernel_memory_of(memory));
    take(&c[VZ_DCACHESIZE], memory_statistic(memory, bpf_core_enum_value(enum node_stat_item, NR_SLAB_RECLAIMABLE_B)));
    take(&c[VZ_SHMPAGES], memory_statistic(memory, bpf_core_enum_value(enum node_stat_item, NR_SHMEM)));
    __s64 anonymous = memory_statistic(memory, bpf_core_enum_value(enum node_stat_item, NR_ANON_MAPPED));
    take(&c[VZ_OOMGUARPAGES], anonymous < 0 ? -1 : anonymous + swap);
    c[VZ_OOMGUARPAGES].failcnt = memory_events(memory, bpf_core_enum_value(enum memcg_memory_event, MEMCG_OOM_KILL));
}

#define VALUES(id) c[id].held, c[id].maxheld, c[id].barrier, c[id].limit, c[id].failcnt
#define ROW(name, id) BPF_SEQ_PRINTF(seq, "%10s  %-12s %20lld %20lld %20lld %20lld %20lld\n", "", name, VALUES(id))
#define DUMMY() BPF_SEQ_PRINTF(seq, "%10s  %-12s %20u %20u %20u %20u %20u\n", "", "dummy", 0, 0, 0, 0, 0)

SEC("iter/task")
int user_beancounters(struct bpf_iter__task *context)
{
    struct seq_file *seq = context->meta->seq;
    struct task_struct *task = context->task;
    if (!task)
        return 0;
    if (!context->meta->seq_num)
        BPF_SEQ_PRINTF(
            seq, "Version: 2.5\n%10s  %-12s %20s %20s %20s %20s %20s\n", "uid", "resource", "held", "maxheld", "barrier", "limit",
            "failcnt");
    __u32 number = slot_number(task->cred->user_ns);
    struct vz_slot *slot = slot_at(number);
    if (!slot || !is_process_one(task))
        return 0;
    __u32 reader = slot_number_of_current();
    if (reader && reader != number)
        return 0;
    take_samples(task, slot);
    if (in_force())
        sample_nets(task, number, slot);
    struct vz_counter *c = slot->counters;
    BPF_SEQ_PRINTF(
        seq, "%9u:  %-12s %20lld %20lld %20lld %20lld %20lld\n", slot->ctid, "kmemsize", VALUES(VZ_KMEMSIZE));
    ROW("lockedpages", VZ_LOCKEDPAGES);
    ROW("privvmpages", VZ_PRIVVMPAGES);
    ROW("shmpages", VZ_SHMPAGES);
    DUMMY();
    ROW("numproc", VZ_NUMPROC);
    ROW("physpages", VZ_PHYSPAGES);
    ROW("vmguarpages", VZ_VMGUARPAGES);
    ROW("oomguarpages", VZ_OOMGUARPAGES);
    ROW("numtcpsock", VZ_NUMTCPSOCK);
    ROW("numflock", VZ_NUMFLOCK);
    ROW("numpty", VZ_NUMPTY);
    ROW("numsiginfo", VZ_NUMSIGINFO);
    ROW("tcpsndbuf", VZ_TCPSNDBUF);
    ROW("tcprcvbuf", VZ_TCPRCVBUF);
    ROW("othersockbuf", VZ_OTHERSOCKBUF);
    ROW("dgramrcvbuf", VZ_DGRAMRCVBUF);
    ROW("numothersock", VZ_NUMOTHERSOCK);
    ROW("dcachesize", VZ_DCACHESIZE);
    ROW("numfile", VZ_NUMFILE);
    DUMMY();
    DUMMY();
    DUMMY();
    ROW("numiptent", VZ_NUMIPTENT);
    return 0;
}

#endif
