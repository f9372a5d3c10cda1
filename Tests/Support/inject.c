// inject - runs a command and disturbs one of the system calls that it and its children make.
//
//   inject [-o LOG] [-s PATH] [-c CALL] [-p] NUMBER FAULT COMMAND…
//
// Counts the system calls of the command and of every process that it makes, in the order in which they are entered, from the first
// open of PATH on, which passes over the dynamic loader; with -c only those of one name. Call NUMBER is not made: with FAULT `kill` the process that wants it gets
// SIGKILL; with the number of an error it is answered instead. With -p so are all later ones of the same number that write (a disk that
// stays full). NUMBER 0 disturbs nothing.
//
// LOG gets a line for each counted call: NUMBER, CALL, `own` or `helper` (a process that executes another program), and the path that
// it names. Exit code: the command's, or 128 + its signal.
//
// strace(1) can do nearly this, but counts in each process anew: the third call of a child could never be reached where the third of its
// parent ends it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

// The argument of each call that is a path, or -1.
static const struct { long number; const char *name; int path; bool writes; } calls[] = {
#define CALL(name, path, writes) {SYS_##name, #name, path, writes}
    CALL(read, -1, 0), CALL(write, -1, 1), CALL(openat, 1, 0), CALL(openat2, 1, 0), CALL(newfstatat, 1, 0), CALL(getdents64, -1, 0),
    CALL(faccessat, 1, 0), CALL(faccessat2, 1, 0), CALL(access, 0, 0), CALL(readlink, 0, 0), CALL(fgetxattr, 1, 0), CALL(fsetxattr, 1, 1),
    CALL(mkdir, 0, 1), CALL(mkdirat, 1, 1), CALL(rename, 0, 1), CALL(renameat, 1, 1), CALL(renameat2, 1, 1), CALL(unlink, 0, 0),
    CALL(unlinkat, 1, 0), CALL(rmdir, 0, 0), CALL(symlink, 0, 1), CALL(symlinkat, 0, 1), CALL(linkat, 1, 1), CALL(mknodat, 1, 1),
    CALL(fchmod, -1, 0), CALL(fchmodat, 1, 0), CALL(chmod, 0, 0), CALL(fchown, -1, 0), CALL(fchownat, 1, 0), CALL(fsync, -1, 1),
    CALL(ftruncate, -1, 0), CALL(flock, -1, 0), CALL(statfs, 0, 0), CALL(pread64, -1, 0), CALL(copy_file_range, -1, 1),
    CALL(clone, -1, 0), CALL(clone3, -1, 0), CALL(vfork, -1, 0), CALL(fork, -1, 0), CALL(execve, 0, 0), CALL(pidfd_open, -1, 0),
    CALL(pidfd_send_signal, -1, 0), CALL(waitid, -1, 0), CALL(kill, -1, 0), CALL(poll, -1, 0), CALL(pipe2, -1, 0),
    CALL(setns, -1, 0), CALL(unshare, -1, 0), CALL(mount, 1, 0), CALL(umount2, 0, 0), CALL(move_mount, 3, 0), CALL(open_tree, 1, 0),
    CALL(fsopen, 0, 0), CALL(fsconfig, 2, 0), CALL(fsmount, -1, 0), CALL(mount_setattr, -1, 0), CALL(pivot_root, -1, 0),
    CALL(sethostname, -1, 0), CALL(setsid, -1, 0), CALL(setresuid, -1, 0), CALL(setresgid, -1, 0), CALL(setgroups, -1, 0),
    CALL(capset, -1, 0), CALL(prctl, -1, 0), CALL(prlimit64, -1, 0), CALL(fchdir, -1, 0), CALL(chdir, 0, 0), CALL(ioctl, -1, 0),
    CALL(socket, -1, 0), CALL(swapon, 0, 0), CALL(swapoff, 0, 0),
};

enum { MOST = 4096 };
static struct tracee { pid_t thread, process; bool helper, answering; long answer; } tracees[MOST];
static int tracee_count;

static struct tracee *tracee(pid_t thread) {
    for (int i = 0; i < tracee_count; i++)
        if (tracees[i].thread == thread) return &tracees[i];
    if (tracee_count == MOST) exit(125);
    tracees[tracee_count] = (struct tracee){.thread = thread};
    return &tracees[tracee_count++];
}

static pid_t process_of(pid_t thread) {
    char path[40], line[128];
    pid_t process = thread;
    snprintf(path, sizeof path, "/proc/%d/status", thread);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "Tgid: %d", &process) == 1) break;
    if (file) fclose(file);
    return process;
}

/// The text at an address of another process, without what would break a line of the log.
static const char *text(pid_t thread, unsigned long address) {
    static char text[256];
    struct iovec to = {text, sizeof text - 1}, from = {(void *)address, sizeof text - 1};
    ssize_t n = process_vm_readv(thread, &to, 1, &from, 1, 0);
    if (n < 0) {  // near the end of a page
        to.iov_len = from.iov_len = 4096 - address % 4096 < sizeof text ? 4096 - address % 4096 : sizeof text - 1;
        n = process_vm_readv(thread, &to, 1, &from, 1, 0);
    }
    text[n < 0 ? 0 : n] = 0;
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ') *c = '?';
    return text;
}

static FILE *the_log;
static const char *start, *only;
static long counted, chosen, error;
static bool stays, is_done;

