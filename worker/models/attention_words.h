// Soft attention on a bag of words (section 6.1 of the paper, item 2): a document of the words
// w_1, w_2, ... becomes a convex combination of their embeddings, however many there are, and that
// is classified.
//
//   alpha  = softmax over the document's words of u . e[w_i]
//   x      = sum_i alpha_i e[w_i]
//   mean softmax cross-entropy of x V + c over the batch
//
// An example is an "image" of 1 x 2L bytes: L words of 16 bits each, high byte first. Word 0 is
// none: a shorter document is padded with it, anywhere. Its row of the embedding is not read, and
// its gradient is zero. Labels are the classes 0 ... 9.

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
#include "worker/models/model.h"
#include "worker/models/model_inputs.h"

namespace percentdelta {

struct AttentionSizes {
  int64_t vocabulary = kAnySize;  // with word 0; of more than 65,536 the ids name only the first
  int64_t dimension = kAnySize;   // of an embedding
};

// What the job makes of them: "embedding/weights" tells both.
AttentionSizes AttentionSizesOf(const ModelSpec& spec);

// In the order of the job: "embedding/weights" [vocabulary, dimension], "attention/weights"
// [dimension], "output/weights" [dimension, 10], "output/biases" [10].
std::vector<NamedShape> AttentionTensors(const AttentionSizes& sizes);

// See Model. Computes in double on the calling thread, with nothing that the C library or the
// processor could make different. `gradient_ready` is called from the last tensor to the first.
class AttentionWords : public Model {
 public:
  // Ends early when `pool`, which may be null, is cancelled.
  explicit AttentionWords(const AttentionSizes& sizes, const ThreadPool* pool = nullptr);

  // Besides the hooks' errors, for a batch without documents or not of their form, a document
  // without words, a word outside of the vocabulary, and weights of other sizes: kInvalidArgument.
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

  // The forward pass; leaves the logits' gradient in logits_gradient_ if `gradient`.
  absl::StatusOr<BatchResult> Forward(const TensorValues& weights, const Batch& batch,
                                      const TensorHooks& hooks, bool gradient);
  void Attend(const TensorValues& weights, int64_t document);
  void Classify(const TensorValues& weights, int64_t document, std::vector<float>& logits) const;

  // From logits_gradient_ on; each leaves in its members what the next one reads.
  void OutputGradient(std::vector<float>& weights_gradient, std::vector<float>& biases_gradient);
  void AttentionGradient(const TensorValues& weights, std::vector<float>& gradient);
  void EmbeddingGradient(const TensorValues& weights, std::vector<float>& gradient);

  int64_t documents() const { return static_cast<int64_t>(ends_.size()) - 1; }

  bool cancelled() const { return pool_ != nullptr && pool_->cancelled(); }

  const AttentionSizes sizes_;
  const ThreadPool* const pool_;
  const std::vector<NamedShape> tensors_;

  // Of the batch in hand, word after word: those of document n are ends_[n] ... ends_[n + 1] - 1.
  std::vector<int32_t> words_;
  std::vector<double> alphas_;
  std::vector<double> scores_gradient_;
  std::vector<int64_t> ends_;

  // Document after document.
  std::vector<double> pooled_;  // x
  std::vector<double> pooled_gradient_;
  std::vector<float> logits_gradient_;

  std::vector<double> sums_;  // of the tensor in hand
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_WORKER_MODELS_ATTENTION_WORDS_H_
