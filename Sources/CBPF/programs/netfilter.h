// netfilter.h - numiptent: entries of the packet filter, counted. What changes them, and is refused, is in filterchanges.h.
//
// What a network namespace has is counted in the kernel's own tables before each change and after it, and never added up from events.
// What was allowed and may not be in the tables yet is held on top of that until the call ends. A namespace is charged to the container whose
// user namespace, or one nested in it, owns it.
#ifndef VZ_NETFILTER_H
#define VZ_NETFILTER_H

/// Of a network namespace: who is charged, and how much of what it has is in `held`: the low half of `word`. The high half counts the looks.
struct filtered_net {
    __u64 word;
    __u32 slot;
    __u32 use;
    __u64 cookie;
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1 << 16);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, __u64);
    __type(value, struct filtered_net);
} filtered_nets SEC(".maps");

/// A change that the kernel makes for a thread just now.
struct filter_change {
    __u64 net;
    __u32 slot;
    __u32 use;
    __s64 pending;
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1 << 15);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, __u32);
    __type(value, struct filter_change);
} filter_changes SEC(".maps");

/// The number by which nf_tables, and x_tables, find what is theirs in a network namespace.
extern const void nf_tables_net_id __ksym __weak;
extern const void xt_pernet_id __ksym __weak;

enum { FAMILIES = 13, MOST_STEPS = 1 << 20 };

/// slot_number, of a namespace that the verifier does not know.
INLINE __u32 slot_number_of_net(struct net *net)
{
    struct user_namespace *ns = net ? BPF_CORE_READ(net, user_ns) : 0;
    for (int i = 0; i < 8; i++) {
        if (!ns)
            return 0;
        int level = BPF_CORE_READ(ns, level);
        if (level < config.level)
            return 0;
        if (level == config.level) {
            __u32 inode = BPF_CORE_READ(ns, ns.inum);
            struct vz_place *place = bpf_map_lookup_elem(&slot_of_userns, &inode);
            return place && place->owner == BPF_CORE_READ(ns, owner.val) ? place->slot : 0;
        }
        ns = BPF_CORE_READ(ns, parent);
    }
    return 0;
}

INLINE __u64 word_at(__u64 address)
{
    __u64 word = 0;
    bpf_probe_read_kernel(&word, sizeof word, (void *)address);
    return word;
}

/// Adds to a count of a walk. Read by a helper: else the verifier would follow each value that it may have.
INLINE void count_more(__u32 *count, __u32 n)
{
    __u32 now = 0;
    bpf_probe_read_kernel(&now, sizeof now, count);
    *count = now + n;
}

/// Reads a walk's state over itself. A verifier that goes through a step once alone (before Linux 6.7) takes what it knows of the state
/// before the first for what it is before each, and cuts out what follows only later.
#define FORGET_VALUES(walk) bpf_probe_read_kernel(walk, sizeof *(walk), walk)

/// What a module has of a namespace; 0: nothing.
INLINE __u64 net_memory(struct net *net, const void *id)
{
    __u32 index = 0;
    bpf_probe_read_kernel(&index, sizeof index, id);
    __u64 all = (__u64)BPF_CORE_READ(net, gen);
    return index && index < 1024 && all ? word_at(all + index * sizeof(void *)) : 0;
}

/// The lists that a walk goes through, each step one element further: where it is, and the heads.
struct filter_walk {
    __u64 table, tables, chain, chains, rule, rules;
    /// Those that are counted apart: of the tables of one name (none: all) and family (0: all).
    __u64 name[4];
    __u32 family;
    __u32 is_matching;
    __u32 count, matching;
    __u32 done;
};

/// - Parameter name: the text, at most 30 bytes; of longer ones only the beginning is there, which is no name that is sought.
INLINE bool is_name(const __u64 *sought, const void *name)
{
    __u64 text[4] = {};
    bpf_probe_read_kernel_str(text, sizeof text, name);
    return text[0] == sought[0] && text[1] == sought[1] && text[2] == sought[2] && text[3] == sought[3];
}

static int step_nft(__u32 i, struct filter_walk *walk)
{
    if (walk->rule) {
        if (walk->rule == walk->rules) {
            walk->rule = 0;
            return 0;
        }
        count_more(&walk->count, 1);
        if (walk->is_matching)
            count_more(&walk->matching, 1);
        walk->rule = word_at(walk->rule);
        return walk->rule ? 0 : 1;
    }
    if (walk->chain) {
        if (walk->chain == walk->chains) {
            walk->chain = 0;
            return 0;
        }
        walk->rules = walk->chain - bpf_core_field_offset(struct nft_chain, list) + bpf_core_field_offset(struct nft_chain, rules);
        walk->rule = word_at(walk->rules);
        walk->chain = word_at(walk->chain);
        return walk->rule && walk->chain ? 0 : 1;
    }
    if (walk->table == walk->tables) {
        walk->done = 1;
        return 1;
    }
    struct nft_table *table = (void *)(walk->table - bpf_core_field_offset(struct nft_table, list));
    // A table of a socket's own is not flushed with the others.
    walk->is_matching = !BPF_CORE_READ(table, nlpid)
        && (!walk->family || BPF_CORE_READ_BITFIELD_PROBED(table, family) == walk->family)
        && (!walk->name[0] || is_name(walk->name, BPF_CORE_READ(table, name)));
    walk->chains = (__u64)table + bpf_core_field_offset(struct nft_table, chains);
    walk->chain = word_at(walk->chains);
    walk->table = word_at(walk->table);
    return walk->chain && walk->table ? 0 : 1;
}

