// What the tests of every architecture check of it, with weights and batches of its own.

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

// A gradient that must succeed, without hooks.
Computed Compute(Model& model, const TensorValues& weights, const Batch& batch);

bool SameBits(const std::vector<float>& a, const std::vector<float>& b);
void ExpectSameBits(const TensorValues& a, const TensorValues& b);

struct DifferenceTolerance {
  int64_t points = 0;   // of a tensor that are looked at, about
  double loss = 0;      // of the mean loss
  double gradient = 0;  // of an entry
};

// `computed` has the loss of `naive_loss` at the weights, and its central differences.
void ExpectDifferences(const Computed& computed, const TensorValues& weights,
                       absl::Span<const NamedShape> tensors,
                       const std::function<double(const std::vector<Doubles>&)>& naive_loss,
                       const DifferenceTolerance& tolerance);

// Evaluate counts and sums the same as Gradient.
void ExpectEvaluatesAsTheGradient(Model& model, const TensorValues& weights, const Batch& batch);

// Each tensor is awaited once, in the order of the job, before it is read, and is final when its
// gradient is announced, from the last to the first; all on the calling thread. An error of a hook
// ends the computation.
void ExpectHooksInOrder(Model& model, const TensorValues& weights, const Batch& batch);

// With each tensor in turn full of `broken`, the loss is returned, and is not finite.
void ExpectLossIsNotFinite(Model& model, const TensorValues& weights, const Batch& batch,
                           float broken);

// What Gradient and Evaluate say of arguments that both must refuse as invalid.
std::string Refusal(Model& model, const TensorValues& weights, const Batch& batch);

// What MakeModel says of a job that it must refuse as invalid.
std::string RefusalOfJob(const ModelSpec& spec);

// MakeModel's model, with 1 and with 3 threads, computes the same as `expected`.
void ExpectMakes(const ModelSpec& spec, Model& expected, const TensorValues& weights,
                 const Batch& batch);

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_WORKER_MODELS_MODEL_CHECKS_H_
