// SPDX-License-Identifier: Apache-2.0

#include "worker/models/dropout.h"

#include "common/base/random.h"

namespace percentdelta {

Dropout::Dropout(double keep_probability, int64_t units, ThreadPool& pool)
    : keep_probability_(keep_probability),
      units_(units),
      scale_(keep_probability > 0 ? static_cast<float>(1 / keep_probability) : 1),
      pool_(pool) {}

void Dropout::Forward(uint64_t key, int64_t examples, absl::Span<float> outputs) const {
  if (scale_ == 1) return;
  pool_.ParallelFor(examples, [&](int64_t example) {
    RandomStream random(key, static_cast<uint64_t>(example));
    for (float& output : outputs.subspan(example * units_, units_)) {
      output = random.Uniform() < keep_probability_ ? scale_ * output : 0;
    }
  });
}

void Dropout::Backward(int64_t examples, absl::Span<float> gradient) const {
  if (scale_ == 1) return;
  pool_.ParallelFor(examples, [&](int64_t example) {
    for (float& value : gradient.subspan(example * units_, units_)) value *= scale_;
  });
}

}  // namespace percentdelta
