// groups.h - programs at control groups. In every tier: the system controls that are limits are kept as vz set them. In tier B, where
// none can stand at a security hook: numtcpsock and numothersock of the INET families, hard at the barrier: ENOBUFS; connections that
// come in are not seen. And numiptent of iptables (legacy), whose tables a socket option replaces.
#ifndef VZ_GROUPS_H
#define VZ_GROUPS_H

struct bpf_sock {
    __u32 bound_dev_if, family, type, protocol;
};

struct bpf_sockopt {
    union { struct bpf_sock *sk; __u64 : 64; };
    union { void *optval; __u64 : 64; };
    union { void *optval_end; __u64 : 64; };
    __s32 level, optname, optlen, retval;
};

struct bpf_sysctl {
    __u32 write, file_pos;
};

/// kernel.shmall is how shmpages is held, and the container's root owns the IPC namespace that it is of.
SEC("cgroup/sysctl")
int group_sysctl(struct bpf_sysctl *context)
{
    if (!context->write || !slot_number_of_current())
        return 1;
    char name[32] = {};
    if (bpf_sysctl_get_name(context, name, sizeof name, 0) < 0)
        return 1;
    return bpf_strncmp(name, sizeof name, "kernel/shmall") != 0;
}

/// Of a socket that was counted: a connection that came in is released like any other, but was never created here.
struct socket_mark {
    __u32 slot;
    __u32 use;
    __u32 is_tcp;
};

struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct socket_mark);
} marked_sockets SEC(".maps");

SEC("cgroup/sock_create")
int group_sock_create(struct bpf_sock *socket)
{
    struct task_struct *task = bpf_get_current_task_btf();
    __u32 number = slot_number(task->cred->user_ns);
    struct vz_slot *slot = slot_at(number);
    if (!slot || !in_force())
        return 1;
    bool tcp = is_tcp(socket->family, socket->type);
    struct vz_counter *counter = number_counter(slot, tcp);
    if (!charge(counter, 1, counter->barrier)) {
        // It is released without a word to group_sock_release's mark.
        uncharge(counter, 1);
        bpf_set_retval(-ENOBUFS);
        return 0;
    }
    struct socket_mark *mark = bpf_sk_storage_get(&marked_sockets, socket, 0, BPF_SK_STORAGE_GET_F_CREATE);
    if (!mark) {
        uncharge(counter, 1);
        return 1;
    }
    mark->slot = number;
    mark->use = use_of(slot);
    mark->is_tcp = tcp;
    return 1;
}

SEC("cgroup/sock_release")
int group_sock_release(struct bpf_sock *socket)
{
    struct socket_mark *mark = bpf_sk_storage_get(&marked_sockets, socket, 0, 0);
    struct vz_slot *slot = mark ? slot_still_of(mark->slot, mark->use) : 0;
    if (slot)
        uncharge(number_counter(slot, mark->is_tcp), 1);
    return 1;
}

/// What a socket option that replaces a table begins with: struct ipt_replace, ip6t_replace, arpt_replace.
struct table_replacement {
    __u64 name[4];
    __u32 hooks, entries;
};

/// Entries of the table that is to be replaced.
static __noinline __s64 replaced_entries(struct net *net, struct table_replacement *replacement, __u32 family)
{
    if (!replacement)
        return 0;
    struct filter_walk walk = {.family = family};
    bpf_probe_read_kernel_str(walk.name, sizeof walk.name, replacement->name);
    __u32 matching = 0;
    if (count_xt(net, &walk))
        bpf_probe_read_kernel(&matching, sizeof matching, &walk.matching);
    return matching;
}

/// Whether a table may be replaced; it is counted then.
INLINE bool may_replace(struct net *net, struct table_replacement *replacement, __u32 family, __s32 length)
{
    enum { HEAD = 96, LEAST_ENTRY = 152 };
    __u32 number = slot_number_of_net(net);
    struct vz_slot *slot = slot_at(number);
    if (!slot || !in_force() || !slot_number_of_current())
        return true;
    struct vz_counter *counter = &slot->counters[VZ_NUMIPTENT];
    __s64 n = replacement->entries;
    bool is_bound = is_bounded(counter);
    bool is_counted = !look_at_net(net, number, true) && knows_xt();
    // Of what is longer than a page the kernel reads the number once more, and the program may have changed it by then: it can be wrong
    // by as much as the entries are longer than the shortest.
    if (length > PAGE_SIZE && (length - HEAD) / LEAST_ENTRY > 8 * n)
        is_counted = false;
    if (is_bound)
        sweep_nets(number);
    __s64 before = is_counted ? replaced_entries(net, replacement, family) : 0;
    if (config.sees_ends) {
        if (begin_change(net, number, slot, n)) {
            if (!is_bound || n <= before || (is_counted && counter->held - before <= counter->limit))
                return true;
            drop_change(counter, n);
        } else if (!is_bound) {
            return true;
        }
    } else if (!is_bound || n <= before || (is_counted && counter->held + n - before <= counter->limit)) {
        // Until somebody looks again it is taken to have happened.
        if (is_counted)
            expect_of_net(net, slot, n - before);
        return true;
    }
    refuse(counter);
    return false;
}

SEC("cgroup/setsockopt")
int group_setsockopt(struct bpf_sockopt *context)
{
    struct bpf_sockopt *same = context;
    // Or else the compiler writes through a pointer into it, which the verifier lets nobody.
    __asm__ volatile("" : "+r"(same));
    __u32 family = replaced_family(context->level, context->optname);
    struct table_replacement *replacement = context->optval;
    __s32 length = context->optlen;
    if (family && (void *)(replacement + 1) <= context->optval_end) {
        struct table_replacement copy = *replacement;
        // As the kernel takes it.
        ((char *)copy.name)[31] = 0;
        struct bpf_sock *socket = context->sk;
        __u64 sk = 0;
        // To the verifier it is a pointer that it lets nobody reckon with.
        bpf_probe_read_kernel(&sk, sizeof sk, &socket);
        struct net *net = BPF_CORE_READ((struct sock *)sk, __sk_common.skc_net.net);
        if (!may_replace(net, &copy, family, length)) {
            bpf_set_retval(-ENOMEM);
            return 0;
        }
    }
    // Of a longer one there is only the first page here; nothing has the kernel read all of it.
    if (length > PAGE_SIZE)
        same->optlen = 0;
    return 1;
}

#endif
