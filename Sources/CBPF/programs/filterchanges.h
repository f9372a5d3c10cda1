// filterchanges.h - numiptent, soft (at the limit): ENOMEM. Entries of iptables (legacy) are changed by a socket option that replaces a whole
// table, those of nftables, which iptables-nft makes as well, by batches of netlink messages.
#ifndef VZ_FILTERCHANGES_H
#define VZ_FILTERCHANGES_H

static __noinline int end_change(void)
{
    __u32 thread = bpf_get_current_pid_tgid();
    struct filter_change *change = bpf_map_lookup_elem(&filter_changes, &thread);
    if (!change)
        return 0;
    struct filter_change it = *change;
    struct vz_slot *slot = slot_still_of(it.slot, it.use);
    // First what there is by now, then what was to come: in between it is there twice, and never not at all.
    if (slot)
        look_at_net((struct net *)it.net, it.slot, true);
    if (bpf_map_delete_elem(&filter_changes, &thread) || !slot)
        return 0;
    struct vz_counter *counter = &slot->counters[VZ_NUMIPTENT];
    __sync_fetch_and_add(&counter->held, -it.pending);
    note_most(counter);
    return 0;
}

/// Begins a change: holds n more until it ends.
INLINE bool begin_change(struct net *net, __u32 number, struct vz_slot *slot, __s64 n)
{
    __u32 thread = bpf_get_current_pid_tgid();
    struct filter_change change = {.net = (__u64)net, .slot = number, .use = use_of(slot), .pending = n};
    // One whose end was not seen.
    end_change();
    __sync_fetch_and_add(&slot->counters[VZ_NUMIPTENT].held, n);
    if (!bpf_map_update_elem(&filter_changes, &thread, &change, BPF_ANY))
        return true;
    __sync_fetch_and_add(&slot->counters[VZ_NUMIPTENT].held, -n);
    return false;
}

INLINE void drop_change(struct vz_counter *counter, __s64 n)
{
    __u32 thread = bpf_get_current_pid_tgid();
    bpf_map_delete_elem(&filter_changes, &thread);
    __sync_fetch_and_add(&counter->held, -n);
}

INLINE bool is_bounded(struct vz_counter *counter) { return counter->limit != __INT64_MAX__; }

struct netlink_message {
    __u32 length;
    __u16 type, flags;
    __u32 sequence, port;
    __u8 family, version;
    __be16 id;
    __u16 attribute_length, attribute_type;
};

/// What a batch asks for.
struct batch_walk {
    __u64 at, end;
    /// How many rules more.
    __u32 rules;
    __u32 changes, done;
    /// What it takes away at once: of one table, or, without a name, of a family or of all.
    __u32 flush, family;
    __u64 name[4];
};
enum { FLUSH_TABLE = 1, FLUSH_ALL = 2 };

/// Takes down what a message takes away for certain. Of several messages it is one: together they may take away less than each by itself.
INLINE void note_flush(struct batch_walk *walk, struct netlink_message *message)
{
    if (message->type == DELETE_TABLE && message->length == sizeof *message - 4) {
        walk->flush = FLUSH_ALL;
        walk->family = message->family;
        walk->name[0] = 0;
        return;
    }
    // With a name and nothing else it is all of that table. One that has no end, or one before its end, is to the kernel another name.
    if ((message->type != DELETE_TABLE && message->type != DELETE_RULE) || message->attribute_type != 1
        || message->attribute_length < 6
        || message->length != sizeof *message - 4 + ((message->attribute_length + 3u) & ~3u) || walk->flush == FLUSH_ALL)
        return;
    __u64 name[4] = {};
    long length = bpf_probe_read_kernel_str(name, sizeof name, (void *)(walk->at + sizeof *message));
    if (length + 4 != message->attribute_length)
        return;
    for (int i = 0; i < 4; i++)
        walk->name[i] = name[i];
    walk->flush = FLUSH_TABLE;
    walk->family = message->family;
}

/// One message further, as nfnetlink_rcv_batch of the kernel goes.
static int step_batch(__u32 i, struct batch_walk *walk)
{
    struct netlink_message message = {};
    __u64 rest = walk->end - walk->at;
    if (walk->at >= walk->end || rest < 16 || bpf_probe_read_kernel(&message, sizeof message, (void *)walk->at)
        || message.length < 20 || message.length > rest) {
        // The kernel stops here as well.
        walk->done = 1;
        return 1;
    }
    if (message.type == NEW_RULE) {
        walk->changes = 1;
        // One that takes the place of another, or else is refused.
        if (!(message.flags & NLM_F_REPLACE))
            count_more(&walk->rules, 1);
    } else if (message.type >> 8 == NFNL_SUBSYS_NFTABLES) {
        walk->changes = 1;
        note_flush(walk, &message);
    }
    walk->at += (message.length + 3u) & ~3u;
    return 0;
}

