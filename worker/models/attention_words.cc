// SPDX-License-Identifier: Apache-2.0

#include "worker/models/attention_words.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/base/status_macros.h"
#include "common/base/thread_pool.h"
#include "common/job/job.h"
#include "worker/data/dataset.h"
#include "worker/kernels/kernels.h"
#include "worker/models/architecture.h"
#include "worker/models/model.h"
#include "worker/models/model_inputs.h"
#include "worker/models/softmax.h"

namespace percentdelta {
namespace {

// Positions in the job's list of tensors.
enum Tensor { kEmbedding, kAttention, kOutputWeights, kOutputBiases };

constexpr int64_t kClasses = 10;

absl::Status NoWords(int64_t document) {
  return absl::InvalidArgumentError(absl::StrCat("document ", document, " has no words"));
}

}  // namespace

AttentionSizes AttentionSizesOf(const ModelSpec& spec) {
  return {.vocabulary = SizeInJob(spec, "embedding/weights", 2, 0),
          .dimension = SizeInJob(spec, "embedding/weights", 2, 1)};
}

std::vector<NamedShape> AttentionTensors(const AttentionSizes& sizes) {
  return {{"embedding/weights", {sizes.vocabulary, sizes.dimension}},
          {"attention/weights", {sizes.dimension}},
          {"output/weights", {sizes.dimension, kClasses}},
          {"output/biases", {kClasses}}};
}

AttentionWords::AttentionWords(const AttentionSizes& sizes, const ThreadPool* pool)
    : sizes_(sizes), pool_(pool), tensors_(AttentionTensors(sizes)) {}

absl::Status AttentionWords::CheckForm(int64_t rows, int64_t columns) {
  if (rows == 1 && columns >= 2 && columns % 2 == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("images of ", rows, " x ", columns,
                   " bytes; the model takes documents, of 1 x 2 for each word"));
}

absl::Status AttentionWords::CheckWord(int32_t word, int64_t index, int64_t document) const {
  if (word < sizes_.vocabulary) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("word ", word, " at ", index, " of document ",
                                                 document, "; the model has the words 1 to ",
                                                 sizes_.vocabulary - 1, ", and 0 for none"));
}

absl::Status AttentionWords::CheckDataset(const Dataset& dataset) const {
  RETURN_IF_ERROR(CheckForm(dataset.rows, dataset.columns));
  RETURN_IF_ERROR(CheckExamples(dataset, kClasses));
  for (int64_t n = 0; n < dataset.count; ++n) {
    bool any = false;
    for (int64_t i = 0; i < dataset.columns / 2; ++i) {
      const int32_t word = WordAt(dataset, n, i);
      RETURN_IF_ERROR(CheckWord(word, i, n));
      any = any || word != 0;
    }
    if (!any) return NoWords(n);
  }
  return absl::OkStatus();
}

absl::Status AttentionWords::ReadWords(const Batch& batch) {
  if (batch.count > 0) {
    RETURN_IF_ERROR(CheckForm(batch.rows, batch.columns));
  }
  RETURN_IF_ERROR(CheckBatch(batch, kClasses));
  words_.clear();
  ends_.assign(1, 0);
  for (int64_t n = 0; n < batch.count && !cancelled(); ++n) {
    for (int64_t i = 0; i < batch.columns / 2; ++i) {
      const int32_t word = WordAt(batch, n, i);
      if (word == 0) continue;
      RETURN_IF_ERROR(CheckWord(word, i, n));
      words_.push_back(word);
    }
    const auto end = static_cast<int64_t>(words_.size());
    if (end == ends_.back()) return NoWords(n);
    ends_.push_back(end);
  }
  return absl::OkStatus();
}

