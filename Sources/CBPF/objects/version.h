// Made by programs/build: the first 64 bits of the SHA-256 of beancounters.bpf.o.
#define VZ_BEANCOUNTERS_VERSION 0xc758637b7f3c7e88ull
