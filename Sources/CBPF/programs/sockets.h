// sockets.h - numtcpsock, numothersock and what their buffers hold: tcpsndbuf, tcprcvbuf, othersockbuf, dgramrcvbuf.
//
// TCP is what OpenVZ takes for it: family INET or INET6, type STREAM. Sockets are hard at the barrier: ENOBUFS; a connection that comes
// in is dropped. Buffers are refused above the limit: ENOBUFS to who sends; what comes in is dropped, and TCP sends it again.
#ifndef VZ_SOCKETS_H
#define VZ_SOCKETS_H

struct counted_socket {
    __u32 slot;
    __u32 use;
    /// What it was last seen to hold, bytes.
    int sent, received;
    __u32 is_tcp;
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1 << 20);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, __u64);
    __type(value, struct counted_socket);
} counted_sockets SEC(".maps");

INLINE bool is_tcp(int family, int type)
{
    return (family == PF_INET || family == PF_INET6) && type == SOCK_STREAM;
}

INLINE struct vz_counter *number_counter(struct vz_slot *slot, bool tcp)
{
    return tcp ? &slot->counters[VZ_NUMTCPSOCK] : &slot->counters[VZ_NUMOTHERSOCK];
}

INLINE struct vz_counter *send_counter(struct vz_slot *slot, bool tcp)
{
    return tcp ? &slot->counters[VZ_TCPSNDBUF] : &slot->counters[VZ_OTHERSOCKBUF];
}

INLINE struct vz_counter *receive_counter(struct vz_slot *slot, bool tcp)
{
    return tcp ? &slot->counters[VZ_TCPRCVBUF] : &slot->counters[VZ_DGRAMRCVBUF];
}

/// Whether a socket may be in the table: what runs in a container has no network namespace but those of its own user namespace and
/// of such as are nested in it. Those of the host, which are the most, are told apart by three loads, without a look at the table.
INLINE bool may_be_counted(struct sock *sk)
{
    return sk->__sk_common.skc_net.net->user_ns->level >= config.level;
}

/// Counts a socket, once. - Returns: false when it is one too many: it is not counted then, and the kernel lets it go.
INLINE bool count_socket(__u32 number, struct vz_slot *slot, struct sock *sk, bool tcp)
{
    __u64 key = (__u64)sk;
    struct vz_counter *counter = number_counter(slot, tcp);
    if (!may_be_counted(sk))
        return true;
    if (!charge(counter, 1, counter->barrier)) {
        uncharge(counter, 1);
        return false;
    }
    struct counted_socket socket = {.slot = number, .use = use_of(slot), .is_tcp = tcp};
    // It is in the table already, or the table is full.
    if (bpf_map_update_elem(&counted_sockets, &key, &socket, BPF_NOEXIST))
        uncharge(counter, 1);
    return true;
}

/// Counts a socket, once, whatever the barrier says.
INLINE void force_socket(__u32 number, struct vz_slot *slot, struct sock *sk, bool tcp)
{
    __u64 key = (__u64)sk;
    if (!may_be_counted(sk))
        return;
    struct counted_socket socket = {.slot = number, .use = use_of(slot), .is_tcp = tcp};
    if (!bpf_map_update_elem(&counted_sockets, &key, &socket, BPF_NOEXIST))
        force(number_counter(slot, tcp), 1);
}

// The hook before a socket is made would spare the kernel some work when it refuses, and take as much again as this one whenever it does not.
SEC("fmod_ret/security_socket_post_create")
int BPF_PROG(socket_post_create, struct socket *sock, int family, int type, int protocol, int kern)
{
    struct task_struct *task = bpf_get_current_task_btf();
    __u32 number = kern ? 0 : slot_number(task->cred->user_ns);
    struct vz_slot *slot = slot_at(number);
    struct sock *sk = slot ? sock->sk : 0;
    if (!sk || !in_force())
        return 0;
    return count_socket(number, slot, sk, is_tcp(family, type)) ? 0 : -ENOBUFS;
}

SEC("fmod_ret/security_unix_stream_connect")
int BPF_PROG(unix_stream_connect, struct sock *sock, struct sock *other, struct sock *newsk)
{
    __u32 number = slot_number_of_current();
    struct vz_slot *slot = slot_at(number);
    if (!slot || !in_force())
        return 0;
    return count_socket(number, slot, newsk, false) ? 0 : -ENOBUFS;
}

SEC("fmod_ret/security_inet_conn_request")
int BPF_PROG(inet_conn_request, struct sock *sk, struct sk_buff *skb, struct request_sock *req)
{
    struct vz_slot *slot = charged(sk->__sk_common.skc_net.net->user_ns);
    if (!slot)
        return 0;
    struct vz_counter *counter = &slot->counters[VZ_NUMTCPSOCK];
    if (counter->held < counter->barrier)
        return 0;
    refuse(counter);
    return -ENOBUFS;
}

SEC("fentry/security_inet_csk_clone")
int BPF_PROG(inet_csk_clone, struct sock *newsk, struct request_sock *req)
{
    __u32 number = slot_number(newsk->__sk_common.skc_net.net->user_ns);
    struct vz_slot *slot = slot_at(number);
    if (!slot || !in_force())
        return 0;
    // The peer was told that it is connected by now: the place for a refusal is inet_conn_request.
    force_socket(number, slot, newsk, true);
    return 0;
}

