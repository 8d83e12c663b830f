// SPDX-License-Identifier: Apache-2.0

#include "common/base/isa.h"

#include <atomic>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace percentdelta {
namespace {

std::atomic<Isa>& Current() {
  static std::atomic<Isa> current{SupportedIsas().front()};
  return current;
}

}  // namespace

const char* IsaName(Isa isa) {
  switch (isa) {
    case Isa::kGeneric:
      return "generic";
    case Isa::kX86_64V2:
      return "x86-64-v2";
    case Isa::kX86_64V3:
      return "x86-64-v3";
    case Isa::kX86_64V4:
      return "x86-64-v4";
  }
  return "";
}

std::vector<Isa> SupportedIsas() {
  std::vector<Isa> supported;
#if defined(__x86_64__)
  // Feature by feature: __builtin_cpu_supports of clang 14 does not know the names of the levels.
  const bool v2 = __builtin_cpu_supports("ssse3") && __builtin_cpu_supports("sse4.2") &&
                  __builtin_cpu_supports("popcnt");
  const bool v3 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                  __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  if (v4) supported.push_back(Isa::kX86_64V4);
  if (v3) supported.push_back(Isa::kX86_64V3);
  if (v2) supported.push_back(Isa::kX86_64V2);
#endif
  supported.push_back(Isa::kGeneric);
  return supported;
}

absl::StatusOr<Isa> SelectIsa(const std::string& name) {
  const std::vector<Isa> supported = SupportedIsas();
  if (name.empty()) return supported.front();
  for (const Isa isa : supported) {
    if (IsaName(isa) == name) return isa;
  }
  const auto append_name = [](std::string* out, Isa isa) { absl::StrAppend(out, IsaName(isa)); };
  return absl::InvalidArgumentError(
      absl::StrCat("instruction set \"", name, "\" is unknown or not supported by this processor, ",
                   "which supports: ", absl::StrJoin(supported, ", ", append_name)));
}

Isa CurrentIsa() { return Current().load(std::memory_order_relaxed); }

void SetCurrentIsaForTesting(Isa isa) { Current() = isa; }

}  // namespace percentdelta
