/* libFuzzer's driver, as LLVM's documentation of it has it: the library is linked by -sanitize=fuzzer. */
#pragma once
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*one)(const uint8_t *data, size_t size));
