// SPDX-License-Identifier: Apache-2.0

// The instruction sets that inner loops are compiled for, and which of them this processor has.
//
// Wherever wide registers matter, there is a table of functions, one for each instruction set,
// indexed by Isa. What fills it:
//
//  * For a plain loop, Vectorized<kLoop>(...) (vectorized.h).
//  * For code with intrinsics, a source file that is compiled once for each instruction set
//    (pd_sources_for_each_isa, common/isa.cmake), each time into another namespace:
//
//      PD_DECLARE_FOR_EACH_ISA(extern const T kFunctions;)
//      constexpr const T* kTable[] = PD_ADDRESS_FOR_EACH_ISA(kFunctions);
//
//    It must include no inline function and no standard container: the linker must not merge a
//    function compiled for one instruction set with its namesake compiled for another.

#ifndef PERCENTDELTA_COMMON_BASE_ISA_H_
#define PERCENTDELTA_COMMON_BASE_ISA_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace percentdelta {

// In ascending order: each includes those before it.
enum class Isa {
  kGeneric,   // the compiler's default for the platform
  kX86_64V2,  // SSE4.2: 128 bits, no fused multiply-add
  kX86_64V3,  // AVX2: 256 bits, fused multiply-add
  kX86_64V4,  // AVX-512: 512 bits
};

#if defined(__x86_64__)
#define PD_DECLARE_FOR_EACH_ISA(declaration) \
  namespace generic {                        \
  declaration                                \
  }                                          \
  namespace x86_64_v2 {                      \
  declaration                                \
  }                                          \
  namespace x86_64_v3 {                      \
  declaration                                \
  }                                          \
  namespace x86_64_v4 {                      \
  declaration                                \
  }
#define PD_ADDRESS_FOR_EACH_ISA(table) \
  { &generic::table, &x86_64_v2::table, &x86_64_v3::table, &x86_64_v4::table }
#else
#define PD_DECLARE_FOR_EACH_ISA(declaration) \
  namespace generic {                        \
  declaration                                \
  }
#define PD_ADDRESS_FOR_EACH_ISA(table) \
  { &generic::table }
#endif

// "generic", "x86-64-v2" and so on.
const char* IsaName(Isa isa);

// Those that this processor has, best first. Never empty: kGeneric comes last.
std::vector<Isa> SupportedIsas();

// The instruction set of that name, or the best one if `name` is empty.
//   kInvalidArgument  unknown, or not among SupportedIsas(), which the message lists
absl::StatusOr<Isa> SelectIsa(const std::string& name);

// The instruction set that Vectorized uses: the best one, unless a test or a benchmark has set
// another of SupportedIsas() for the whole process. Thread-safe.
Isa CurrentIsa();
void SetCurrentIsaForTesting(Isa isa);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_ISA_H_
