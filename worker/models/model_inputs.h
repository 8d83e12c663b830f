// SPDX-License-Identifier: Apache-2.0

// What models have in common: the checks of their inputs, and rounding.

#ifndef PERCENTDELTA_WORKER_MODELS_MODEL_INPUTS_H_
#define PERCENTDELTA_WORKER_MODELS_MODEL_INPUTS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/job/job.h"
#include "worker/data/dataset.h"
#include "worker/models/model.h"

namespace percentdelta {

// A dimension that the architecture leaves to the job, in a job that does not define it. No tensor
// has this size.
inline constexpr int64_t kAnySize = 0;

struct NamedShape {
  std::string name;
  std::vector<int64_t> shape;  // empty: a scalar

  // Number of entries: the product of the shape.
  int64_t size() const;
};

// Returns the size that the job gives to a dimension of that tensor; kAnySize if there is no such
// tensor, or if its number of dimensions is not `dimensions`.
int64_t SizeInJob(const ModelSpec& spec, absl::string_view tensor, size_t dimensions,
                  size_t dimension);

// Returns kInvalidArgument unless the job's tensors have these names, shapes and order. The message
// names the first tensor that differs, what was expected and what the job has.
absl::Status CheckTensors(const ModelSpec& spec, absl::Span<const NamedShape> expected);

// Waits for a tensor's weights. Returns the hook's error, or kInvalidArgument if the number of
// entries is not that of `tensors`.
absl::Status AwaitWeights(absl::Span<const NamedShape> tensors, int tensor,
                          const TensorValues& weights, const TensorHooks& hooks);

// Returns kInvalidArgument for a batch without examples, for one whose parts do not fit together,
// and for a label that is not below `classes`.
absl::Status CheckBatch(const Batch& batch, int64_t classes);

// Checks the same for a whole data set.
absl::Status CheckExamples(const Dataset& dataset, int64_t classes);

// Rounds sums in double to the floats of a tensor's gradient. The spans are of one size.
void RoundTo(absl::Span<const double> sums, std::vector<float>& gradient);

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_MODELS_MODEL_INPUTS_H_
