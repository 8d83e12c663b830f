// The kernels with AVX-512: 512 bits.
#define PD_KERNELS_NAMESPACE x86_64_v4
#define PD_KERNELS_TABLE kX86V4Kernels
#define PD_KERNELS_ISA "x86-64-v4"
#include "worker/kernels/kernels_impl.h"
