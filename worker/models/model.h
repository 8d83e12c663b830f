// SPDX-License-Identifier: Apache-2.0

// A model that a worker can train: loss and gradient over a batch. How to add an architecture:
// CONTRIBUTING.md.

#ifndef PERCENTDELTA_WORKER_MODELS_MODEL_H_
#define PERCENTDELTA_WORKER_MODELS_MODEL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/base/thread_pool.h"
#include "common/job/job.h"
#include "worker/data/dataset.h"

namespace percentdelta {

// One flat row-major array for each tensor of the job's model, in the job's order.
using TensorValues = std::vector<std::vector<float>>;

// The result of a batch. The mean loss is loss_sum / examples.
struct BatchResult {
  double loss_sum = 0;  // in double, examples in ascending order
  int64_t correct = 0;  // examples whose answer, as the architecture defines it, is the label
  int64_t examples = 0;
};

// Connects a computation with the transfers. Called on the thread that called the model.
struct TensorHooks {
  // Called before a tensor's weights are first read; blocks until they are available. An error ends
  // the computation, which returns it. Empty: all weights are available.
  std::function<absl::Status(int tensor)> await_weights;

  // Called once for each tensor, as soon as its gradient is final: its values may be sent while
  // the computation continues. May be empty.
  std::function<void(int tensor)> gradient_ready;
};

// Not thread-safe: one computation at a time. Holds scratch memory for the largest batch so far.
//
// The results are a function of weights and batch alone, to the last bit: they depend neither on
// the number of threads nor on earlier computations. Randomness in a gradient (dropout) is derived
// from the batch's random_key.
class Model {
 public:
  virtual ~Model() = default;

  // Computes the gradient of the mean loss with respect to every tensor. Resizes `gradient` to fit
  // the model.
  virtual absl::StatusOr<BatchResult> Gradient(const TensorValues& weights, const Batch& batch,
                                               const TensorHooks& hooks,
                                               TensorValues& gradient) = 0;

  // Computes only loss and correct answers, without dropout. Calls only the hook await_weights.
  virtual absl::StatusOr<BatchResult> Evaluate(const TensorValues& weights, const Batch& batch,
                                               const TensorHooks& hooks) = 0;

  // Returns kInvalidArgument unless Gradient and Evaluate accept every batch of the data set: at
  // least one example, images of the model's size, labels and codes within its ranges. The message
  // names the first example that does not fit, what was expected and what was found. After kOk,
  // neither of the two fails because of a batch.
  virtual absl::Status CheckDataset(const Dataset& dataset) const = 0;

  // Names the arithmetic that the results are computed with, as in "fma-2": workers with the same
  // name compute the same bits.
  virtual std::string arithmetic() const = 0;
};

struct ModelOptions {
  // Computes on this pool, which must outlive the model. Not null.
  ThreadPool* pool = nullptr;

  // As SelectIsa (common/base/isa.h) takes it: "x86-64-v3", or empty for the processor's best.
  std::string isa;
};

// Makes the model that the job names, with the dropout that the job sets.
//   kNotFound         no such architecture (the message lists those that exist)
//   kInvalidArgument  the job's tensors are not the architecture's (the message names the tensor,
//                     expected and got), the job sets dropout and the architecture has none, or the
//                     ISA is unknown or not supported by this processor
absl::StatusOr<std::unique_ptr<Model>> MakeModel(const ModelSpec& spec,
                                                 const ModelOptions& options);

// Returns how to get the data set of jobs with this architecture: "deploy/make-data ratings puts
// ratings into data/ratings; give the folder of this job's data with --data". For "" and unknown
// architectures: of all of them.
std::string DataAdvice(absl::string_view architecture);

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_MODELS_MODEL_H_
