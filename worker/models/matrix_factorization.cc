// SPDX-License-Identifier: Apache-2.0

#include "worker/models/matrix_factorization.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/thread_pool.h"
#include "common/job/job.h"
#include "worker/data/dataset.h"
#include "worker/kernels/kernels.h"
#include "worker/models/architecture.h"
#include "worker/models/model.h"
#include "worker/models/model_inputs.h"

namespace percentdelta {
namespace {

// Positions in the job's list of tensors.
enum Tensor { kUserFactors, kUserBiases, kItemFactors, kItemBiases, kGlobalBias };

constexpr int kLabels = 10;

double StarsOf(int label) { return (label + 1) / 2.0; }

// Returns the label with the nearest number of stars; -1 for NaN.
int NearestLabel(double stars) {
  if (std::isnan(stars)) return -1;
  return static_cast<int>(std::clamp(std::floor(2 * stars - 0.5), 0.0, kLabels - 1.0));
}

}  // namespace

FactorizationSizes FactorizationSizesOf(const ModelSpec& spec) {
  return {.users = SizeInJob(spec, "user/factors", 2, 0),
          .items = SizeInJob(spec, "item/factors", 2, 0),
          .rank = SizeInJob(spec, "user/factors", 2, 1)};
}

std::vector<NamedShape> FactorizationTensors(const FactorizationSizes& sizes) {
  return {{"user/factors", {sizes.users, sizes.rank}},
          {"user/biases", {sizes.users}},
          {"item/factors", {sizes.items, sizes.rank}},
          {"item/biases", {sizes.items}},
          {"global/bias", {}}};
}

MatrixFactorization::MatrixFactorization(const FactorizationSizes& sizes, const ThreadPool* pool)
    : sizes_(sizes), pool_(pool), tensors_(FactorizationTensors(sizes)) {}

absl::Status MatrixFactorization::CheckForm(int64_t rows, int64_t columns) {
  if (rows == 1 && columns == 4) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("images of ", rows, " x ", columns,
                                                 " bytes; the model takes ratings, of 1 x 4"));
}

absl::Status MatrixFactorization::CheckIds(int32_t user, int32_t item, int64_t rating) const {
  if (user >= sizes_.users) {
    return absl::InvalidArgumentError(absl::StrCat(
        "user ", user, " of rating ", rating, "; the model has the users 0 to ", sizes_.users - 1));
  }
  if (item >= sizes_.items) {
    return absl::InvalidArgumentError(absl::StrCat(
        "item ", item, " of rating ", rating, "; the model has the items 0 to ", sizes_.items - 1));
  }
  return absl::OkStatus();
}

absl::Status MatrixFactorization::CheckDataset(const Dataset& dataset) const {
  RETURN_IF_ERROR(CheckForm(dataset.rows, dataset.columns));
  RETURN_IF_ERROR(CheckExamples(dataset, kLabels));
  for (int64_t n = 0; n < dataset.count; ++n) {
    RETURN_IF_ERROR(CheckIds(WordAt(dataset, n, 0), WordAt(dataset, n, 1), n));
  }
  return absl::OkStatus();
}

absl::Status MatrixFactorization::ReadIds(const Batch& batch) {
  if (batch.count > 0) {
    RETURN_IF_ERROR(CheckForm(batch.rows, batch.columns));
  }
  RETURN_IF_ERROR(CheckBatch(batch, kLabels));
  users_.resize(batch.count);
  items_.resize(batch.count);
  for (int64_t n = 0; n < batch.count && !cancelled(); ++n) {
    users_[n] = WordAt(batch, n, 0);
    items_[n] = WordAt(batch, n, 1);
    RETURN_IF_ERROR(CheckIds(users_[n], items_[n], n));
  }
  return absl::OkStatus();
}

