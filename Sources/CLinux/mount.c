#define _GNU_SOURCE
#include "vz_mount.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(VZ_O_PATH == O_PATH && VZ_O_DIRECT == O_DIRECT && VZ_O_TMPFILE == O_TMPFILE, "flags of open(2)");
_Static_assert(VZ_RESOLVE_IN_ROOT == RESOLVE_IN_ROOT && VZ_RESOLVE_NO_SYMLINKS == RESOLVE_NO_SYMLINKS, "flags of openat2(2)");
_Static_assert(VZ_MOUNT_ATTR_NOEXEC == MOUNT_ATTR_NOEXEC && VZ_MOUNT_ATTR_NODEV == MOUNT_ATTR_NODEV, "flags of fsmount(2)");

int vz_openat2(int directory, const char *path, int flags, uint32_t mode, uint64_t resolve) {
    struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC), .mode = mode, .resolve = resolve};
    return syscall(SYS_openat2, directory, path, &how, sizeof how);
}

int vz_clone_tree(int directory) {
    int tree = open_tree(directory, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (tree < 0) return -1;
    // The clone of a shared mount, which systemd makes of all of them, is in the peer group of its original.
    struct mount_attr change = {.propagation = MS_PRIVATE};
    if (mount_setattr(tree, "", AT_EMPTY_PATH, &change, sizeof change)) {
        int error = errno;
        close(tree);
        errno = error;
        return -1;
    }
    return tree;
}

int vz_new_mount(const char *type, const char *const *pairs, uint64_t attributes) {
    int context = fsopen(type, FSOPEN_CLOEXEC);
    if (context < 0) return -1;
    int answer = 0;
    for (; answer == 0 && pairs[0]; pairs += 2) answer = fsconfig(context, FSCONFIG_SET_STRING, pairs[0], pairs[1], 0);
    if (answer == 0) answer = fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    if (answer == 0) answer = fsmount(context, FSMOUNT_CLOEXEC, attributes);
    int error = errno;
    close(context);
    errno = error;
    return answer;
}

int vz_set_mount_attributes(int tree, uint64_t attributes) {
    struct mount_attr change = {.attr_set = attributes};
    return mount_setattr(tree, "", AT_EMPTY_PATH, &change, sizeof change);
}

int vz_look_at_mount(int file, struct vz_mounted *answer) {
    struct statx info;
    if (statx(file, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &info)) return -1;
    if (!(info.stx_mask & STATX_MNT_ID) || !(info.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT)) {
        errno = ENOSYS;
        return -1;
    }
    *answer = (struct vz_mounted){.major = info.stx_dev_major, .minor = info.stx_dev_minor, .mount = info.stx_mnt_id,
                                  .is_root = (info.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0};
    return 0;
}

int vz_reconfigure(int directory, const char *const *pairs) {
    int context = fspick(directory, "", FSPICK_EMPTY_PATH | FSPICK_CLOEXEC);
    if (context < 0) return -1;
    int answer = 0;
    for (; answer == 0 && pairs[0]; pairs += 2) answer = fsconfig(context, FSCONFIG_SET_STRING, pairs[0], pairs[1], 0);
    if (answer == 0) answer = fsconfig(context, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0);
    int error = errno;
    close(context);
    errno = error;
    return answer;
}
