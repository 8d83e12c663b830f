// SPDX-License-Identifier: Apache-2.0

// Chooses the kernels that fit the processor.

#ifndef PERCENTDELTA_WORKER_KERNELS_SELECT_H_
#define PERCENTDELTA_WORKER_KERNELS_SELECT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/kernels/kernels.h"

namespace percentdelta {

// The tables of SupportedIsas() (common/base/isa.h), best first.
std::vector<const Kernels*> SupportedKernels();

// The table of that name, or the best one if `isa` is empty. It lives as long as the process.
// Errors: as SelectIsa.
absl::StatusOr<const Kernels*> SelectKernels(const std::string& isa);

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_KERNELS_SELECT_H_
