#define _GNU_SOURCE
#include "vz_bpf.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/magic.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "libbpf.h"
#include "objects/version.h"

// A feature of C23, which this compiler has in every C.
#pragma clang diagnostic ignored "-Wc23-extensions"
static const unsigned char beancounters[] __attribute__((aligned(8))) = {
#embed "objects/beancounters.bpf.o"
};
const size_t vz_bpf_beancounters_size = sizeof beancounters;
const void *vz_bpf_beancounters_bytes(void) { return beancounters; }
const uint64_t vz_bpf_beancounters_version = VZ_BEANCOUNTERS_VERSION;

struct vz_bpf_object {
    void *library;
    struct vz_libbpf call;
    struct bpf_object *object;
    /// The kernel's own types.
    struct btf *types;
    struct bpf_program **programs;
    int count;
};

/// What libbpf says, the end of it. One object at a time, as the header demands.
static char messages[8192];

static int keep_message(int level, const char *format, va_list arguments)
{
    enum { WARNING = 0 };
    if (level != WARNING)
        return 0;
    char line[2048];
    int length = vsnprintf(line, sizeof line, format, arguments);
    if (length < 0)
        return 0;
    size_t more = strlen(line), before = strlen(messages);
    if (before + more + 1 > sizeof messages) {
        size_t drop = before + more + 1 - sizeof messages;
        memmove(messages, messages + drop, before - drop + 1);
        before -= drop;
    }
    memcpy(messages + before, line, more + 1);
    return 0;
}

const char *vz_bpf_messages(void) { return messages; }

