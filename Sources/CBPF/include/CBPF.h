#ifndef CBPF_H
#define CBPF_H

#include "vz_beancounters.h"
#include "vz_bpf.h"

#endif
