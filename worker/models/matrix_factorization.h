// SPDX-License-Identifier: Apache-2.0

// Matrix factorization for ratings (section 6.1 of the paper, item 3; Koren, Bell and Volinsky,
// "Matrix factorization techniques for recommender systems", 2009): user u gives item i
//
//   p = b + bU[u] + bM[i] + WU[u] . WM[i]   stars
//   mean of (p - rating)^2 over the batch
//
// An example is an "image" of 1 x 4 bytes: the user's id and the item's, 16 bits each, high byte
// first. Label 0 ... 9 is the rating in half stars: 0.5 ... 5 stars. An answer is correct if the
// rating is the nearest of these ten to p, the upper one of two equally near.

#ifndef PERCENTDELTA_WORKER_MODELS_MATRIX_FACTORIZATION_H_
#define PERCENTDELTA_WORKER_MODELS_MATRIX_FACTORIZATION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/thread_pool.h"
#include "common/job/job.h"
#include "worker/data/dataset.h"
#include "worker/models/architecture.h"
#include "worker/models/model.h"
#include "worker/models/model_inputs.h"

namespace percentdelta {

struct FactorizationSizes {
  int64_t users = kAnySize;  // ids address only the first 65,536
  int64_t items = kAnySize;  // likewise
  int64_t rank = kAnySize;
};

// Reads the sizes from the job's tensors: users and rank from "user/factors", items from
// "item/factors".
FactorizationSizes FactorizationSizesOf(const ModelSpec& spec);

// The tensors in the job's order: "user/factors" [users, rank], "user/biases" [users],
// "item/factors" [items, rank], "item/biases" [items], "global/bias", a scalar.
std::vector<NamedShape> FactorizationTensors(const FactorizationSizes& sizes);

// See Model. Computes in double on the calling thread, with operations that give the same bits on
// every processor and with every C library. Calls `gradient_ready` from the last tensor to the
// first.
class MatrixFactorization : public Model {
 public:
  // Computations end early when `pool`, which may be null, is cancelled.
  explicit MatrixFactorization(const FactorizationSizes& sizes, const ThreadPool* pool = nullptr);

  // Besides the hooks' errors they return kInvalidArgument for a batch without ratings or of
  // another form, for an unknown user or item, and for weights of other sizes.
  absl::StatusOr<BatchResult> Gradient(const TensorValues& weights, const Batch& batch,
                                       const TensorHooks& hooks, TensorValues& gradient) override;
  absl::StatusOr<BatchResult> Evaluate(const TensorValues& weights, const Batch& batch,
                                       const TensorHooks& hooks) override;

  absl::Status CheckDataset(const Dataset& dataset) const override;

  std::string arithmetic() const override { return "double"; }

 private:
  // The ids of one side of the ratings, users or items.
  using Ids = std::vector<int32_t>;

  static absl::Status CheckForm(int64_t rows, int64_t columns);
  absl::Status CheckIds(int32_t user, int32_t item, int64_t rating) const;
  absl::Status ReadIds(const Batch& batch);

  // Writes prediction minus rating, in stars, to errors_.
  absl::StatusOr<BatchResult> Forward(const TensorValues& weights, const Batch& batch,
                                      const TensorHooks& hooks);

  // The backward pass; errors_ then holds the loss's gradient with respect to the predictions.
  void BiasesGradient(const Ids& ids, std::vector<float>& gradient);
  void FactorsGradient(const Ids& ids, const Ids& other_ids,
                       const std::vector<float>& other_factors, std::vector<float>& gradient);

  bool cancelled() const { return pool_ != nullptr && pool_->cancelled(); }

  const FactorizationSizes sizes_;
  const ThreadPool* const pool_;
  const std::vector<NamedShape> tensors_;

  // The current batch, rating after rating.
  Ids users_;
  Ids items_;
  std::vector<double> errors_;

  std::vector<double> sums_;  // of the current tensor
};

extern const Architecture kMatrixFactorizationArchitecture;  // "matrix_factorization"

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_MODELS_MATRIX_FACTORIZATION_H_
