#include "worker/kernels/select.h"

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/kernels/kernels.h"

namespace percentdelta {

std::vector<const Kernels*> SupportedKernels() {
  std::vector<const Kernels*> supported;
#if defined(__x86_64__)
  // Feature by feature: the names of the levels are unknown to __builtin_cpu_supports of clang 14.
  const bool v2 = __builtin_cpu_supports("ssse3") && __builtin_cpu_supports("sse4.2") &&
                  __builtin_cpu_supports("popcnt");
  const bool v3 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                  __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  if (v4) supported.push_back(&kX86V4Kernels);
  if (v3) supported.push_back(&kX86V3Kernels);
  if (v2) supported.push_back(&kX86V2Kernels);
#endif
  supported.push_back(&kGenericKernels);
  return supported;
}

absl::StatusOr<const Kernels*> SelectKernels(const std::string& isa) {
  const std::vector<const Kernels*> supported = SupportedKernels();
  if (isa.empty()) return supported.front();
  for (const Kernels* kernels : supported) {
    if (kernels->isa == isa) return kernels;
  }
  const auto append_name = [](std::string* out, const Kernels* kernels) {
    absl::StrAppend(out, kernels->isa);
  };
  return absl::InvalidArgumentError(
      absl::StrCat("instruction set \"", isa, "\" is unknown or not that of this processor, which ",
                   "has: ", absl::StrJoin(supported, ", ", append_name)));
}

}  // namespace percentdelta
