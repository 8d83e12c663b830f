#include "server/update/norms.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "server/update/vector_clones.h"

namespace percentdelta {
namespace {

constexpr size_t kLanes = 8;

// Eight lanes, in as many registers as they take.
using Floats __attribute__((vector_size(kLanes * sizeof(float)))) = float;
using FloatBits __attribute__((vector_size(kLanes * sizeof(float)))) = int32_t;
using Doubles __attribute__((vector_size(kLanes * sizeof(double)))) = double;

// What is summed over entries, lane by lane.
struct Lanes {
  Doubles ratio, gradient_l1, weight_l1, gradient_l2, weight_l2;
};

PD_VECTOR_CLONES void AddEntries(const float* gradient, const float* weights, size_t groups,
                                 double epsilon, Lanes* lanes) {
  constexpr int32_t kAllButSign = 0x7fffffff;
  Lanes sum = *lanes;
  for (size_t group = 0; group < groups; ++group) {
    FloatBits g_bits;
    FloatBits w_bits;
    std::memcpy(&g_bits, gradient + group * kLanes, sizeof(g_bits));
    std::memcpy(&w_bits, weights + group * kLanes, sizeof(w_bits));
    g_bits &= kAllButSign;
    w_bits &= kAllButSign;
    // These casts keep the bits.
    const Doubles g = __builtin_convertvector((Floats)g_bits, Doubles);
    const Doubles w = __builtin_convertvector((Floats)w_bits, Doubles);
    sum.ratio += g / (w + epsilon);
    sum.gradient_l1 += g;
    sum.weight_l1 += w;
    sum.gradient_l2 += g * g;
    sum.weight_l2 += w * w;
  }
  *lanes = sum;
}

double AddLanes(const Doubles& lane) {
  return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

}  // namespace

NormSums& NormSums::operator+=(const NormSums& other) {
  ratio_l1 += other.ratio_l1;
  gradient_l1 += other.gradient_l1;
  weight_l1 += other.weight_l1;
  gradient_l2_squared += other.gradient_l2_squared;
  weight_l2_squared += other.weight_l2_squared;
  return *this;
}

NormSums BlockNorms(absl::Span<const float> gradient, absl::Span<const float> weights,
                    double epsilon) {
  Lanes lanes = {};
  const size_t groups = gradient.size() / kLanes;
  AddEntries(gradient.data(), weights.data(), groups, epsilon, &lanes);
  // The rest, filled up with what adds nothing.
  const size_t whole = groups * kLanes;
  float last_gradient[kLanes] = {};
  float last_weights[kLanes] = {};
  std::copy(gradient.begin() + whole, gradient.end(), last_gradient);
  std::copy(weights.begin() + whole, weights.end(), last_weights);
  AddEntries(last_gradient, last_weights, 1, epsilon, &lanes);
  return {AddLanes(lanes.ratio), AddLanes(lanes.gradient_l1), AddLanes(lanes.weight_l1),
          AddLanes(lanes.gradient_l2), AddLanes(lanes.weight_l2)};
}

NormSums AddBlocks(absl::Span<const NormSums> blocks) {
  NormSums sums;
  for (const NormSums& block : blocks) sums += block;
  return sums;
}

}  // namespace percentdelta
