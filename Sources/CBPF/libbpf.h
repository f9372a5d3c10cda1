// libbpf.h - the functions of libbpf.so.1 (1.0 and later) that are called, by their published signatures.
#ifndef VZ_LIBBPF_H
#define VZ_LIBBPF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct bpf_object;
struct bpf_program;
struct bpf_map;
struct bpf_link;
struct btf;

enum { LIBBPF_PROG_TYPE_LSM = 29, LIBBPF_ATTACH_LSM_MAC = 27 };

#define VZ_LIBBPF_FUNCTIONS(X)                                                                                                 \
    X(void *, libbpf_set_print, (int (*)(int, const char *, va_list)))                                                         \
    X(struct bpf_object *, bpf_object__open_mem, (const void *, size_t, const void *))                                         \
    X(int, bpf_object__load, (struct bpf_object *))                                                                            \
    X(void, bpf_object__close, (struct bpf_object *))                                                                          \
    X(struct bpf_program *, bpf_object__next_program, (const struct bpf_object *, struct bpf_program *))                       \
    X(struct bpf_map *, bpf_object__find_map_by_name, (const struct bpf_object *, const char *))                               \
    X(const char *, bpf_program__name, (const struct bpf_program *))                                                           \
    X(const char *, bpf_program__section_name, (const struct bpf_program *))                                                   \
    X(int, bpf_program__set_autoload, (struct bpf_program *, bool))                                                            \
    X(int, bpf_program__set_type, (struct bpf_program *, unsigned))                                                            \
    X(int, bpf_program__set_expected_attach_type, (struct bpf_program *, unsigned))                                            \
    X(int, bpf_program__set_attach_target, (struct bpf_program *, int, const char *))                                          \
    X(int, bpf_program__pin, (struct bpf_program *, const char *))                                                             \
    X(struct bpf_link *, bpf_program__attach, (const struct bpf_program *))                                                    \
    X(struct bpf_link *, bpf_program__attach_iter, (const struct bpf_program *, const void *))                                 \
    X(int, bpf_link__pin, (struct bpf_link *, const char *))                                                                   \
    X(int, bpf_link__fd, (const struct bpf_link *))                                                                            \
    X(int, bpf_link__destroy, (struct bpf_link *))                                                                             \
    X(int, bpf_iter_create, (int))                                                                                             \
    X(int, bpf_map__reuse_fd, (struct bpf_map *, int))                                                                         \
    X(int, bpf_map__set_autocreate, (struct bpf_map *, bool))                                                                  \
    X(int, bpf_map__pin, (struct bpf_map *, const char *))                                                                     \
    X(int, bpf_map__set_initial_value, (struct bpf_map *, const void *, size_t))                                               \
    X(struct btf *, btf__load_vmlinux_btf, (void))                                                                             \
    X(int, btf__find_by_name_kind, (const struct btf *, const char *, unsigned))                                               \
    X(void, btf__free, (struct btf *))

#define VZ_DECLARE(type, name, arguments) type(*name) arguments;
struct vz_libbpf {
    VZ_LIBBPF_FUNCTIONS(VZ_DECLARE)
};
#undef VZ_DECLARE

#endif
