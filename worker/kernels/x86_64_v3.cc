// The kernels with AVX2 and FMA: 256 bits.
#define PD_KERNELS_NAMESPACE x86_64_v3
#define PD_KERNELS_TABLE kX86V3Kernels
#define PD_KERNELS_ISA "x86-64-v3"
#include "worker/kernels/kernels_impl.h"
