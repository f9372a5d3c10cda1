// Calls of the kernel that touch neither errno nor anything else of the thread: for children that share our memory.
#ifndef VZ_SYSTEM_CALLS_H
#define VZ_SYSTEM_CALLS_H

#include <linux/sched.h>
#include <sys/syscall.h>

#ifndef __x86_64__
#error "system_calls.h knows the system call convention of x86-64 only"
#endif

static inline long sys(long number, long a, long b, long c, long d, long e) {
    long answer;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    __asm__ volatile("syscall" : "=a"(answer) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
    return answer;
}
#define SYS0(n) sys(n, 0, 0, 0, 0, 0)
#define SYS1(n, a) sys(n, (long)(a), 0, 0, 0, 0)
#define SYS2(n, a, b) sys(n, (long)(a), (long)(b), 0, 0, 0)
#define SYS3(n, a, b, c) sys(n, (long)(a), (long)(b), (long)(c), 0, 0)
#define SYS4(n, a, b, c, d) sys(n, (long)(a), (long)(b), (long)(c), (long)(d), 0)
#define SYS5(n, a, b, c, d, e) sys(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e))

/// clone3 with a stack of the child's own, on which it calls `entry(argument)` and exits with what that returns.
static inline long clone3_call(struct clone_args *arguments, int (*entry)(void *), void *argument) {
    long answer;
    register void *r8 __asm__("r8") = (void *)entry;
    register void *r9 __asm__("r9") = argument;
    __asm__ volatile(
        "syscall\n\t"
        "test %%rax, %%rax\n\t"
        "jnz 1f\n\t"
        "xor %%ebp, %%ebp\n\t"
        "mov %%r9, %%rdi\n\t"
        "call *%%r8\n\t"
        "mov %%eax, %%edi\n\t"
        "mov %[exit], %%eax\n\t"
        "syscall\n\t"
        "hlt\n\t"
        "1:"
        : "=a"(answer)
        : "a"(SYS_clone3), "D"(arguments), "S"(sizeof *arguments), "r"(r8), "r"(r9), [exit] "i"(SYS_exit_group)
        : "rcx", "r11", "rdx", "r10", "memory");
    return answer;
}

#endif
