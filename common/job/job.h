// SPDX-License-Identifier: Apache-2.0

// The job: plain data, checked once, immutable afterwards.
//
// A job determines the weights: two clusters with equal jobs and equal data hold equal weights
// after equal steps. proto/percentdelta/v1/job.proto defines the text format and the meaning of
// every field; common/job/job_codec.h reads and writes it.

#ifndef PERCENTDELTA_COMMON_JOB_JOB_H_
#define PERCENTDELTA_COMMON_JOB_JOB_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/job/initializer_spec.h"
#include "common/job/update_spec.h"

namespace percentdelta {

struct TensorSpec {
  std::string name;            // "layer/name"
  std::vector<int64_t> shape;  // row-major; empty: a scalar
  Initializer initializer;
  bool buffer = false;  // not trained: its next value is the mean of the pushed values

  // Number of entries: the product of the shape.
  int64_t size() const;

  // The part of the name before the last slash; the whole name if there is none.
  absl::string_view layer() const;
};

struct ModelSpec {
  std::string architecture;
  std::vector<TensorSpec> tensors;      // in the order in which the forward pass needs them
  double dropout_keep_probability = 0;  // 0: no dropout

  // Index of the tensor, or -1.
  int Find(absl::string_view tensor_name) const;

  // Number of tensors that are not buffers.
  int trained_tensors() const;

  // Number of entries of all tensors, and of the tensors before `tensor`.
  int64_t size() const;
  int64_t SizeBefore(int tensor) const;
};

struct EvaluationSpec {
  int64_t every_steps = 0;
  int32_t batch_size = 0;
};

struct CheckpointSpec {
  int64_t every_steps = 0;
  std::string directory;  // shared by all servers under this name
  int32_t max_kept = 2;   // complete checkpoints that are retained
};

struct DataSpec {
  int64_t training_examples = 0;
  int64_t test_examples = 0;
};

// A safetensors file with the weights of step 0.
struct InitialWeightsSpec {
  std::string file;    // that all servers see under this name
  std::string sha256;  // of the whole file, 64 lower-case hexadecimal digits
};

// What is shown with the checksum of weights if Job::any_arithmetic is set.
inline constexpr char kAnyArithmeticNote[] =
    "any_arithmetic: the weights depend on which worker computed which gradient";

struct Job {
  std::string name;
  ModelSpec model;
  OptimizerSpec optimizer;
  ScheduleSpec schedule;
  MomentumSpec momentum;
  int32_t gradients_per_step = 1;
  int64_t max_steps = 0;
  int32_t batch_size = 0;
  uint64_t seed = 0;
  std::optional<EvaluationSpec> evaluation;
  DataSpec data;
  std::optional<CheckpointSpec> checkpoint;
  std::optional<GradientClippingSpec> gradient_clipping;
  std::optional<WeightDecaySpec> weight_decay;
  std::optional<InitialWeightsSpec> initial_weights;  // with it, all initializers are the file
  bool any_arithmetic = false;  // workers may compute differently: see kAnyArithmeticNote

  // Number of complete batches in an epoch.
  int64_t batches_per_epoch() const { return data.training_examples / batch_size; }

  // Whether the test set is evaluated at the weights of `step`: every `every_steps`-th step and the
  // last.
  bool EvaluatesAt(int64_t step) const;

  // Whether a checkpoint is due at the weights of `step`: every `every_steps`-th step and the last.
  bool CheckpointsAt(int64_t step) const;
};

// The examples of a slot of a step: the `batch_index`-th batch in the epoch's order.
struct BatchId {
  int64_t epoch = 0;
  int64_t batch_index = 0;

  bool operator==(const BatchId&) const = default;
};
BatchId BatchOf(const Job& job, int64_t step, int32_t slot);

}  // namespace percentdelta

#endif  // PERCENTDELTA_COMMON_JOB_JOB_H_
