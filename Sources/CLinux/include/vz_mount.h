// The mount API by file descriptors (open_tree(2), fsopen(2), move_mount(2), openat2(2)): no path of a container is ever joined.
#ifndef VZ_MOUNT_H
#define VZ_MOUNT_H

#include <stdint.h>

enum {
    VZ_O_PATH = 010000000,
    VZ_O_DIRECT = 040000,
    VZ_O_TMPFILE = 020200000,
    VZ_RESOLVE_NO_MAGICLINKS = 0x02,
    VZ_RESOLVE_NO_SYMLINKS = 0x04,
    VZ_RESOLVE_BENEATH = 0x08,
    VZ_RESOLVE_IN_ROOT = 0x10,
    VZ_MOUNT_ATTR_RDONLY = 0x1,
    VZ_MOUNT_ATTR_NOSUID = 0x2,
    VZ_MOUNT_ATTR_NODEV = 0x4,
    VZ_MOUNT_ATTR_NOEXEC = 0x8,
};

/// openat2(2); close-on-exec is added.
int vz_openat2(int directory, const char *path, int flags, uint32_t mode, uint64_t resolve);
/// A detached, private copy of the mount that `directory` stands in, rooted at it (open_tree(2) with OPEN_TREE_CLONE); not its
/// submounts.
int vz_clone_tree(int directory);
/// A detached mount of a new file system (fsopen, fsconfig, fsmount); `pairs`: key, value, …, NULL.
int vz_new_mount(const char *type, const char *const *pairs, uint64_t attributes);
/// The number of the file system that an open file is on, the id of its mount, and whether the file is the root of that mount
/// (statx(2)); its server, if it has one, is not asked.
struct vz_mounted {
    uint32_t major, minor;
    uint64_t mount;
    int32_t is_root;
};
int vz_look_at_mount(int file, struct vz_mounted *answer);
/// Sets MOUNT_ATTR_* on a mount given by its root (mount_setattr(2)).
int vz_set_mount_attributes(int tree, uint64_t attributes);

/// Changes options of the file system whose root `directory` is (fspick(2)); `pairs`: key, value, …, NULL: all of them, since some file
/// systems reset those that are not given.
int vz_reconfigure(int directory, const char *const *pairs);

#endif
