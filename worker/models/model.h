// A model that a worker can train: loss and gradient over a batch. A new architecture is a new
// file in this folder, a line for it in model_registry.cc and a job file.

#ifndef PERCENTDELTA_WORKER_MODELS_MODEL_H_
#define PERCENTDELTA_WORKER_MODELS_MODEL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/base/thread_pool.h"
#include "common/job/job.h"
#include "worker/data/dataset.h"

namespace percentdelta {

// One flat row-major array for each tensor of the job's model, in the job's order.
using TensorValues = std::vector<std::vector<float>>;

// Of a batch. The mean loss is loss_sum / examples.
struct BatchResult {
  double loss_sum = 0;  // in double, examples in ascending order
  int64_t correct = 0;  // examples whose answer, as the architecture understands it, is the label
  int64_t examples = 0;
};

// How a computation meets the network: each is called from the thread that called the model.
struct TensorHooks {
  // Called before a tensor's weights are first read; blocks until they are there. An error ends
  // the computation with it. Empty: all weights are there.
  std::function<absl::Status(int tensor)> await_weights;

  // Called once for each tensor, as soon as its gradient is final: its values may be sent while
  // the computation goes on. Empty: nobody is interested.
  std::function<void(int tensor)> gradient_ready;
};

// Not thread-safe: one computation at a time. Holds scratch memory for the largest batch so far.
//
// The results are a function of weights and batch alone, to the last bit: they do not depend on
// the number of threads, nor on what was computed before. What is random in a gradient (dropout)
// comes from the batch's random_key.
class Model {
 public:
  virtual ~Model() = default;

  // The mean loss's gradient with respect to every tensor, into `gradient` (resized to the model).
  virtual absl::StatusOr<BatchResult> Gradient(const TensorValues& weights, const Batch& batch,
                                               const TensorHooks& hooks,
                                               TensorValues& gradient) = 0;

  // Loss and correct answers alone, of the network as it is used: nothing is dropped. Of the hooks,
  // only await_weights is called.
  virtual absl::StatusOr<BatchResult> Evaluate(const TensorValues& weights, const Batch& batch,
                                               const TensorHooks& hooks) = 0;

  // kInvalidArgument unless every batch of the data set is one that Gradient and Evaluate take: at
  // least one example, images of the model's form, labels and codes within its ranges. The message
  // names the first example that does not fit, what was expected and what it has. After kOk,
  // neither of the two fails because of a batch.
  virtual absl::Status CheckDataset(const Dataset& dataset) const = 0;

  // Names the arithmetic whose bits the results have, as in "fma-2": workers with the same name
  // compute the same bits.
  virtual std::string arithmetic() const = 0;
};

struct ModelOptions {
  // Computes on this pool, which must outlive the model. Not null.
  ThreadPool* pool = nullptr;

  // "x86-64-v2", "x86-64-v3", "x86-64-v4", or empty for the best that the processor has.
  std::string isa;
};

// The model that the job names, with the dropout it asks for.
//   kNotFound         no such architecture (the message lists those there are)
//   kInvalidArgument  the job's tensors are not the architecture's (the message names the tensor,
//                     expected and got), dropout where the architecture has none, or an ISA that
//                     is unknown or that this processor lacks
absl::StatusOr<std::unique_ptr<Model>> MakeModel(const ModelSpec& spec,
                                                 const ModelOptions& options);

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_MODELS_MODEL_H_
