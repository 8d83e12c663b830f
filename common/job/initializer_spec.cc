// SPDX-License-Identifier: Apache-2.0

#include "common/job/initializer_spec.h"

#include <type_traits>

namespace percentdelta {

std::string InitializerName(const Initializer& initializer) {
  return std::visit(
      [](const auto& kind) -> std::string {
        using Spec = std::decay_t<decltype(kind)>;
        if constexpr (std::is_same_v<Spec, ScaledInitializer>) {
          constexpr const char* kNames[] = {"glorot_uniform", "glorot_normal", "he_uniform",
                                            "he_normal"};
          return kNames[static_cast<int>(kind.kind)];
        } else if constexpr (std::is_same_v<Spec, FileInitializer>) {
          return "";
        } else {
          return Spec::kName;
        }
      },
      initializer);
}

}  // namespace percentdelta
