// SPDX-License-Identifier: Apache-2.0

// The table of kernels. Compiled once for each instruction set, with PD_ISA and PD_ISA_NAME defined
// (common/isa.cmake). Everything but the table has internal linkage: there is nothing for the
// linker to merge.

#include "worker/kernels/kernels.h"

#include "worker/kernels/conv-inl.h"
#include "worker/kernels/conv_backward-inl.h"
#include "worker/kernels/mat_mul-inl.h"
#include "worker/kernels/simd-inl.h"

namespace percentdelta::PD_ISA {

extern const Kernels kKernels;

const Kernels kKernels = {
    PD_ISA_NAME,     kArithmetic, MultiplyMatrices,    PackedConvSize,    PackConvWeights,
    ConvScratchSize, Convolve,    ConvBackwardWeights, ConvBackwardInput,
};

}  // namespace percentdelta::PD_ISA