absl::StatusOr<BatchResult> MatrixFactorization::Forward(const TensorValues& weights,
                                                         const Batch& batch,
                                                         const TensorHooks& hooks) {
  RETURN_IF_ERROR(ReadIds(batch));
  for (int t = kUserFactors; t <= kGlobalBias; ++t) {
    RETURN_IF_ERROR(AwaitWeights(tensors_, t, weights, hooks));
  }
  errors_.resize(batch.count);
  BatchResult result;
  for (int64_t n = 0; n < batch.count && !cancelled(); ++n) {
    const float* user = weights[kUserFactors].data() + users_[n] * sizes_.rank;
    const float* item = weights[kItemFactors].data() + items_[n] * sizes_.rank;
    double stars = weights[kGlobalBias][0];
    stars += weights[kUserBiases][users_[n]];
    stars += weights[kItemBiases][items_[n]];
    for (int64_t k = 0; k < sizes_.rank; ++k) stars += double{user[k]} * item[k];
    const int label = batch.labels[n];
    errors_[n] = stars - StarsOf(label);
    result.loss_sum += errors_[n] * errors_[n];
    result.correct += NearestLabel(stars) == label ? 1 : 0;
  }
  result.examples = batch.count;
  return result;
}

void MatrixFactorization::BiasesGradient(const Ids& ids, std::vector<float>& gradient) {
  sums_.assign(gradient.size(), 0);
  for (size_t n = 0; n < ids.size(); ++n) sums_[ids[n]] += errors_[n];
  RoundTo(sums_, gradient);
}

void MatrixFactorization::FactorsGradient(const Ids& ids, const Ids& other_ids,
                                          const std::vector<float>& other_factors,
                                          std::vector<float>& gradient) {
  sums_.assign(gradient.size(), 0);
  for (size_t n = 0; n < ids.size() && !cancelled(); ++n) {
    const float* other = other_factors.data() + other_ids[n] * sizes_.rank;
    double* sums = sums_.data() + ids[n] * sizes_.rank;
    for (int64_t k = 0; k < sizes_.rank; ++k) sums[k] += errors_[n] * other[k];
  }
  RoundTo(sums_, gradient);
}

absl::StatusOr<BatchResult> MatrixFactorization::Gradient(const TensorValues& weights,
                                                          const Batch& batch,
                                                          const TensorHooks& hooks,
                                                          TensorValues& gradient) {
  ASSIGN_OR_RETURN(const BatchResult result, Forward(weights, batch, hooks));
  gradient.resize(tensors_.size());
  for (size_t t = 0; t < tensors_.size(); ++t) gradient[t].resize(tensors_[t].size());
  const auto ready = [&hooks](int tensor) {
    if (hooks.gradient_ready) hooks.gradient_ready(tensor);
  };

  double sum = 0;
  for (double& error : errors_) {
    error = 2 * error / static_cast<double>(batch.count);
    sum += error;
  }
  gradient[kGlobalBias][0] = static_cast<float>(sum);
  ready(kGlobalBias);
  BiasesGradient(items_, gradient[kItemBiases]);
  ready(kItemBiases);
  FactorsGradient(items_, users_, weights[kUserFactors], gradient[kItemFactors]);
  ready(kItemFactors);
  BiasesGradient(users_, gradient[kUserBiases]);
  ready(kUserBiases);
  FactorsGradient(users_, items_, weights[kItemFactors], gradient[kUserFactors]);
  ready(kUserFactors);
  return result;
}

absl::StatusOr<BatchResult> MatrixFactorization::Evaluate(const TensorValues& weights,
                                                          const Batch& batch,
                                                          const TensorHooks& hooks) {
  return Forward(weights, batch, hooks);
}

const Architecture kMatrixFactorizationArchitecture = {
    .name = "matrix_factorization",
    .data_advice = "deploy/make-data ratings puts ratings into data/ratings",
    .tensors =
        [](const ModelSpec& spec) { return FactorizationTensors(FactorizationSizesOf(spec)); },
    .has_dropout = false,
    .make = [](const ModelSpec& spec, const Kernels& /*kernels*/,
               ThreadPool& pool) -> std::unique_ptr<Model> {
      return std::make_unique<MatrixFactorization>(FactorizationSizesOf(spec), &pool);
    },
};

}  // namespace percentdelta
