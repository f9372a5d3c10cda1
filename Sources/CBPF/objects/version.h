// Made by programs/build: the first 64 bits of the SHA-256 of beancounters.bpf.o.
#define VZ_BEANCOUNTERS_VERSION 0x53bc13e6b9328fb2ull
