// What the kernel tells of processes. Nothing here waits for a container: /proc/PID/status takes no lock that a program could hold.
#define _GNU_SOURCE
#include "keeper.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static ssize_t read_file(const char *path, char *text, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    ssize_t n, all = 0;
    while (all < (ssize_t)size - 1 && (n = read(fd, text + all, size - 1 - all)) > 0) all += n;
    close(fd);
    text[all] = 0;
    return all;
}

/// The number behind `\nname:`; -1: it is not there.
static int64_t field(const char *text, const char *name) {
    const char *line = strstr(text, name);
    return line ? strtoll(line + strlen(name), NULL, 10) : -1;
}

static bool read_status(const char *path, struct process *process) {
    char text[8192];
    if (read_file(path, text, sizeof text) <= 0) return false;
    process->pid = field(text, "\nTgid:");
    process->tid = field(text, "\nPid:");
    int64_t locked = field(text, "\nVmLck:"), size = field(text, "\nVmSize:");
    process->locked = locked < 0 ? -1 : locked / 4;
    process->size = size < 0 ? -1 : size / 4;
    return process->pid > 0;
}

bool read_process(int32_t tid, struct process *process) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/status", tid);
    if (!read_status(path, process)) return false;
    if (process->locked >= 0) return true;
    // Its first thread has ended. Others may go on.
    snprintf(path, sizeof path, "/proc/%d/task", tid);
    DIR *threads = opendir(path);
    if (!threads) return false;
    struct dirent *entry;
    while (process->locked < 0 && (entry = readdir(threads))) {
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/%d/task/%.16s/status", tid, entry->d_name);
        struct process other;
        if (read_status(path, &other) && other.locked >= 0) *process = other;
    }
    closedir(threads);
    return process->locked >= 0;
}

uint64_t start_time(int32_t pid) {
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (read_file(path, text, sizeof text) <= 0) return 0;
    // The 22nd field; the second, in parentheses, may have anything in it.
    char *at = strrchr(text, ')');
    for (int i = 2; at && i < 22; i++) at = strchr(at + 1, ' ');
    return at ? strtoull(at, NULL, 10) : 0;
}

static int add_process(int32_t pid, struct process **list, int *count, int *room) {
    if (*count == *room) {
        int more = *room ? 2 * *room : 64;
        struct process *larger = realloc(*list, more * sizeof **list);
        if (!larger) return -1;
        *list = larger;
        *room = more;
    }
    struct process process = {0};
    if (read_process(pid, &process)) (*list)[(*count)++] = process;
    return 0;
}

static int walk(int group, int depth, struct process **list, int *count, int *room) {
    int fd = openat(group, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
    if (!file) return -1;
    int pid, answer = 0;
    while (answer == 0 && fscanf(file, "%d", &pid) == 1)
        if (pid > 0) answer = add_process(pid, list, count, room);
    // A threaded group of v2, whose processes the group above lists.
    if (ferror(file) && errno != EOPNOTSUPP) answer = -1;
    fclose(file);
    int again = answer || depth > 32 ? -1 : openat(group, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *below = again < 0 ? NULL : fdopendir(again);
    if (!below) return answer ? answer : -1;
    struct dirent *entry;
    while (answer == 0 && (entry = readdir(below))) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
        int child = openat(group, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (child < 0) continue;
        answer = walk(child, depth + 1, list, count, room);
        // A group that has gone meanwhile has no processes.
        if (answer && (errno == ENODEV || errno == ENOENT)) answer = 0;
        close(child);
    }
    closedir(below);
    return answer;
}

int list_processes(int group, struct process **list) {
    static struct process *all;
    static int room;
    int count = 0;
    int answer = walk(group, 0, &all, &count, &room);
    *list = all;
    return answer ? -1 : count;
}