static int load_library(struct vz_bpf_object *object)
{
    object->library = dlopen("libbpf.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!object->library)
        return -ENOSYS;
#define VZ_FIND(type, name, arguments)                                                                                         \
    if (!(object->call.name = (type(*) arguments)dlsym(object->library, #name)))                                               \
        return -ENOSYS;
    VZ_LIBBPF_FUNCTIONS(VZ_FIND)
#undef VZ_FIND
    return 0;
}

static int list_programs(struct vz_bpf_object *object)
{
    struct bpf_program *program = 0;
    while ((program = object->call.bpf_object__next_program(object->object, program))) {
        void *more = realloc(object->programs, (object->count + 1) * sizeof *object->programs);
        if (!more)
            return -ENOMEM;
        object->programs = more;
        object->programs[object->count++] = program;
    }
    return 0;
}

struct vz_bpf_object *vz_bpf_open(const void *bytes, size_t size)
{
    messages[0] = 0;
    struct vz_bpf_object *object = calloc(1, sizeof *object);
    if (!object)
        return 0;
    int answer = load_library(object);
    if (!answer) {
        object->call.libbpf_set_print(keep_message);
        object->object = object->call.bpf_object__open_mem(bytes, size, 0);
        answer = object->object ? list_programs(object) : -errno;
    }
    if (answer) {
        vz_bpf_close(object);
        errno = -answer;
        return 0;
    }
    object->types = object->call.btf__load_vmlinux_btf();
    return object;
}

void vz_bpf_close(struct vz_bpf_object *object)
{
    if (!object)
        return;
    if (object->types)
        object->call.btf__free(object->types);
    if (object->object)
        object->call.bpf_object__close(object->object);
    if (object->library)
        dlclose(object->library);
    free(object->programs);
    free(object);
    // Parsing the kernel's types took some megabytes.
    malloc_trim(0);
}

void vz_bpf_load_packet_filters(void)
{
    // A message to a subsystem that the kernel has not is how it loads the module; nft_compat brings x_tables.
    static const int types[] = {NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN, NFNL_SUBSYS_NFT_COMPAT << 8};
    int file = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    for (int i = 0; file >= 0 && i < 2; i++) {
        struct {
            struct nlmsghdr head;
            struct nfgenmsg body;
        } message = {{sizeof message, types[i], NLM_F_REQUEST, 0, 0}, {AF_UNSPEC, NFNETLINK_V0, 0}};
        send(file, &message, sizeof message, MSG_DONTWAIT);
    }
    if (file >= 0)
        close(file);
}

int vz_bpf_is_file_system(const char *path)
{
    struct statfs status;
    return !statfs(path, &status) && status.f_type == BPF_FS_MAGIC;
}

int vz_bpf_program_count(const struct vz_bpf_object *object) { return object->count; }

const char *vz_bpf_program_name(const struct vz_bpf_object *object, int program)
{
    return object->call.bpf_program__name(object->programs[program]);
}

const char *vz_bpf_program_section(const struct vz_bpf_object *object, int program)
{
    return object->call.bpf_program__section_name(object->programs[program]);
}

int vz_bpf_program_has_target(const struct vz_bpf_object *object, int program)
{
    const char *section = vz_bpf_program_section(object, program), *target = strchr(section, '/');
    if (!target || !(!strncmp(section, "fentry/", 7) || !strncmp(section, "fexit/", 6) || !strncmp(section, "fmod_ret/", 9)))
        return 1;
    return object->types && object->call.btf__find_by_name_kind(object->types, target + 1, 12 /* BTF_KIND_FUNC */) > 0;
}

void vz_bpf_program_choose(struct vz_bpf_object *object, int program, int chosen)
{
    object->call.bpf_program__set_autoload(object->programs[program], chosen);
}

int vz_bpf_program_use_lsm(struct vz_bpf_object *object, int program)
{
    struct bpf_program *it = object->programs[program];
    int answer = object->call.bpf_program__set_type(it, LIBBPF_PROG_TYPE_LSM);
    if (!answer)
        answer = object->call.bpf_program__set_expected_attach_type(it, LIBBPF_ATTACH_LSM_MAC);
    return answer ? answer : object->call.bpf_program__set_attach_target(it, 0, object->call.bpf_program__name(it));
}

static struct bpf_map *map_named(struct vz_bpf_object *object, const char *name)
{
    return object->call.bpf_object__find_map_by_name(object->object, name);
}

int vz_bpf_configure(struct vz_bpf_object *object, const void *config, size_t size)
{
    struct bpf_map *map = map_named(object, ".rodata.config");
    return map ? object->call.bpf_map__set_initial_value(map, config, size) : -ENOENT;
}

int vz_bpf_reuse_map(struct vz_bpf_object *object, const char *map, int fd)
{
    struct bpf_map *it = map_named(object, map);
    return it ? object->call.bpf_map__reuse_fd(it, fd) : -ENOENT;
}

int vz_bpf_omit_map(struct vz_bpf_object *object, const char *map)
{
    struct bpf_map *it = map_named(object, map);
    return it ? object->call.bpf_map__set_autocreate(it, false) : -ENOENT;
}

int vz_bpf_load(struct vz_bpf_object *object) { return object->call.bpf_object__load(object->object); }

int vz_bpf_pin_map(struct vz_bpf_object *object, const char *map, const char *path)
{
    struct bpf_map *it = map_named(object, map);
    return it ? object->call.bpf_map__pin(it, path) : -ENOENT;
}

static struct bpf_link *attach(struct vz_bpf_object *object, int program)
{
    struct bpf_program *it = object->programs[program];
    const char *section = vz_bpf_program_section(object, program);
    if (!strncmp(section, "iter/", 5))
        return object->call.bpf_program__attach_iter(it, 0);
    return object->call.bpf_program__attach(it);
}

int vz_bpf_attach(struct vz_bpf_object *object, int program, const char *path)
{
    struct bpf_link *link = attach(object, program);
    if (!link)
        return -errno;
    int answer = object->call.bpf_link__pin(link, path);
    // Pinned, it lives on without us.
    object->call.bpf_link__destroy(link);
    return answer;
}

int vz_bpf_pin_program(struct vz_bpf_object *object, int program, const char *path)
{
    return object->call.bpf_program__pin(object->programs[program], path);
}

int vz_bpf_run_iterator(struct vz_bpf_object *object, int program)
{
    struct bpf_link *link = attach(object, program);
    if (!link)
        return -errno;
    int file = object->call.bpf_iter_create(object->call.bpf_link__fd(link)), answer = file < 0 ? -errno : 0;
    if (file >= 0) {
        char text[4096];
        ssize_t length;
        while ((length = read(file, text, sizeof text)) > 0 || (length < 0 && (errno == EINTR || errno == EAGAIN)))
            ;
        if (length < 0)
            answer = -errno;
        close(file);
    }
    object->call.bpf_link__destroy(link);
    return answer;
}

static int call(enum bpf_cmd command, union bpf_attr *attributes)
{
    long answer = syscall(SYS_bpf, command, attributes, sizeof *attributes);
    return answer < 0 ? -errno : (int)answer;
}

int vz_bpf_get(const char *path)
{
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.pathname = (uintptr_t)path;
    return call(BPF_OBJ_GET, &attributes);
}

static int pin(int fd, const char *path)
{
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.pathname = (uintptr_t)path;
    attributes.bpf_fd = fd;
    return call(BPF_OBJ_PIN, &attributes);
}

int vz_bpf_link_group(int program, int group, unsigned type, const char *path)
{
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.link_create.prog_fd = program;
    attributes.link_create.target_fd = group;
    attributes.link_create.attach_type = type;
    int link = call(BPF_LINK_CREATE, &attributes);
    if (link < 0)
        return link;
    int answer = pin(link, path);
    close(link);
    return answer;
}

int vz_bpf_linked_group(const char *path, uint64_t *id)
{
    int link = vz_bpf_get(path);
    if (link < 0)
        return link;
    struct bpf_link_info info;
    union bpf_attr attributes;
    memset(&info, 0, sizeof info);
    memset(&attributes, 0, sizeof attributes);
    attributes.info.bpf_fd = link;
    attributes.info.info_len = sizeof info;
    attributes.info.info = (uintptr_t)&info;
    int answer = call(BPF_OBJ_GET_INFO_BY_FD, &attributes);
    close(link);
    *id = info.cgroup.cgroup_id;
    return answer;
}

int vz_bpf_group_type(const char *section)
{
    static const struct { const char *section; int type; } all[] = {
        {"cgroup/sock_create", BPF_CGROUP_INET_SOCK_CREATE}, {"cgroup/sock_release", BPF_CGROUP_INET_SOCK_RELEASE},
        {"cgroup/sysctl", BPF_CGROUP_SYSCTL},                {"cgroup/setsockopt", BPF_CGROUP_SETSOCKOPT},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(section, all[i].section))
            return all[i].type;
    return -1;
}

int vz_slot_take(struct vz_slot *slot, unsigned ctid)
{
    unsigned none = 0;
    return __atomic_compare_exchange_n(&slot->ctid, &none, ctid, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

void vz_slots_used(struct vz_slot *head, long long number)
{
    long long *most = &head->counters[0].held, seen = __atomic_load_n(most, __ATOMIC_SEQ_CST);
    while (seen < number && !__atomic_compare_exchange_n(most, &seen, number, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        ;
}

static int map_call(enum bpf_cmd command, int map, const void *key, const void *value)
{
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.map_fd = map;
    attributes.key = (uintptr_t)key;
    attributes.value = (uintptr_t)value;
    return call(command, &attributes);
}

int vz_bpf_map_set(int map, const void *key, const void *value) { return map_call(BPF_MAP_UPDATE_ELEM, map, key, value); }
int vz_bpf_map_remove(int map, const void *key) { return map_call(BPF_MAP_DELETE_ELEM, map, key, 0); }
int vz_bpf_map_find(int map, const void *key, void *value) { return map_call(BPF_MAP_LOOKUP_ELEM, map, key, value); }
