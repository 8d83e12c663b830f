// Matrix factorization for ratings (section 6.1 of the paper, item 3; Koren, Bell and Volinsky,
// "Matrix factorization techniques for recommender systems", 2009): user u gives item i
//
//   p = b + bU[u] + bM[i] + WU[u] . WM[i]   stars
//   mean of (p - rating)^2 over the batch
//
// An example is an "image" of 1 x 4 bytes: the user's id and the item's, 16 bits each, high byte
// first. Label 0 ... 9 is the rating in half stars: 0.5 ... 5 stars. An answer is correct if of
// these ten the rating is nearest to p, the upper one of two as near.

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
#include "worker/models/model.h"
#include "worker/models/model_inputs.h"

namespace percentdelta {

struct FactorizationSizes {
  int64_t users = kAnySize;  // of more than 65,536 the ids name only the first
  int64_t items = kAnySize;  // likewise
  int64_t rank = kAnySize;
};

// What the job makes of them: "user/factors" tells users and rank, "item/factors" items.
FactorizationSizes FactorizationSizesOf(const ModelSpec& spec);

// In the order of the job: "user/factors" [users, rank], "user/biases" [users], "item/factors"
// [items, rank], "item/biases" [items], "global/bias", a scalar.
std::vector<NamedShape> FactorizationTensors(const FactorizationSizes& sizes);

// See Model. Computes in double on the calling thread, with nothing that the C library or the
// processor could make different. `gradient_ready` is called from the last tensor to the first.
class MatrixFactorization : public Model {
 public:
  // Ends early when `pool`, which may be null, is cancelled.
  explicit MatrixFactorization(const FactorizationSizes& sizes, const ThreadPool* pool = nullptr);

  // Besides the hooks' errors, for a batch without ratings or not of their form, an id that no user
  // or item has, and weights of other sizes: kInvalidArgument.
  absl::StatusOr<BatchResult> Gradient(const TensorValues& weights, const Batch& batch,
                                       const TensorHooks& hooks, TensorValues& gradient) override;
  absl::StatusOr<BatchResult> Evaluate(const TensorValues& weights, const Batch& batch,
                                       const TensorHooks& hooks) override;

  absl::Status CheckDataset(const Dataset& dataset) const override;

  std::string arithmetic() const override { return "double"; }

 private:
  // Of one side of the ratings, the users or the items.
  using Ids = std::vector<int32_t>;

  static absl::Status CheckForm(int64_t rows, int64_t columns);
  absl::Status CheckIds(int32_t user, int32_t item, int64_t rating) const;
  absl::Status ReadIds(const Batch& batch);

  // Leaves prediction minus rating, in stars, in errors_.
  absl::StatusOr<BatchResult> Forward(const TensorValues& weights, const Batch& batch,
                                      const TensorHooks& hooks);

  // From errors_, which hold the loss's gradient with respect to the predictions by now.
  void BiasesGradient(const Ids& ids, std::vector<float>& gradient);
  void FactorsGradient(const Ids& ids, const Ids& other_ids,
                       const std::vector<float>& other_factors, std::vector<float>& gradient);

  bool cancelled() const { return pool_ != nullptr && pool_->cancelled(); }

  const FactorizationSizes sizes_;
  const ThreadPool* const pool_;
  const std::vector<NamedShape> tensors_;

  // Of the batch in hand, rating after rating.
  Ids users_;
  Ids items_;
  std::vector<double> errors_;

  std::vector<double> sums_;  // of the tensor in hand
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_MODELS_MATRIX_FACTORIZATION_H_
