// CLinux: what Swift cannot call by itself, and the code that runs between clone and exec. No policy, no strings parsed.
//
// This header includes no header of the C library but for plain types: what it would show under _GNU_SOURCE differs from what
// Swift's own Glibc module was built with, and the two do not mix. Calls return -1 and set errno as their system calls do.
#ifndef CLINUX_H
#define CLINUX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vz_aside.h"
#include "vz_keeper.h"
#include "vz_launch.h"
#include "vz_mount.h"
#include "vz_process.h"
#include "vz_xattr.h"

/// strerror_r of the GNU kind. Never fails; the answer may or may not lie in `buffer`.
const char *vz_strerror(int number, char *buffer, size_t size);

#endif
