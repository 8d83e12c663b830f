// The kernels with SSE: 128 bits, no fused multiply-add.
#define PD_KERNELS_NAMESPACE x86_64_v2
#define PD_KERNELS_TABLE kX86V2Kernels
#define PD_KERNELS_ISA "x86-64-v2"
#include "worker/kernels/kernels_impl.h"
