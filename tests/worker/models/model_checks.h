// SPDX-License-Identifier: Apache-2.0

// Checks for the tests of every architecture, which supply weights and batches.

#ifndef PERCENTDELTA_TESTS_WORKER_MODELS_MODEL_CHECKS_H_
#define PERCENTDELTA_TESTS_WORKER_MODELS_MODEL_CHECKS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "common/job/job.h"
#include "tests/worker/models/naive_layers.h"
#include "worker/data/dataset.h"
#include "worker/models/model.h"
#include "worker/models/model_inputs.h"

namespace percentdelta {

struct Computed {
  BatchResult result;
  TensorValues gradient;
};

// Computes a gradient without hooks; it must succeed.
Computed Compute(Model& model, const TensorValues& weights, const Batch& batch);

bool SameBits(const std::vector<float>& a, const std::vector<float>& b);
void ExpectSameBits(const TensorValues& a, const TensorValues& b);

struct DifferenceTolerance {
  int64_t points = 0;   // approximate number of entries to check in a tensor
  double loss = 0;      // of the mean loss
  double gradient = 0;  // of an entry
};

// `computed` has the loss of `naive_loss` at the weights, and its central differences as gradient.
void ExpectDifferences(const Computed& computed, const TensorValues& weights,
                       absl::Span<const NamedShape> tensors,
                       const std::function<double(const std::vector<Doubles>&)>& naive_loss,
                       const DifferenceTolerance& tolerance);

// Evaluate has the same loss and counts as Gradient.
void ExpectEvaluatesAsTheGradient(Model& model, const TensorValues& weights, const Batch& batch);

// Each tensor is awaited once, in the order of the job, before it is read. Gradients are announced
// from the last to the first, and are final by then. All hooks are called on the calling thread. An
// error of a hook ends the computation.
void ExpectHooksInOrder(Model& model, const TensorValues& weights, const Batch& batch);

// With each tensor in turn filled with `broken`, the loss is returned and is not finite.
void ExpectLossIsNotFinite(Model& model, const TensorValues& weights, const Batch& batch,
                           float broken);

// Returns the message with which both Gradient and Evaluate refuse invalid arguments.
std::string Refusal(Model& model, const TensorValues& weights, const Batch& batch);

// A change to a data set that makes a model refuse it, with a message that contains `message`.
struct Misfit {
  const char* name;
  std::function<void(Dataset&)> make;
  const char* message;
};

// CheckDataset of the job's model accepts `good`, of two examples, as Gradient does. It refuses
// each of `misfits`, and those that no model accepts: no examples, labels too large, parts that do
// not fit.
void ExpectChecksDatasets(const ModelSpec& spec, const Dataset& good,
                          const std::vector<Misfit>& misfits);

// Returns the message with which MakeModel refuses an invalid job.
std::string RefusalOfJob(const ModelSpec& spec);

// MakeModel refuses the job if any of its tensors is a buffer: these models train all of them.
void ExpectRefusesBuffers(const ModelSpec& spec);

// MakeModel's model, with 1 and with 3 threads, computes the same as `expected`.
void ExpectMakes(const ModelSpec& spec, Model& expected, const TensorValues& weights,
                 const Batch& batch);

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_WORKER_MODELS_MODEL_CHECKS_H_