/// How many rules a batch takes away for certain.
static __noinline __s64 flushed_rules(struct net *net, struct batch_walk *batch)
{
    __u32 flush = 0;
    bpf_probe_read_kernel(&flush, sizeof flush, &batch->flush);
    if (!batch || !flush)
        return 0;
    struct filter_walk walk = {.family = batch->family};
    for (int i = 0; i < 4; i++)
        walk.name[i] = batch->name[i];
    __u32 matching = 0;
    if (count_nft(net, &walk))
        bpf_probe_read_kernel(&matching, sizeof matching, &walk.matching);
    return matching;
}

static __noinline int read_batch(struct batch_walk *batch)
{
    if (!batch)
        return 0;
    FORGET_VALUES(batch);
    bpf_loop(1 << 22, step_batch, batch, 0);
    return 0;
}

SEC("fmod_ret/security_netlink_send")
int BPF_PROG(netlink_send, struct sock *sk, struct sk_buff *skb)
{
    if (sk->sk_protocol != NETLINK_NETFILTER || !slot_number_of_current() || !in_force())
        return 0;
    struct net *net = sk->__sk_common.skc_net.net;
    __u32 number = slot_number_of_net(net);
    struct vz_slot *slot = slot_at(number);
    if (!slot)
        return 0;
    struct vz_counter *counter = &slot->counters[VZ_NUMIPTENT];
    struct batch_walk batch = {.at = (__u64)BPF_CORE_READ(skb, data)};
    batch.end = batch.at + BPF_CORE_READ(skb, len);
    read_batch(&batch);
    // By a helper: else the verifier would follow each of the values.
    __u32 rules = 0, changes = 0, done = 0;
    bpf_probe_read_kernel(&rules, sizeof rules, &batch.rules);
    bpf_probe_read_kernel(&changes, sizeof changes, &batch.changes);
    bpf_probe_read_kernel(&done, sizeof done, &batch.done);
    __s64 n = rules;
    if (!changes && done)
        return 0;
    // A batch that is too long to be gone through to its end is refused like one of too many rules.
    bool is_counted = !look_at_net(net, number, n > 0) && knows_nft() && done;
    if (begin_change(net, number, slot, n)) {
        if ((!n && done) || !is_bounded(counter))
            return 0;
        if (is_counted && counter->held <= counter->limit)
            return 0;
        // Perhaps others have gone meanwhile.
        sweep_nets(number);
        if (is_counted && counter->held - flushed_rules(net, &batch) <= counter->limit)
            return 0;
        drop_change(counter, n);
    } else if (!is_bounded(counter)) {
        return 0;
    }
    refuse(counter);
    return -ENOMEM;
}

SEC("fexit/netlink_sendmsg")
int BPF_PROG(after_netlink_sendmsg, struct socket *sock)
{
    struct sock *sk = sock->sk;
    if (sk && sk->sk_protocol == NETLINK_NETFILTER)
        end_change();
    return 0;
}

/// The family whose table a socket option replaces; 0: it replaces none.
INLINE __u32 replaced_family(int level, int option)
{
    enum { SOL_IP = 0, SOL_IPV6 = 41, REPLACE = 64, REPLACE_ARP = 96 };
    if (level == SOL_IP && option == REPLACE)
        return NFPROTO_IPV4;
    if (level == SOL_IP && option == REPLACE_ARP)
        return NFPROTO_ARP;
    return level == SOL_IPV6 && option == REPLACE ? NFPROTO_IPV6 : 0;
}

/// Programs of control groups do not see the calls of 32-bit programs, so that those get no tables where a limit is.
SEC("fmod_ret/security_socket_setsockopt")
int BPF_PROG(socket_setsockopt, struct socket *sock, int level, int option)
{
    enum { TS_COMPAT = 2 };
    if (!replaced_family(level, option))
        return 0;
    struct task_struct *task = bpf_get_current_task_btf();
    struct vz_slot *slot = charged(task->cred->user_ns);
    if (!slot || !(task->thread_info.status & TS_COMPAT) || !is_bounded(&slot->counters[VZ_NUMIPTENT]))
        return 0;
    refuse(&slot->counters[VZ_NUMIPTENT]);
    return -ENOMEM;
}

SEC("fexit/__sys_setsockopt")
int BPF_PROG(after_setsockopt, int fd, int level, int option)
{
    if (replaced_family(level, option))
        end_change();
    return 0;
}

#endif
