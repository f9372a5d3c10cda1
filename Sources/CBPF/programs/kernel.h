// kernel.h - what the programs read of the kernel's own structures: only the fields that they read. Where these stand is found by
// libbpf when the programs are loaded (CO-RE), by the kernel's own description of itself (BTF). A type whose name ends in ___
// and a word is another release's shape of the same one.
#ifndef VZ_KERNEL_H
#define VZ_KERNEL_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u16 __sum16;
typedef __u32 __wsum;
typedef _Bool bool;

enum { false = 0, true = 1 };

// uapi/linux/bpf.h
enum { BPF_MAP_TYPE_HASH = 1, BPF_MAP_TYPE_ARRAY = 2, BPF_MAP_TYPE_SK_STORAGE = 24 };
enum { BPF_ANY = 0, BPF_NOEXIST = 1 };
enum { BPF_F_NO_PREALLOC = 1, BPF_F_MMAPABLE = 1 << 10 };
enum { BPF_SK_STORAGE_GET_F_CREATE = 1 };

// errno(3), as the kernel numbers them on every architecture that the programs run on
enum { EPERM = 1, EAGAIN = 11, ENOMEM = 12, ENFILE = 23, ENOLCK = 37, ENOBUFS = 105 };

// socket(2), fcntl(2)
enum { PF_INET = 2, PF_INET6 = 10 };
enum { SOCK_STREAM = 1 };
enum { IPPROTO_TCP = 6 };
enum { F_UNLCK = 2 };

// netlink(7), and nf_tables' part of it: the number of its messages' subsystem, and messages with it
enum { NETLINK_NETFILTER = 12, NLM_F_REPLACE = 0x100 };
enum { NFNL_SUBSYS_NFTABLES = 10, DELETE_TABLE = 0xa02, NEW_RULE = 0xa06, DELETE_RULE = 0xa08 };
enum { NFPROTO_IPV4 = 2, NFPROTO_ARP = 3, NFPROTO_IPV6 = 10 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct { int counter; } atomic_t;
typedef struct { atomic_t refs; } refcount_t;
typedef struct { long counter; } atomic_long_t;

struct list_head { struct list_head *next, *prev; };

// Identity.
struct ns_common { unsigned int inum; };
struct ucounts { atomic_long_t rlimit[4]; };
enum rlimit_type { UCOUNT_RLIMIT_SIGPENDING = 100 };
typedef struct { unsigned int val; } kuid_t;
struct user_namespace { struct user_namespace *parent; int level; kuid_t owner; struct ns_common ns; struct ucounts *ucounts; };
struct cred { struct user_namespace *user_ns; };
struct upid { int nr; };
struct pid { unsigned int level; struct upid numbers[1]; };

// Control groups.
struct cgroup { int level; };
struct cgroup_subsys_state { struct cgroup *cgroup; struct cgroup_subsys_state *parent; };
struct css_set { struct cgroup_subsys_state *subsys[1]; };
enum cgroup_subsys_id { memory_cgrp_id = 100, pids_cgrp_id = 101 };
struct page_counter { atomic_long_t usage; unsigned long watermark; unsigned long max; };
struct memcg_vmstats { long state[1]; };
struct mem_cgroup {
    struct cgroup_subsys_state css;
    struct page_counter memory, swap, kmem;
    struct memcg_vmstats *vmstats;
    atomic_long_t memory_events[1];
};
enum memcg_memory_event { MEMCG_OOM = 100, MEMCG_OOM_KILL = 101, MEMCG_SWAP_FAIL = 102 };
enum memcg_stat_item { MEMCG_KMEM = 100 };
enum node_stat_item { NR_SHMEM = 100, NR_ANON_MAPPED = 101, NR_SLAB_RECLAIMABLE_B = 102 };
typedef struct { long counter; } atomic64_t;
struct pids_cgroup { struct cgroup_subsys_state css; atomic64_t counter; long watermark; atomic64_t events[1]; };
struct pids_cgroup___one { atomic64_t events_limit; };

// Processes and their memory.
struct mm_struct { unsigned long data_vm, stack_vm, locked_vm; };
struct nsproxy;
struct thread_info { __u32 status; };
struct task_struct {
    const struct cred *cred, *real_cred;
    struct css_set *cgroups;
    struct thread_info thread_info;
    struct nsproxy *nsproxy;
    struct mm_struct *mm;
    struct files_struct *files;
    struct pid *thread_pid;
    int pid, tgid;
};
struct kernel_siginfo { int si_signo, si_code; };

// Files and locks.
struct file { const struct cred *f_cred; struct inode *f_inode; };
struct file_lock_context { struct list_head flc_flock, flc_posix; };
struct inode { struct file_lock_context *i_flctx; };
struct file_lock_core { struct list_head flc_list; void *flc_owner; unsigned char flc_type; struct file *flc_file; };
struct file_lock { struct file_lock_core c; };
struct file_lock___flat { struct list_head fl_list; void *fl_owner; unsigned char fl_type; struct file *fl_file; };

// Sockets.
struct net_generic;
struct net { struct user_namespace *user_ns; struct list_head list; __u64 net_cookie; struct net_generic *gen; };
struct nsproxy { struct net *net_ns; };
typedef struct { struct net *net; } possible_net_t;
struct sock_common { unsigned short skc_family; possible_net_t skc_net; };
struct sock {
    struct sock_common __sk_common;
    struct { atomic_t rmem_alloc; } sk_backlog;
    int sk_wmem_queued;
    refcount_t sk_wmem_alloc;
    __u16 sk_type, sk_protocol;
};
struct tcp_sock { __u32 rcv_nxt, copied_seq; };
struct socket { short type; struct sock *sk; struct file *file; };
struct request_sock { int dummy; };
struct sk_buff { struct sock *sk; unsigned int truesize, len; unsigned char *data; };
struct msghdr { int msg_namelen; };

// The packet filter: nf_tables and x_tables.
struct nftables_pernet { struct list_head tables; };
struct nft_table { struct list_head list, chains; __u16 family : 6; __u32 nlpid; char *name; };
struct nft_chain { struct list_head rules, list; };
struct xt_pernet { struct list_head tables[13]; };
struct xt_table_info { unsigned int number; };
struct xt_table { struct list_head list; struct xt_table_info *private; char name[32]; };

// Mounts.
struct file_system_type { const char *name; };
struct super_block { struct file_system_type *s_type; struct user_namespace *s_user_ns; unsigned long s_magic; };

// What programs of other kinds are given.
struct seq_file { unsigned long count; };
struct bpf_iter_meta { struct seq_file *seq; __u64 session_id, seq_num; };
struct bpf_iter__task { struct bpf_iter_meta *meta; struct task_struct *task; };
struct bpf_iter__task_file { struct bpf_iter_meta *meta; struct task_struct *task; __u32 fd; struct file *file; };

#pragma clang attribute pop

#endif