SEC("fentry/security_sk_free")
int BPF_PROG(sk_free_security, struct sock *sk)
{
    __u64 key = (__u64)sk;
    struct counted_socket *socket = may_be_counted(sk) ? bpf_map_lookup_elem(&counted_sockets, &key) : 0;
    if (!socket)
        return 0;
    struct vz_slot *slot = slot_still_of(socket->slot, socket->use);
    bool tcp = socket->is_tcp;
    int sent = socket->sent, received = socket->received;
    // Whoever takes it from the table answers for the counters.
    if (bpf_map_delete_elem(&counted_sockets, &key) || !slot)
        return 0;
    uncharge(number_counter(slot, tcp), 1);
    if (sent)
        uncharge(send_counter(slot, tcp), sent);
    if (received)
        uncharge(receive_counter(slot, tcp), received);
    return 0;
}

/// Takes over what a socket's own counters say. - Parameter ending: bytes that it holds and is about to let go.
INLINE struct counted_socket *look_at_socket(struct sock *sk, int ending)
{
    __u64 key = (__u64)sk;
    struct counted_socket *socket = may_be_counted(sk) ? bpf_map_lookup_elem(&counted_sockets, &key) : 0;
    if (!socket)
        return 0;
    struct vz_slot *slot = slot_still_of(socket->slot, socket->use);
    if (!slot)
        return 0;
    bool tcp = socket->is_tcp;
    int received = sk->sk_backlog.rmem_alloc.counter;
    // Of those that are not TCP the kernel's counter begins at 1.
    int sent = tcp ? sk->sk_wmem_queued : sk->sk_wmem_alloc.refs.counter - 1 - ending;
    if (sent < 0)
        sent = 0;
    if (sent != socket->sent)
        force(send_counter(slot, tcp), sent - __sync_lock_test_and_set(&socket->sent, sent));
    if (received != socket->received)
        force(receive_counter(slot, tcp), received - __sync_lock_test_and_set(&socket->received, received));
    return socket;
}

SEC("fmod_ret/security_socket_sendmsg")
int BPF_PROG(socket_sendmsg, struct socket *sock, struct msghdr *msg, int size)
{
    struct sock *sk = sock->sk;
    struct counted_socket *socket = sk ? look_at_socket(sk, 0) : 0;
    struct vz_slot *slot = socket ? slot_still_of(socket->slot, socket->use) : 0;
    if (!slot || !in_force())
        return 0;
    struct vz_counter *counter = send_counter(slot, socket->is_tcp);
    if (counter->held + size <= counter->limit)
        return 0;
    refuse(counter);
    return -ENOBUFS;
}

/// Drops a segment above the limit. What carries no data passes, or nothing that is full would ever drain, nor end; 60 is TCP's longest
/// header. So does what a socket has nothing to read without: one that only got what comes later would wait for ever, and a segment may
/// be larger than the limit. What it holds is counted afterwards.
INLINE int bound_tcp(struct sock *sk, struct sk_buff *skb)
{
    struct vz_slot *slot = skb->len > 60 ? charged(sk->__sk_common.skc_net.net->user_ns) : 0;
    if (!slot)
        return 0;
    struct vz_counter *counter = &slot->counters[VZ_TCPRCVBUF];
    if (counter->held + skb->truesize <= counter->limit)
        return 0;
    struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
    if (!tcp || tcp->rcv_nxt == tcp->copied_seq)
        return 0;
    refuse(counter);
    return -ENOMEM;
}

SEC("fmod_ret/security_sock_rcv_skb")
int BPF_PROG(socket_sock_rcv_skb, struct sock *sk, struct sk_buff *skb)
{
    if (sk->sk_protocol == IPPROTO_TCP)
        return bound_tcp(sk, skb);
    struct counted_socket *socket = look_at_socket(sk, 0);
    struct vz_slot *slot = socket ? slot_still_of(socket->slot, socket->use) : 0;
    if (!slot || socket->is_tcp || !in_force())
        return 0;
    struct vz_counter *counter = receive_counter(slot, false);
    if (counter->held + skb->truesize <= counter->limit)
        return 0;
    refuse(counter);
    return -ENOMEM;
}

#define LOOK_AFTER(function)                                                                                                   \
    SEC("fexit/" #function)                                                                                                    \
    int BPF_PROG(after_##function, struct sock *sk)                                                                            \
    {                                                                                                                          \
        look_at_socket(sk, 0);                                                                                                 \
        return 0;                                                                                                              \
    }

LOOK_AFTER(tcp_rcv_established)
LOOK_AFTER(tcp_sendmsg)
LOOK_AFTER(tcp_recvmsg)
LOOK_AFTER(udp_recvmsg)
LOOK_AFTER(udpv6_recvmsg)

#define LOOK_AFTER_SOCKET(function)                                                                                            \
    SEC("fexit/" #function)                                                                                                    \
    int BPF_PROG(after_##function, struct socket *sock)                                                                        \
    {                                                                                                                          \
        struct sock *sk = sock->sk;                                                                                            \
        if (sk)                                                                                                                \
            look_at_socket(sk, 0);                                                                                             \
        return 0;                                                                                                              \
    }

LOOK_AFTER_SOCKET(unix_stream_sendmsg)
LOOK_AFTER_SOCKET(unix_dgram_sendmsg)

SEC("fentry/sock_wfree")
int BPF_PROG(before_sock_wfree, struct sk_buff *skb)
{
    struct sock *sk = skb->sk;
    if (sk)
        look_at_socket(sk, skb->truesize);
    return 0;
}

#endif
