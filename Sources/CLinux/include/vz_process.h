// Processes by pidfd, and terminals.
#ifndef VZ_PROCESS_H
#define VZ_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

enum {
    VZ_CLONE_NEWNS = 0x00020000,
    VZ_CLONE_NEWCGROUP = 0x02000000,
    VZ_CLONE_NEWUTS = 0x04000000,
    VZ_CLONE_NEWIPC = 0x08000000,
    VZ_CLONE_NEWUSER = 0x10000000,
    VZ_CLONE_NEWPID = 0x20000000,
    VZ_CLONE_NEWNET = 0x40000000,
    VZ_CLONE_PARENT = 0x00008000,
};

int vz_pidfd_open(pid_t pid);
int vz_pidfd_send_signal(int pidfd, int signal);
/// The wait status of a process that has ended and been reaped (PIDFD_GET_INFO with PIDFD_INFO_EXIT, Linux 6.15).
/// 0 and `status`; -1 with ENODATA while it is not reaped, ENOTTY or EINVAL where the kernel cannot tell.
int vz_pidfd_exit_status(int pidfd, int *status);
/// Starts a program of the host's as a child: `argv[0]` is looked for in PATH; standard input is /dev/null, standard output and error are
/// `output` and `errors`; signals are at their defaults. It is killed when the calling thread ends before it, from the first moment on.
/// 0 and `pid`; -1 with errno when it cannot be started.
int vz_command(char *const argv[], int output, int errors, pid_t *pid);
/// Waits for a child of ours. 0 and `status` in the form of wait(2).
int vz_wait_child(int pidfd, int *status);
/// The host name in the UTS namespace of another process. Setting it takes a thread made for that.
int vz_hostname_get(int pidfd, char *name, size_t size);
int vz_hostname_set(int pidfd, const char *name);
/// The other end of a pseudo terminal, opened without a path (TIOCGPTPEER); close-on-exec.
int vz_pty_peer(int master);
int vz_pty_unlock(int master);
int vz_terminal_size_copy(int from, int to);
/// prctl(PR_SET_DUMPABLE, 0): nobody may trace this process or read its memory but root of the host.
int vz_set_undumpable(void);
/// mallopt(3) with M_ARENA_MAX 1.
void vz_use_one_heap(void);

/* From now on `signal` is only noted; vz_resend_postponed sends this process again what came meanwhile. */
void vz_postpone_signal(int signal);
void vz_resend_postponed(void);
/// epoll(7) for reading only: a descriptor that is told of descriptors which can be read.
int vz_poll_create(void);
int vz_poll_add(int poll, int descriptor);
int vz_poll_remove(int poll, int descriptor);
/// Waits for ever; how many of `ready` were filled in, `count` at most.
int vz_poll_wait(int poll, int *ready, int count);
/// Starts a child that writes `text` to `file` when the last copy of the descriptor *handle is closed, at the latest when this process
/// ends, however it does, and then ends itself. It has a copy of no other descriptor. -1: it was not started.
pid_t vz_write_at_end(int file, const char *text, size_t length, int *handle);
/// pipe2(2) with O_CLOEXEC.
int vz_pipe(int ends[2]);

/// Writes a system control of the process' IPC namespace, whose root is `root`, and reads it, as a text.
int vz_ipc_control_set(int pidfd, const char *path, const char *value, unsigned root);
int vz_ipc_control_get(int pidfd, const char *path, char *value, size_t size);

#endif
