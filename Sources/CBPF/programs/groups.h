// groups.h - programs at control groups. In every tier: the system controls that are limits are kept as vz set them. In tier B, where
// none can stand at a security hook: numtcpsock and numothersock of the INET families, hard at the barrier: ENOBUFS; connections that
// come in are not seen.
#ifndef VZ_GROUPS_H
#define VZ_GROUPS_H

struct bpf_sock {
    __u32 bound_dev_if, family, type, protocol;
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
    __u32 userns;
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
    mark->userns = slot->userns;
    mark->is_tcp = tcp;
    return 1;
}

SEC("cgroup/sock_release")
int group_sock_release(struct bpf_sock *socket)
{
    struct socket_mark *mark = bpf_sk_storage_get(&marked_sockets, socket, 0, 0);
    struct vz_slot *slot = mark ? slot_still_of(mark->slot, mark->userns) : 0;
    if (slot)
        uncharge(number_counter(slot, mark->is_tcp), 1);
    return 1;
}

#endif