static void answer(struct tracee *t, long value) {
    struct user_regs_struct registers;
    if (ptrace(PTRACE_GETREGS, t->thread, 0, &registers)) return;
    registers.orig_rax = -1;
    ptrace(PTRACE_SETREGS, t->thread, 0, &registers);
    t->answering = true;
    t->answer = value;
}

/// What a file descriptor stands for.
static const char *file_of(pid_t thread, int descriptor) {
    static char name[256];
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", thread, descriptor);
    ssize_t n = readlink(path, name, sizeof name - 1);
    name[n < 0 ? 0 : n] = 0;
    return name;
}

static void entered(struct tracee *t, const struct __ptrace_syscall_info *info) {
    size_t i = 0;
    while (i < sizeof calls / sizeof *calls && calls[i].number != (long)info->entry.nr) i++;
    if (i == sizeof calls / sizeof *calls) return;
    if (start && (info->entry.nr != SYS_openat || strcmp(text(t->thread, info->entry.args[1]), start))) return;
    start = NULL;
    if (only && strcmp(only, calls[i].name)) return;
    counted++;
    if (the_log)
        fprintf(the_log, "%ld %s %s %s\n", counted, calls[i].name, t->helper ? "helper" : "own",
                calls[i].path >= 0 ? text(t->thread, info->entry.args[calls[i].path])
                : info->entry.nr == SYS_write || info->entry.nr == SYS_read || info->entry.nr == SYS_fsync || info->entry.nr == SYS_ioctl
                    ? file_of(t->thread, info->entry.args[0]) : "");
    bool again = stays && is_done && (calls[i].writes || (info->entry.nr == SYS_openat && info->entry.args[2] & O_CREAT));
    // Standard error goes to people, not to the disk that is full.
    if (again && info->entry.nr == SYS_write && info->entry.args[0] == 2) again = false;
    if (counted != chosen && !again) return;
    is_done = true;
    if (error) return answer(t, -error);
    answer(t, -EINTR);
    kill(t->process, SIGKILL);
}

static void stopped_by_call(struct tracee *t) {
    struct __ptrace_syscall_info info;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, t->thread, sizeof info, &info) <= 0) return;
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY) return entered(t, &info);
    if (info.op != PTRACE_SYSCALL_INFO_EXIT || !t->answering) return;
    t->answering = false;
    struct user_regs_struct registers;
    if (ptrace(PTRACE_GETREGS, t->thread, 0, &registers)) return;
    registers.rax = t->answer;
    ptrace(PTRACE_SETREGS, t->thread, 0, &registers);
}

/// One stop of a traced thread: what it was, and the signal to go on with.
static int stop(struct tracee *t, int status) {
    int signal = WSTOPSIG(status), event = status >> 16;
    unsigned long made = 0;
    if (signal == (SIGTRAP | 0x80)) return stopped_by_call(t), 0;
    switch (event) {
    case PTRACE_EVENT_CLONE:
    case PTRACE_EVENT_FORK:
    case PTRACE_EVENT_VFORK:
        ptrace(PTRACE_GETEVENTMSG, t->thread, 0, &made);
        bool helper = t->helper;
        struct tracee *child = tracee(made);
        child->helper = helper;
        child->process = process_of(made);
        return 0;
    case PTRACE_EVENT_EXEC: t->helper = true; return 0;
    case PTRACE_EVENT_STOP: return 0;
    }
    return event ? 0 : signal;
}

static int usage(void) {
    fputs("usage: inject [-o LOG] [-s PATH] [-c CALL] [-p] NUMBER FAULT COMMAND...\n", stderr);
    return 125;
}

int main(int count, char **arguments) {
    for (int option; (option = getopt(count, arguments, "+o:s:c:p")) != -1;) {
        if (option == 'o') the_log = fopen(optarg, "we");
        else if (option == 's') start = optarg;
        else if (option == 'c') only = optarg;
        else if (option == 'p') stays = true;
        else return usage();
    }
    if (count - optind < 3) return usage();
    chosen = atol(arguments[optind]);
    error = strcmp(arguments[optind + 1], "kill") ? atol(arguments[optind + 1]) : 0;
    int gate[2];
    if (pipe2(gate, O_CLOEXEC)) return 125;
    pid_t command = fork();
    if (command == 0) {
        char byte;
        close(gate[1]);
        if (read(gate[0], &byte, 1) < 0) _exit(125);
        execvp(arguments[optind + 2], arguments + optind + 2);
        perror(arguments[optind + 2]);
        _exit(126);
    }
    if (ptrace(PTRACE_SEIZE, command, 0,
               PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC)) {
        perror("inject: ptrace");
        return 125;
    }
    *tracee(command) = (struct tracee){.thread = command, .process = command};
    close(gate[1]);
    bool executed = false;
    int status = 0;
    for (pid_t thread; (thread = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR;) {
        if (thread < 0) continue;
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            // Whoever is left is let go with the end of this process.
            if (thread == command) break;
            continue;
        }
        struct tracee *t = tracee(thread);
        if (!t->process) t->process = process_of(thread);
        int signal = stop(t, status);
        if (!executed && status >> 16 == PTRACE_EVENT_EXEC) t->helper = false, executed = true;
        ptrace(is_done && !stays && !t->answering && chosen ? PTRACE_CONT : PTRACE_SYSCALL, thread, 0, (long)signal);
    }
    if (the_log) fclose(the_log);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
