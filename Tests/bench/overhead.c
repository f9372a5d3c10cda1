// overhead - what calls cost that beancounters are charged for, in ns of CLOCK_MONOTONIC: for each operation the least of some rounds,
// since what comes between adds and never takes away. On a machine whose clock counts instructions (vmtest -i) these are instructions.
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 7 };

static int listener, udp, pair[2], file;
static struct sockaddr_in address, udp_address;

static void getpid_call(void) { syscall(SYS_getpid); }
static void open_close(void) { close(open("/dev/null", O_RDONLY)); }
static void open_close_file(void) { close(open("/tmp/overhead.lock", O_RDONLY)); }
static void socket_tcp(void) { close(socket(AF_INET, SOCK_STREAM, 0)); }
static void socket_udp(void) { close(socket(AF_INET, SOCK_DGRAM, 0)); }
static void socket_unix(void) { close(socket(AF_UNIX, SOCK_STREAM, 0)); }

static void connect_accept(void) {
    int out = socket(AF_INET, SOCK_STREAM, 0);
    struct linger at_once = {1, 0};
    setsockopt(out, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    if (connect(out, (void *)&address, sizeof address)) perror("connect"), exit(1);
    close(accept(listener, 0, 0));
    close(out);
}

static void flock_unlock(void) {
    flock(file, LOCK_EX);
    flock(file, LOCK_UN);
}

static void fcntl_lock(void) {
    struct flock lock = {.l_type = F_WRLCK, .l_len = 1};
    fcntl(file, F_SETLK, &lock);
    lock.l_type = F_UNLCK;
    fcntl(file, F_SETLK, &lock);
}

static void udp_send(void) {
    char bytes[64] = {0};
    sendto(udp, bytes, sizeof bytes, 0, (void *)&udp_address, sizeof udp_address);
    recv(udp, bytes, sizeof bytes, 0);
}

static void unix_send(void) {
    char bytes[64] = {0};
    if (write(pair[0], bytes, sizeof bytes) != read(pair[1], bytes, sizeof bytes)) exit(1);
}

static void map_unmap(void) { munmap(mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 65536); }

static void fork_wait(void) {
    pid_t child = fork();
    if (!child) _exit(0);
    waitpid(child, 0, 0);
}

static const struct { const char *name; void (*call)(void); int count; } all[] = {
    {"getpid", getpid_call, 2000},
    {"open + close, a file", open_close_file, 500}, {"open + close, /dev/null", open_close, 500},
    {"socket + close, tcp", socket_tcp, 300}, {"socket + close, udp", socket_udp, 300},
    {"socket + close, unix", socket_unix, 300}, {"connect + accept + close", connect_accept, 100},
    {"flock + unlock", flock_unlock, 500},  {"fcntl lock + unlock", fcntl_lock, 500},
    {"udp send + receive, 64 B", udp_send, 300}, {"unix send + receive, 64 B", unix_send, 300},
    {"mmap + munmap, 64 KiB", map_unmap, 300}, {"fork + exit + wait", fork_wait, 30},
};

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

int main(void) {
    socklen_t size = sizeof address;
    address.sin_family = udp_address.sin_family = AF_INET;
    address.sin_addr.s_addr = udp_address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    udp = socket(AF_INET, SOCK_DGRAM, 0);
    file = open("/tmp/overhead.lock", O_RDWR | O_CREAT, 0600);
    if (bind(listener, (void *)&address, size) || listen(listener, 64) || getsockname(listener, (void *)&address, &size) ||
        bind(udp, (void *)&udp_address, size) || getsockname(udp, (void *)&udp_address, &size) ||
        socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || file < 0)
        return perror("prepare"), 1;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        double least = 0;
        for (int j = 0; j < 10; j++) all[i].call();
        for (int round = 0; round < ROUNDS; round++) {
            double begin = now();
            for (int j = 0; j < all[i].count; j++) all[i].call();
            double cost = (now() - begin) / all[i].count;
            if (!round || cost < least) least = cost;
        }
        printf("%s\t%.0f\n", all[i].name, least);
    }
    return 0;
}
