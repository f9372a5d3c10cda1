// Made by programs/build: the first 64 bits of the SHA-256 of beancounters.bpf.o.
#define VZ_BEANCOUNTERS_VERSION 0x1117152a786140a7ull