static int step_xt(__u32 i, struct filter_walk *walk)
{
    if (walk->table == walk->tables) {
        walk->done = 1;
        return 1;
    }
    struct xt_table *table = (void *)(walk->table - bpf_core_field_offset(struct xt_table, list));
    __u32 number = BPF_CORE_READ(table, private, number);
    count_more(&walk->count, number);
    if (walk->is_matching && is_name(walk->name, (char *)table + bpf_core_field_offset(struct xt_table, name)))
        count_more(&walk->matching, number);
    walk->table = word_at(walk->table);
    return walk->table ? 0 : 1;
}

INLINE bool knows_nft(void) { return &nf_tables_net_id && bpf_core_type_exists(struct nft_table); }
INLINE bool knows_xt(void) { return bpf_core_type_exists(struct xt_table); }

struct pernet_search {
    __u64 all, found;
};

/// Whether it is x_tables' memory of a namespace: nothing else is a row of lists, of which those of certain families are empty.
static int step_pernet(__u32 i, struct pernet_search *search)
{
    static const __u8 empty[] = {4, 6, 8, 9, 11, 12}, lists[] = {NFPROTO_IPV4, NFPROTO_ARP, NFPROTO_IPV6};
    enum { FIRST_ID = 3, LIST = sizeof(struct list_head), PREVIOUS = sizeof(void *) };
    __u64 memory = word_at(search->all + (i + FIRST_ID) * sizeof(void *));
    if (!memory)
        return 0;
    for (int j = 0; j < 6; j++) {
        __u64 head = memory + empty[j] * LIST;
        if (word_at(head) != head || word_at(head + PREVIOUS) != head)
            return 0;
    }
    for (int j = 0; j < 3; j++) {
        __u64 head = memory + lists[j] * LIST;
        if (word_at(word_at(head) + PREVIOUS) != head)
            return 0;
    }
    search->found = memory;
    return 1;
}

/// What x_tables has of a namespace. A kernel that keeps no list of its variables (KALLSYMS_ALL) does not say by which number.
static __noinline __u64 xt_memory(struct net *net)
{
    if (&xt_pernet_id)
        return net_memory(net, &xt_pernet_id);
    struct pernet_search search = {.all = (__u64)BPF_CORE_READ(net, gen)};
    __u32 count = 0;
    bpf_probe_read_kernel(&count, sizeof count, (void *)search.all);
    if (count > 3 && count < 1024)
        bpf_loop(count - 3, step_pernet, &search, 0);
    __u64 found = 0;
    bpf_probe_read_kernel(&found, sizeof found, &search.found);
    return found;
}

INLINE int was_done(struct filter_walk *walk)
{
    // By a helper: else the verifier would follow each way that leads here.
    __u32 done = 0;
    bpf_probe_read_kernel(&done, sizeof done, &walk->done);
    return done;
}

/// Counts the rules of nftables. - Returns: 0 when they cannot be counted.
static __noinline int count_nft(struct net *net, struct filter_walk *walk)
{
    if (!walk || !knows_nft())
        return 0;
    __u64 memory = net_memory(net, &nf_tables_net_id);
    if (!memory)
        return 0;
    walk->tables = memory + bpf_core_field_offset(struct nftables_pernet, tables);
    walk->table = word_at(walk->tables);
    walk->chain = walk->rule = walk->done = 0;
    if (!walk->table)
        return 0;
    FORGET_VALUES(walk);
    bpf_loop(MOST_STEPS, step_nft, walk, 0);
    return was_done(walk);
}

/// Counts the entries of x_tables: IPv4, IPv6 and ARP; others have none. - Returns: 0 when they cannot be counted.
static __noinline int count_xt(struct net *net, struct filter_walk *walk)
{
    if (!walk || !knows_xt())
        return 0;
    __u64 memory = xt_memory(net);
    if (!memory)
        return 0;
    static const __u8 families[] = {NFPROTO_IPV4, NFPROTO_ARP, NFPROTO_IPV6};
    for (int i = 0; i < 3; i++) {
        walk->tables = memory + bpf_core_field_offset(struct xt_pernet, tables) + families[i] * sizeof(struct list_head);
        walk->table = word_at(walk->tables);
        walk->is_matching = walk->family == families[i];
        walk->done = 0;
        if (!walk->table)
            return 0;
        FORGET_VALUES(walk);
        bpf_loop(256, step_xt, walk, 0);
        if (!was_done(walk))
            return 0;
    }
    return 1;
}

