// The kernels with the compiler's default flags: for processors that are none of the others.
#define PD_KERNELS_NAMESPACE generic
#define PD_KERNELS_TABLE kGenericKernels
#define PD_KERNELS_ISA "generic"
#include "worker/kernels/kernels_impl.h"