// Computes alphas_ and pooled_ of the document.
void AttentionWords::Attend(const TensorValues& weights, int64_t document) {
  const int64_t dimension = sizes_.dimension;
  const float* attention = weights[kAttention].data();
  double largest = 0;
  for (int64_t i = ends_[document]; i < ends_[document + 1]; ++i) {
    const float* embedding = weights[kEmbedding].data() + words_[i] * dimension;
    double score = 0;
    for (int64_t d = 0; d < dimension; ++d) score += double{attention[d]} * embedding[d];
    alphas_[i] = score;
    if (i == ends_[document] || score > largest) largest = score;
  }
  double sum = 0;
  for (int64_t i = ends_[document]; i < ends_[document + 1]; ++i) {
    alphas_[i] = PortableExp(alphas_[i] - largest);
    sum += alphas_[i];
  }
  double* pooled = pooled_.data() + document * dimension;
  std::fill_n(pooled, dimension, 0);
  for (int64_t i = ends_[document]; i < ends_[document + 1]; ++i) {
    alphas_[i] /= sum;
    const float* embedding = weights[kEmbedding].data() + words_[i] * dimension;
    for (int64_t d = 0; d < dimension; ++d) pooled[d] += alphas_[i] * embedding[d];
  }
}

void AttentionWords::Classify(const TensorValues& weights, int64_t document,
                              std::vector<float>& logits) const {
  const double* pooled = pooled_.data() + document * sizes_.dimension;
  for (int64_t c = 0; c < kClasses; ++c) {
    double sum = weights[kOutputBiases][c];
    for (int64_t d = 0; d < sizes_.dimension; ++d) {
      sum += pooled[d] * weights[kOutputWeights][d * kClasses + c];
    }
    logits[c] = static_cast<float>(sum);
  }
}

absl::StatusOr<BatchResult> AttentionWords::Forward(const TensorValues& weights, const Batch& batch,
                                                    const TensorHooks& hooks, bool gradient) {
  RETURN_IF_ERROR(ReadWords(batch));
  for (const int tensor : {kEmbedding, kAttention}) {
    RETURN_IF_ERROR(AwaitWeights(tensors_, tensor, weights, hooks));
  }
  alphas_.resize(words_.size());
  pooled_.resize(batch.count * sizes_.dimension);
  for (int64_t n = 0; n < batch.count && !cancelled(); ++n) Attend(weights, n);

  for (const int tensor : {kOutputWeights, kOutputBiases}) {
    RETURN_IF_ERROR(AwaitWeights(tensors_, tensor, weights, hooks));
  }
  if (gradient) logits_gradient_.resize(batch.count * kClasses);
  std::vector<float> logits(kClasses);
  BatchResult result;
  for (int64_t n = 0; n < batch.count && !cancelled(); ++n) {
    Classify(weights, n, logits);
    absl::Span<float> logits_gradient;
    if (gradient) {
      logits_gradient = absl::MakeSpan(logits_gradient_).subspan(n * kClasses, kClasses);
    }
    const int label = batch.labels[n];
    result.loss_sum += SoftmaxCrossEntropy(logits, label, batch.count, logits_gradient);
    result.correct += ArgMax(logits) == label ? 1 : 0;
  }
  result.examples = batch.count;
  return result;
}

void AttentionWords::OutputGradient(std::vector<float>& weights_gradient,
                                    std::vector<float>& biases_gradient) {
  sums_.assign(kClasses, 0);
  for (int64_t n = 0; n < documents() && !cancelled(); ++n) {
    for (int64_t c = 0; c < kClasses; ++c) sums_[c] += logits_gradient_[n * kClasses + c];
  }
  RoundTo(sums_, biases_gradient);

  sums_.assign(sizes_.dimension * kClasses, 0);
  for (int64_t n = 0; n < documents() && !cancelled(); ++n) {
    for (int64_t d = 0; d < sizes_.dimension; ++d) {
      const double x = pooled_[n * sizes_.dimension + d];
      for (int64_t c = 0; c < kClasses; ++c) {
        sums_[d * kClasses + c] += x * logits_gradient_[n * kClasses + c];
      }
    }
  }
  RoundTo(sums_, weights_gradient);
}

