// SPDX-License-Identifier: GPL-2.0-or-later
// beancounters.bpf.c - OpenVZ's beancounters on a stock kernel: the programs that count and refuse.
//
// A program that stands at one of the kernel's security hooks is named as the LSM hook, and its section names the function that
// calls it (fmod_ret/security_…). User space attaches it to either: tier A, the BPF LSM, or tier A', modify-return, for which `bpf`
// need not be among the kernel's security modules. What has no such hook stands at tracepoints, at functions (fentry, fexit) and at
// control groups. Which programs a kernel takes is found out by user space; each does without the others.
//
// Sums of things that have no counter of their own in the kernel are kept by charge and uncharge; all others are set to what the kernel
// itself says of a socket or an address space (never added up from events), so that no loss of an event lasts.
#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "slots.h"

char LICENSE[] SEC("license") = "GPL";

#include "samples.h"

#include "files.h"
#include "sockets.h"
#include "locks.h"
#include "memory.h"
#include "signals.h"
#include "ptys.h"
#include "netfilter.h"
#include "filterchanges.h"
#include "groups.h"
#include "seed.h"
#include "report.h"
