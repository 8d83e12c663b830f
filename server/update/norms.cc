#include "server/update/norms.h"

#include <cmath>
#include <cstddef>

namespace percentdelta {
namespace {

constexpr size_t kLanes = 8;

double AddLanes(const double (&lane)[kLanes]) {
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
  double ratio[kLanes] = {};
  double gradient_l1[kLanes] = {};
  double weight_l1[kLanes] = {};
  double gradient_l2[kLanes] = {};
  double weight_l2[kLanes] = {};
  const auto add = [&](size_t entry, size_t lane) {
    const double g = std::fabs(static_cast<double>(gradient[entry]));
    const double w = std::fabs(static_cast<double>(weights[entry]));
    ratio[lane] += g / (w + epsilon);
    gradient_l1[lane] += g;
    weight_l1[lane] += w;
    gradient_l2[lane] += g * g;
    weight_l2[lane] += w * w;
  };
  const size_t whole = gradient.size() / kLanes * kLanes;
  for (size_t begin = 0; begin < whole; begin += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) add(begin + lane, lane);
  }
  for (size_t entry = whole; entry < gradient.size(); ++entry) add(entry, entry - whole);
  return {AddLanes(ratio), AddLanes(gradient_l1), AddLanes(weight_l1), AddLanes(gradient_l2),
          AddLanes(weight_l2)};
}

NormSums AddBlocks(absl::Span<const NormSums> blocks) {
  NormSums sums;
  for (const NormSums& block : blocks) sums += block;
  return sums;
}

}  // namespace percentdelta
