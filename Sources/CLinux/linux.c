#define _GNU_SOURCE
#include "CLinux.h"

#include <string.h>

const char *vz_strerror(int number, char *buffer, size_t size) {
    return strerror_r(number, buffer, size);
}
