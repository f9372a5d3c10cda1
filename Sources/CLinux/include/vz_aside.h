// Files whose file system is served by a process (FUSE): who opens one waits for that process, perhaps for ever and deaf to SIGKILL.
#ifndef VZ_ASIDE_H
#define VZ_ASIDE_H

enum { VZ_ASIDE_FILES = 16 };

/// Opens files below a directory with O_PATH (close-on-exec), after a byte was read of the first: all of them, or none.
///
/// A child waits in our place, for `milliseconds` at most: ETIMEDOUT. One that cannot be ended is left to itself, and nothing is opened
/// by this process (again ETIMEDOUT, at once) until it has ended. Else the errno of open(2) and read(2).
/// `fds` has room for `count` descriptors, VZ_ASIDE_FILES at most.
int vz_open_aside(const char *directory, const char *const *names, int count, int milliseconds, int *fds);

#endif
