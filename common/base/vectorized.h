// SPDX-License-Identifier: Apache-2.0

// Runs a loop with the widest registers of this processor.

#ifndef PERCENTDELTA_COMMON_BASE_VECTORIZED_H_
#define PERCENTDELTA_COMMON_BASE_VECTORIZED_H_

#include <cstddef>
#include <utility>

#include "common/base/isa.h"

namespace percentdelta {

// A function `kLoop`, compiled once for each instruction set: its body is inlined into functions
// with more instructions, where the compiler vectorizes it anew.
template <auto kLoop>
struct LoopForEachIsa;

template <typename... Params, void (*kLoop)(Params...)>
struct LoopForEachIsa<kLoop> {
  static void ForGeneric(Params... params) { kLoop(params...); }
#if defined(__x86_64__)
  // Names of features and not of levels: GCC inlines nothing into another "arch".
#define PD_LOOP_FEATURES_V2 "ssse3,sse4.2,popcnt"
#define PD_LOOP_FEATURES_V3 PD_LOOP_FEATURES_V2 ",avx2,fma,bmi,bmi2"
#define PD_LOOP_FEATURES_V4 PD_LOOP_FEATURES_V3 ",avx512f,avx512bw,avx512cd,avx512dq,avx512vl"
  [[gnu::flatten, gnu::target(PD_LOOP_FEATURES_V2)]] static void ForV2(Params... params) {
    kLoop(params...);
  }
  [[gnu::flatten, gnu::target(PD_LOOP_FEATURES_V3)]] static void ForV3(Params... params) {
    kLoop(params...);
  }
  [[gnu::flatten, gnu::target(PD_LOOP_FEATURES_V4)]] static void ForV4(Params... params) {
    kLoop(params...);
  }
#undef PD_LOOP_FEATURES_V2
#undef PD_LOOP_FEATURES_V3
#undef PD_LOOP_FEATURES_V4
  static constexpr void (*kTable[])(Params...) = {ForGeneric, ForV2, ForV3, ForV4};
#else
  static constexpr void (*kTable[])(Params...) = {ForGeneric};
#endif
};

// Calls kLoop(args...) as compiled for CurrentIsa(). kLoop returns nothing, and is defined in the
// same file, as all that it calls. The compiler's options must let it vectorize (-O3) and must not
// fuse multiply-adds (-ffp-contract=off): then all instruction sets compute the same bits.
template <auto kLoop, typename... Args>
void Vectorized(Args&&... args) {
  LoopForEachIsa<kLoop>::kTable[static_cast<size_t>(CurrentIsa())](std::forward<Args>(args)...);
}

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_BASE_VECTORIZED_H_