/// All that a namespace has; negative when it cannot be counted.
static __noinline __s64 count_net(struct net *net)
{
    struct filter_walk walk = {};
    // Without the module there are none, and none can come: a change that would make some is refused.
    if (knows_nft() && !count_nft(net, &walk))
        return -1;
    if (knows_xt() && !count_xt(net, &walk))
        return -1;
    __u32 count = 0;
    bpf_probe_read_kernel(&count, sizeof count, &walk.count);
    return count;
}

/// Takes over what the kernel has of a namespace.
/// - Parameter remember: also when it has none yet.
/// - Returns: 0, or -1 when it cannot be counted.
static __noinline int look_at_net(struct net *net, __u32 number, bool remember)
{
    __u64 key = (__u64)net;
    struct vz_slot *slot = slot_at(number);
    if (!slot)
        return -1;
    __u32 use = use_of(slot);
    __u64 cookie = BPF_CORE_READ(net, net_cookie);
    struct filtered_net *known = bpf_map_lookup_elem(&filtered_nets, &key);
    if (known && (known->slot != number || known->use != use || known->cookie != cookie)) {
        // Of a namespace before this one, at the same place.
        struct vz_slot *old = slot_still_of(known->slot, known->use);
        __s64 had = (__u32)known->word;
        if (!bpf_map_delete_elem(&filtered_nets, &key) && old)
            __sync_fetch_and_add(&old->counters[VZ_NUMIPTENT].held, -had);
    }
    // Whoever finds that others took over two counts meanwhile knows that the second of them began after he did.
    for (int i = 0; i < 2; i++) {
        known = bpf_map_lookup_elem(&filtered_nets, &key);
        __u64 before = known ? *(volatile __u64 *)&known->word : 0;
        __s64 now = count_net(net);
        if (now < 0)
            return -1;
        if (!known) {
            if (!now && !remember)
                return 0;
            struct filtered_net fresh = {.slot = number, .use = use, .cookie = cookie};
            bpf_map_update_elem(&filtered_nets, &key, &fresh, BPF_NOEXIST);
            known = bpf_map_lookup_elem(&filtered_nets, &key);
            if (!known)
                return -1;
        }
        __u64 after = ((before >> 32) + 1) << 32 | (__u32)now;
        if (__sync_val_compare_and_swap(&known->word, before, after) == before) {
            __sync_fetch_and_add(&slot->counters[VZ_NUMIPTENT].held, now - (__s64)(__u32)before);
            return 0;
        }
    }
    return 0;
}

INLINE void note_most(struct vz_counter *counter)
{
    __s64 held = counter->held;
    if (held > counter->maxheld)
        counter->maxheld = held;
}

struct filter_sweep {
    __u32 slot;
};

/// Looks at each namespace of a container, and forgets those that are no more.
static int sweep_net(void *map, __u64 *key, struct filtered_net *known, struct filter_sweep *sweep)
{
    __u32 number = sweep->slot;
    if (known->slot != number)
        return 0;
    __u64 place = *key;
    struct net *net = (void *)place;
    // The kernel takes one that ends from its list first of all.
    bool is_alive = word_at(place + bpf_core_field_offset(struct net, list) + sizeof(void *)) != 0xdead000000000122
        && BPF_CORE_READ(net, net_cookie) == known->cookie;
    if (is_alive) {
        look_at_net(net, number, false);
        return 0;
    }
    struct vz_slot *slot = slot_still_of(number, known->use);
    __s64 had = (__u32)known->word;
    if (!bpf_map_delete_elem(&filtered_nets, &place) && slot)
        __sync_fetch_and_add(&slot->counters[VZ_NUMIPTENT].held, -had);
    return 0;
}

INLINE void sweep_nets(__u32 number)
{
    struct filter_sweep sweep = {.slot = number};
    bpf_for_each_map_elem(&filtered_nets, sweep_net, &sweep, 0);
}

/// When somebody asks: what has changed without anybody's doing.
INLINE void sample_nets(struct task_struct *task, __u32 number, struct vz_slot *slot)
{
    struct net *net = BPF_CORE_READ(task, nsproxy, net_ns);
    sweep_nets(number);
    if (slot_number_of_net(net) == number)
        look_at_net(net, number, false);
    note_most(&slot->counters[VZ_NUMIPTENT]);
}

/// Takes over what a namespace is about to have more, or less, of.
INLINE void expect_of_net(struct net *net, struct vz_slot *slot, __s64 more)
{
    __u64 key = (__u64)net;
    struct filtered_net *known = bpf_map_lookup_elem(&filtered_nets, &key);
    __u64 before = known ? *(volatile __u64 *)&known->word : 0;
    __u64 after = ((before >> 32) + 1) << 32 | (__u32)((__u32)before + more);
    if (known && __sync_val_compare_and_swap(&known->word, before, after) == before)
        __sync_fetch_and_add(&slot->counters[VZ_NUMIPTENT].held, more);
    note_most(&slot->counters[VZ_NUMIPTENT]);
}

#endif
