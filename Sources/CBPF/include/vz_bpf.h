// libbpf, loaded when it is first called (dlopen), so that nothing needs it to start, and the few calls of bpf(2) that work on what is
// loaded already.
//
// Functions that answer an int answer 0, or a negative errno. What libbpf has to say about a failure is in vz_bpf_messages.
#ifndef VZ_BPF_H
#define VZ_BPF_H

#include <stddef.h>
#include <stdint.h>

#include "vz_beancounters.h"

/// The compiled programs/beancounters.bpf.c.
const void *vz_bpf_beancounters_bytes(void);
extern const size_t vz_bpf_beancounters_size;

/// An object being loaded. Not for two threads at once, nor are two objects.
struct vz_bpf_object;

/// Opens an object; `bytes` must live as long. 0: it cannot be, errno says why (ENOSYS: there is no libbpf.so.1).
struct vz_bpf_object *vz_bpf_open(const void *bytes, size_t size);

/// Has the kernel load its packet filters, nf_tables and x_tables, where they are modules: programs that read their tables can be loaded
/// only then. Where there are none that is no error.
void vz_bpf_load_packet_filters(void);

/// Lets everything go that was not pinned. 0 is nothing.
void vz_bpf_close(struct vz_bpf_object *object);

/// Warnings of libbpf since the object was opened, the last 8 KiB of them.
const char *vz_bpf_messages(void);

int vz_bpf_program_count(const struct vz_bpf_object *object);
const char *vz_bpf_program_name(const struct vz_bpf_object *object, int program);
const char *vz_bpf_program_section(const struct vz_bpf_object *object, int program);
/// Whether the running kernel has what the program is attached to by its BTF. Programs of other kinds: 1.
int vz_bpf_program_has_target(const struct vz_bpf_object *object, int program);
void vz_bpf_program_choose(struct vz_bpf_object *object, int program, int chosen);
/// Attaches a program of modify-return or fentry at the LSM hook of its name instead.
int vz_bpf_program_use_lsm(struct vz_bpf_object *object, int program);

/// Writes the section .rodata.config, `size` bytes, which must be its size.
int vz_bpf_configure(struct vz_bpf_object *object, const void *config, size_t size);
/// The map of this name is the one that `fd` is, instead of a new one.
int vz_bpf_reuse_map(struct vz_bpf_object *object, const char *map, int fd);
/// The map of this name is not made: no chosen program names it.
int vz_bpf_omit_map(struct vz_bpf_object *object, const char *map);

int vz_bpf_load(struct vz_bpf_object *object);
int vz_bpf_pin_map(struct vz_bpf_object *object, const char *map, const char *path);
/// Attaches a loaded program, but none of cgroups, and pins the link, so that it lives as long as `path`.
int vz_bpf_attach(struct vz_bpf_object *object, int program, const char *path);
int vz_bpf_pin_program(struct vz_bpf_object *object, int program, const char *path);
/// Runs an iterator once, to its end.
int vz_bpf_run_iterator(struct vz_bpf_object *object, int program);

/// Whether `path` is on a bpffs.
int vz_bpf_is_file_system(const char *path);

/// What is pinned at `path`: a descriptor, close-on-exec.
int vz_bpf_get(const char *path);
/// Attaches a program of cgroups, by its descriptor and a BPF_CGROUP_* of bpf(2), to the group `group`, beside all others there; pinned
/// at `path`.
int vz_bpf_link_group(int program, int group, unsigned type, const char *path);
/// The id of the group that the link pinned at `path` is attached to; 0: it is gone.
int vz_bpf_linked_group(const char *path, uint64_t *id);
int vz_bpf_map_set(int map, const void *key, const void *value);
/// -ENOENT: it was not there.
int vz_bpf_map_remove(int map, const void *key);
int vz_bpf_map_find(int map, const void *key, void *value);

/// What a program of cgroups is attached to, by its section; -1: it is of no such kind.
int vz_bpf_group_type(const char *section);

/// The digest of the object: never 0.
extern const uint64_t vz_bpf_beancounters_version;

/// Takes a free slot for a container: 0 when somebody else was first.
int vz_slot_take(struct vz_slot *slot, unsigned ctid);
/// Notes that slots up to `number` were taken.
void vz_slots_used(struct vz_slot *head, long long number);

#endif
