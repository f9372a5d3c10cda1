// signals.h - numsiginfo: queued signals. Hard at the barrier: EAGAIN.
//
// The kernel counts them itself for each user namespace (ucounts). What is below real-time signals, and what kill(2) sends, is never
// refused: the kernel then delivers it without its information rather than not at all, as OpenVZ's did.
#ifndef VZ_SIGNALS_H
#define VZ_SIGNALS_H

/// What the container's user namespace as a whole has queued; negative when it cannot be read.
INLINE __s64 queued_signals(struct user_namespace *ns)
{
    __u64 index = bpf_core_enum_value(enum rlimit_type, UCOUNT_RLIMIT_SIGPENDING);
    for (int i = 0; i < 8 && ns; i++) {
        if (ns->level == config.level) {
            struct ucounts *counts = ns->ucounts;
            __s64 queued = -1;
            if (counts && index < 8)
                bpf_probe_read_kernel(
                    &queued, sizeof queued, (void *)counts + bpf_core_field_offset(struct ucounts, rlimit) + index * sizeof(long));
            return queued;
        }
        ns = ns->parent;
    }
    return -1;
}

SEC("fmod_ret/security_task_kill")
int BPF_PROG(task_kill, struct task_struct *task, struct kernel_siginfo *info, int sig, const struct cred *cred)
{
    // What kill(2) sends has nothing to be queued; `info` may be no address at all.
    if (sig < 32 || !BPF_CORE_READ(info, si_code))
        return 0;
    struct user_namespace *ns = task->cred->user_ns;
    struct vz_slot *slot = charged(ns);
    if (!slot)
        return 0;
    __s64 held = queued_signals(ns);
    if (held < 0)
        return 0;
    struct vz_counter *counter = &slot->counters[VZ_NUMSIGINFO];
    counter->held = held;
    if (held >= counter->barrier) {
        refuse(counter);
        return -EAGAIN;
    }
    if (held + 1 > counter->maxheld)
        counter->maxheld = held + 1;
    return 0;
}

#endif
