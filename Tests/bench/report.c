// report - how long it takes to read /run/vz/user_beancounters with so many containers: the programs of this tree, loaded for this alone.
//
//   report CONTAINERS READS
//
// A container is a process in a user namespace and a pid namespace of its own with a slot in the table, which is all that the kernel
// looks at when it makes the text.
#define _GNU_SOURCE
#include "vz_bpf.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { VERSION = 1, MAXIMUM = 4000 };

static void give_up(const char *what)
{
    fprintf(stderr, "report: %s: %m; %s\n", what, vz_bpf_messages());
    exit(1);
}

static double now(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1e3 + time.tv_nsec * 1e-6;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

int main(int count, char **arguments)
{
    int containers = count == 3 ? atoi(arguments[1]) : 0, reads = count == 3 ? atoi(arguments[2]) : 0;
    if (containers < 1 || containers > MAXIMUM || reads < 1 || reads > 1000)
        return fprintf(stderr, "usage: report CONTAINERS READS\n"), 1;
    // A bpffs that nobody else sees, and that goes with this process.
    if (unshare(CLONE_NEWNS) || mount(0, "/", 0, MS_REC | MS_PRIVATE, 0) || mount("bpf", "/mnt", "bpf", 0, 0))
        give_up("mount a bpffs");
    struct vz_bpf_object *object = vz_bpf_open(vz_bpf_beancounters_bytes(), vz_bpf_beancounters_size);
    if (!object)
        give_up("open the programs");
    int report = -1;
    for (int i = 0; i < vz_bpf_program_count(object); i++) {
        int is_it = !strcmp(vz_bpf_program_name(object, i), "user_beancounters");
        vz_bpf_program_choose(object, i, is_it);
        if (is_it)
            report = i;
    }
    struct vz_bpf_config config = {.version = VERSION, .level = 1, .memory_v1 = !access("/sys/fs/cgroup/memory", F_OK)};
    vz_bpf_omit_map(object, "seen_files");
    vz_bpf_omit_map(object, "marked_sockets");
    if (vz_bpf_configure(object, &config, sizeof config) || vz_bpf_load(object) || vz_bpf_attach(object, report, "/mnt/report") ||
        vz_bpf_pin_map(object, "slots", "/mnt/slots") || vz_bpf_pin_map(object, "slot_of_userns", "/mnt/slot_of_userns"))
        give_up("load the programs");
    struct vz_slot *slots =
        mmap(0, VZ_SLOTS * sizeof *slots, PROT_READ | PROT_WRITE, MAP_SHARED, vz_bpf_get("/mnt/slots"), 0);
    int places = vz_bpf_get("/mnt/slot_of_userns");
    if (slots == MAP_FAILED || places < 0)
        give_up("map the table");
    slots[0].userns = VERSION;
    for (int i = 1; i <= containers; i++) {
        pid_t child = syscall(SYS_clone, CLONE_NEWUSER | CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
        if (!child) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (;;)
                pause();
        }
        char path[64];
        struct stat namespace;
        snprintf(path, sizeof path, "/proc/%d/ns/user", child);
        if (child < 0 || stat(path, &namespace))
            give_up("start a process in namespaces of its own");
        slots[i].ctid = 100 + i;
        slots[i].depth = 2;
        slots[i].userns = namespace.st_ino;
        for (int j = 0; j < VZ_RESOURCES; j++)
            slots[i].counters[j] = (struct vz_counter){j * 1000003ll, j * 2000003ll, 1ll << 62, (1ll << 63) - 1, i};
        unsigned key = namespace.st_ino;
        struct vz_place place = {i, 0};
        if (vz_bpf_map_set(places, &key, &place))
            give_up("enter a namespace");
    }
    double times[1000], busy[1000];
    static char text[1 << 16];
    long bytes = 0, lines = 0;
    for (int i = 0; i < reads; i++) {
        int file = open("/mnt/report", O_RDONLY);
        ssize_t length;
        bytes = lines = 0;
        double begin = now(CLOCK_MONOTONIC), busy_before = now(CLOCK_PROCESS_CPUTIME_ID);
        while ((length = read(file, text, sizeof text)) > 0) {
            bytes += length;
            for (ssize_t j = 0; j < length; j++)
                lines += text[j] == '\n';
        }
        times[i] = now(CLOCK_MONOTONIC) - begin;
        busy[i] = now(CLOCK_PROCESS_CPUTIME_ID) - busy_before;
        close(file);
    }
    qsort(times, reads, sizeof *times, by_value);
    qsort(busy, reads, sizeof *busy, by_value);
    printf("%d containers, %ld lines, %ld bytes, %d reads: p50 %.2f ms, least %.2f ms; of the CPU p50 %.2f ms\n", containers, lines,
           bytes, reads, times[reads / 2], times[0], busy[reads / 2]);
    return lines == 2 + 24 * containers ? 0 : 1;
}
