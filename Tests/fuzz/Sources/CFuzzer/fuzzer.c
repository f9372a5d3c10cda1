#include "fuzzer.h"

/* libFuzzer's own main refers to this; ours is in its place and gives the driver what to call. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    (void)data;
    (void)size;
    return 0;
}
