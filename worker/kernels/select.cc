// SPDX-License-Identifier: Apache-2.0

#include "worker/kernels/select.h"

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/isa.h"
#include "common/base/status_macros.h"
#include "worker/kernels/kernels.h"

namespace percentdelta {

PD_DECLARE_FOR_EACH_ISA(extern const Kernels kKernels;)

namespace {

constexpr const Kernels* kTables[] = PD_ADDRESS_FOR_EACH_ISA(kKernels);

const Kernels* TableOf(Isa isa) { return kTables[static_cast<size_t>(isa)]; }

}  // namespace

std::vector<const Kernels*> SupportedKernels() {
  std::vector<const Kernels*> supported;
  for (const Isa isa : SupportedIsas()) supported.push_back(TableOf(isa));
  return supported;
}

absl::StatusOr<const Kernels*> SelectKernels(const std::string& isa) {
  ASSIGN_OR_RETURN(const Isa selected, SelectIsa(isa));
  return TableOf(selected);
}

}  // namespace percentdelta