// With x = sum_i alpha_i e_i and g the gradient of x, the gradient of score i is
// alpha_i (g . e_i - g . x).
void AttentionWords::AttentionGradient(const TensorValues& weights, std::vector<float>& gradient) {
  const int64_t dimension = sizes_.dimension;
  pooled_gradient_.resize(documents() * dimension);
  scores_gradient_.resize(words_.size());
  sums_.assign(dimension, 0);
  for (int64_t n = 0; n < documents() && !cancelled(); ++n) {
    double* g = pooled_gradient_.data() + n * dimension;
    double g_x = 0;
    for (int64_t d = 0; d < dimension; ++d) {
      g[d] = 0;
      for (int64_t c = 0; c < kClasses; ++c) {
        g[d] +=
            double{weights[kOutputWeights][d * kClasses + c]} * logits_gradient_[n * kClasses + c];
      }
      g_x += g[d] * pooled_[n * dimension + d];
    }
    for (int64_t i = ends_[n]; i < ends_[n + 1]; ++i) {
      const float* embedding = weights[kEmbedding].data() + words_[i] * dimension;
      double g_e = 0;
      for (int64_t d = 0; d < dimension; ++d) g_e += g[d] * embedding[d];
      scores_gradient_[i] = alphas_[i] * (g_e - g_x);
      for (int64_t d = 0; d < dimension; ++d) sums_[d] += scores_gradient_[i] * embedding[d];
    }
  }
  RoundTo(sums_, gradient);
}

// An embedding has gradient from its score and from its share in the combination.
void AttentionWords::EmbeddingGradient(const TensorValues& weights, std::vector<float>& gradient) {
  const int64_t dimension = sizes_.dimension;
  const float* attention = weights[kAttention].data();
  sums_.assign(gradient.size(), 0);
  for (int64_t n = 0; n < documents() && !cancelled(); ++n) {
    const double* g = pooled_gradient_.data() + n * dimension;
    for (int64_t i = ends_[n]; i < ends_[n + 1]; ++i) {
      double* sums = sums_.data() + words_[i] * dimension;
      for (int64_t d = 0; d < dimension; ++d) {
        sums[d] += scores_gradient_[i] * attention[d] + alphas_[i] * g[d];
      }
    }
  }
  RoundTo(sums_, gradient);
}

absl::StatusOr<BatchResult> AttentionWords::Gradient(const TensorValues& weights,
                                                     const Batch& batch, const TensorHooks& hooks,
                                                     TensorValues& gradient) {
  ASSIGN_OR_RETURN(const BatchResult result, Forward(weights, batch, hooks, true));
  gradient.resize(tensors_.size());
  for (size_t t = 0; t < tensors_.size(); ++t) gradient[t].resize(tensors_[t].size());
  const auto ready = [&hooks](int tensor) {
    if (hooks.gradient_ready) hooks.gradient_ready(tensor);
  };
  OutputGradient(gradient[kOutputWeights], gradient[kOutputBiases]);
  ready(kOutputBiases);
  ready(kOutputWeights);
  AttentionGradient(weights, gradient[kAttention]);
  ready(kAttention);
  EmbeddingGradient(weights, gradient[kEmbedding]);
  ready(kEmbedding);
  return result;
}

absl::StatusOr<BatchResult> AttentionWords::Evaluate(const TensorValues& weights,
                                                     const Batch& batch, const TensorHooks& hooks) {
  return Forward(weights, batch, hooks, false);
}

const Architecture kAttentionWordsArchitecture = {
    .name = "attention_words",
    .data_advice = "deploy/make-data documents puts documents into data/documents",
    .tensors = [](const ModelSpec& spec) { return AttentionTensors(AttentionSizesOf(spec)); },
    .has_dropout = false,
    .make = [](const ModelSpec& spec, const Kernels& /*kernels*/,
               ThreadPool& pool) -> std::unique_ptr<Model> {
      return std::make_unique<AttentionWords>(AttentionSizesOf(spec), &pool);
    },
};

}  // namespace percentdelta
