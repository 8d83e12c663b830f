// SPDX-License-Identifier: Apache-2.0

// Soft attention on a bag of words (section 6.1 of the paper, item 2): a document of any number of
// words w_1, w_2, ... becomes a convex combination of their embeddings, which is then classified.
//
//   alpha  = softmax over the document's words of u . e[w_i]
//   x      = sum_i alpha_i e[w_i]
//   mean softmax cross-entropy of x V + c over the batch
//
// An example is an "image" of 1 x 2L bytes: L words of 16 bits each, high byte first. Word 0 is
// padding, which may stand anywhere in the document. Its row of the embedding is not read, and its
// gradient is zero. Labels are the classes 0 ... 9.

#ifndef PERCENTDELTA_WORKER_MODELS_ATTENTION_WORDS_H_
#define PERCENTDELTA_WORKER_MODELS_ATTENTION_WORDS_H_

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

struct AttentionSizes {
  int64_t vocabulary = kAnySize;  // including word 0; ids address only the first 65,536
  int64_t dimension = kAnySize;   // of an embedding
};

// Reads the sizes from the job's tensor "embedding/weights".
AttentionSizes AttentionSizesOf(const ModelSpec& spec);

// The tensors in the job's order: "embedding/weights" [vocabulary, dimension], "attention/weights"
// [dimension], "output/weights" [dimension, 10], "output/biases" [10].
std::vector<NamedShape> AttentionTensors(const AttentionSizes& sizes);

// See Model. Computes in double on the calling thread, with operations that give the same bits on
// every processor and with every C library. Calls `gradient_ready` from the last tensor to the
// first.
class AttentionWords : public Model {
 public:
  // Computations end early when `pool`, which may be null, is cancelled.
  explicit AttentionWords(const AttentionSizes& sizes, const ThreadPool* pool = nullptr);

  // Besides the hooks' errors they return kInvalidArgument for a batch without documents or of
  // another form, for a document without words, for a word outside the vocabulary, and for weights
  // of other sizes.
  absl::StatusOr<BatchResult> Gradient(const TensorValues& weights, const Batch& batch,
                                       const TensorHooks& hooks, TensorValues& gradient) override;
  absl::StatusOr<BatchResult> Evaluate(const TensorValues& weights, const Batch& batch,
                                       const TensorHooks& hooks) override;

  absl::Status CheckDataset(const Dataset& dataset) const override;

  std::string arithmetic() const override { return "double"; }

 private:
  static absl::Status CheckForm(int64_t rows, int64_t columns);
  absl::Status CheckWord(int32_t word, int64_t index, int64_t document) const;
  absl::Status ReadWords(const Batch& batch);

  // The forward pass. If `gradient`, writes logits_gradient_.
  absl::StatusOr<BatchResult> Forward(const TensorValues& weights, const Batch& batch,
                                      const TensorHooks& hooks, bool gradient);
  void Attend(const TensorValues& weights, int64_t document);
  void Classify(const TensorValues& weights, int64_t document, std::vector<float>& logits) const;

  // The backward pass, from logits_gradient_. Call in this order: each writes members that the next
  // one reads.
  void OutputGradient(std::vector<float>& weights_gradient, std::vector<float>& biases_gradient);
  void AttentionGradient(const TensorValues& weights, std::vector<float>& gradient);
  void EmbeddingGradient(const TensorValues& weights, std::vector<float>& gradient);

  int64_t documents() const { return static_cast<int64_t>(ends_.size()) - 1; }

  bool cancelled() const { return pool_ != nullptr && pool_->cancelled(); }

  const AttentionSizes sizes_;
  const ThreadPool* const pool_;
  const std::vector<NamedShape> tensors_;

  // The current batch, word after word: those of document n are ends_[n] ... ends_[n + 1] - 1.
  std::vector<int32_t> words_;
  std::vector<double> alphas_;
  std::vector<double> scores_gradient_;
  std::vector<int64_t> ends_;

  // Document after document.
  std::vector<double> pooled_;  // x
  std::vector<double> pooled_gradient_;
  std::vector<float> logits_gradient_;

  std::vector<double> sums_;  // of the current tensor
};

extern const Architecture kAttentionWordsArchitecture;  // "attention_words"

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_MODELS_ATTENTION_WORDS_H_
