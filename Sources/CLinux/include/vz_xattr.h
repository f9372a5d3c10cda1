// Extended attributes of an open file or directory (xattr(7)).
#ifndef VZ_XATTR_H
#define VZ_XATTR_H

#include <stddef.h>
#include <sys/types.h>

/// fgetxattr(2): the value's size, or -1 with `ENODATA` (no such attribute) or `ERANGE` (`size` is too small).
ssize_t vz_fgetxattr(int fd, const char *name, void *value, size_t size);

/// fsetxattr(2), creating or replacing.
int vz_fsetxattr(int fd, const char *name, const void *value, size_t size);

#endif
