// SPDX-License-Identifier: Apache-2.0

#include "worker/models/attention_words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/random.h"
#include "common/base/thread_pool.h"
#include "common/job/job.h"
#include "tests/status_matchers.h"
#include "tests/worker/models/model_checks.h"
#include "tests/worker/models/naive_layers.h"
#include "worker/data/dataset.h"
#include "worker/models/model.h"
#include "worker/models/model_inputs.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;

// More words than a byte has values.
constexpr AttentionSizes kSizes = {.vocabulary = 280, .dimension = 5};
enum Tensor { kEmbedding, kAttention, kOutputWeights, kOutputBiases };

constexpr size_t kMaxWords = 7;  // in a document

struct Document {
  std::vector<int> words;  // 0: padding
  int label;
};

Batch BatchOf(const std::vector<Document>& documents) {
  Dataset dataset = {.count = static_cast<int64_t>(documents.size()),
                     .rows = 1,
                     .columns = 2 * kMaxWords,
                     .pixels = {},
                     .labels = {}};
  std::vector<int64_t> all;
  for (const auto& [words, label] : documents) {
    for (size_t i = 0; i < kMaxWords; ++i) {
      const int word = i < words.size() ? words[i] : 0;
      dataset.pixels.push_back(static_cast<uint8_t>(word / 256));
      dataset.pixels.push_back(static_cast<uint8_t>(word % 256));
    }
    dataset.labels.push_back(static_cast<uint8_t>(label));
    all.push_back(static_cast<int64_t>(all.size()));
  }
  Batch batch;
  GatherBatch(dataset, all, batch);
  return batch;
}

// Documents of 1 to 7 words, some words twice, and one document with a gap.
std::vector<Document> RandomDocuments(int count, uint64_t seed) {
  RandomStream random(seed, 0);
  std::vector<Document> documents = {{{12, 0, 279, 12}, 3}};
  while (static_cast<int>(documents.size()) < count) {
    std::vector<int> words(1 + random.Below(kMaxWords));
    for (int& word : words) word = 1 + static_cast<int>(random.Below(kSizes.vocabulary - 1));
    words.back() = words.front();
    documents.push_back({words, static_cast<int>(random.Below(10))});
  }
  return documents;
}

TensorValues RandomWeights(uint64_t seed) {
  TensorValues weights;
  for (const NamedShape& tensor : AttentionTensors(kSizes)) {
    weights.push_back(RandomFloats(seed++, tensor.size(), 1));
  }
  return weights;
}

// The formulas of the header in double, computed naively.
double NaiveAttentionLoss(const std::vector<Doubles>& weights,
                          const std::vector<Document>& documents) {
  double sum = 0;
  for (const auto& [words, label] : documents) {
    double exponentials = 0;
    Doubles pooled(kSizes.dimension);
    for (const int word : words) {
      if (word == 0) continue;
      const auto begin = weights[kEmbedding].begin() + word * kSizes.dimension;
      const Doubles embedding(begin, begin + kSizes.dimension);
      double score = 0;
      for (size_t d = 0; d < embedding.size(); ++d) score += weights[kAttention][d] * embedding[d];
      exponentials += std::exp(score);
      for (size_t d = 0; d < embedding.size(); ++d) pooled[d] += std::exp(score) * embedding[d];
    }
    for (double& value : pooled) value /= exponentials;
    sum += NaiveLoss(
        NaiveBias(NaiveMatMul(pooled, weights[kOutputWeights], 10), weights[kOutputBiases]), label);
  }
  return sum / static_cast<double>(documents.size());
}

TEST(AttentionWordsTest, HasTheNaiveLossAndItsDifferences) {
  const std::vector<Document> documents = RandomDocuments(100, 1);
  const TensorValues weights = RandomWeights(2);
  AttentionWords model(kSizes);
  const auto naive_loss = [&](const std::vector<Doubles>& values) {
    return NaiveAttentionLoss(values, documents);
  };
  ExpectDifferences(Compute(model, weights, BatchOf(documents)), weights, AttentionTensors(kSizes),
                    naive_loss, {.points = 300, .loss = 1e-6, .gradient = 1e-6});
}

TEST(AttentionWordsTest, PaddingIsNotReadAndNotTrained) {
  const std::vector<Document> documents = RandomDocuments(30, 3);
  TensorValues weights = RandomWeights(4);
  AttentionWords model(kSizes);
  const Computed expected = Compute(model, weights, BatchOf(documents));
  std::fill_n(weights[kEmbedding].begin(), kSizes.dimension,
              std::numeric_limits<float>::quiet_NaN());
  std::vector<Document> padded = documents;
  padded[0].words = {0, 0, 12, 279, 0, 12, 0};
  const Computed computed = Compute(model, weights, BatchOf(padded));
  EXPECT_EQ(computed.result.loss_sum, expected.result.loss_sum);
  EXPECT_EQ(computed.gradient, expected.gradient);
  EXPECT_THAT(std::vector<float>(computed.gradient[kEmbedding].begin(),
                                 computed.gradient[kEmbedding].begin() + kSizes.dimension),
              Each(0));
}

TEST(AttentionWordsTest, ADocumentOfOneWordIsItsEmbedding) {
  TensorValues weights = RandomWeights(5);
  for (float& value : weights[kOutputWeights]) value = 0;
  for (int64_t c = 0; c < 5; ++c) weights[kOutputWeights][c * 10 + c] = 1;
  for (float& value : weights[kOutputBiases]) value = -10;
  AttentionWords model(kSizes);
  for (const int word : {1, 255, 256, 279}) {
    const auto embedding = weights[kEmbedding].begin() + word * kSizes.dimension;
    const auto largest =
        static_cast<int>(std::max_element(embedding, embedding + kSizes.dimension) - embedding);
    const Batch batch = BatchOf({{{word}, largest}, {{word, word}, largest}});
    ASSERT_OK_AND_ASSIGN(const auto result, model.Evaluate(weights, batch, {}));
    // Only the first five classes have weights.
    EXPECT_EQ(result.correct, embedding[largest] > 0 || largest == 0 ? 2 : 0) << word;
  }
}

TEST(AttentionWordsTest, EvaluatesToTheLossOfTheGradient) {
  AttentionWords model(kSizes);
  ExpectEvaluatesAsTheGradient(model, RandomWeights(7), BatchOf(RandomDocuments(300, 6)));
}

// A model keeps memory of the largest batch.
TEST(AttentionWordsTest, BitsDoNotDependOnEarlierComputations) {
  const Batch batch = BatchOf(RandomDocuments(20, 8));
  const TensorValues weights = RandomWeights(9);
  AttentionWords model(kSizes);
  Computed computed = Compute(model, weights, batch);
  const Computed expected = computed;
  Compute(model, RandomWeights(10), BatchOf(RandomDocuments(50, 11)));
  ASSERT_OK_AND_ASSIGN(const BatchResult again,
                       model.Gradient(weights, batch, {}, computed.gradient));
  EXPECT_EQ(again.loss_sum, expected.result.loss_sum);
  EXPECT_EQ(computed.gradient, expected.gradient);
}

TEST(AttentionWordsTest, LossOfWeightsThatAreNotFiniteIsReturned) {
  AttentionWords model(kSizes);
  for (const float broken :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    ExpectLossIsNotFinite(model, RandomWeights(13), BatchOf(RandomDocuments(20, 12)), broken);
  }
}

// Scores reach 1e6: only the largest matters.
TEST(AttentionWordsTest, LargeScoresDoNotOverflow) {
  TensorValues weights = RandomWeights(14);
  for (float& value : weights[kAttention]) value *= 1e6F;
  AttentionWords model(kSizes);
  const Computed computed = Compute(model, weights, BatchOf(RandomDocuments(50, 15)));
  EXPECT_TRUE(std::isfinite(computed.result.loss_sum));
  for (const std::vector<float>& values : computed.gradient) {
    for (const float value : values) ASSERT_TRUE(std::isfinite(value));
  }
}

TEST(AttentionWordsTest, HooksAreCalledInOrder) {
  AttentionWords model(kSizes);
  ExpectHooksInOrder(model, RandomWeights(17), BatchOf(RandomDocuments(20, 16)));
}

TEST(AttentionWordsTest, BadArgumentsAreRefused) {
  AttentionWords model(kSizes);
  const TensorValues weights = RandomWeights(18);
  const Batch batch = BatchOf({{{1}, 0}, {{279}, 9}});
  EXPECT_THAT(Refusal(model, weights, BatchOf({{{1}, 0}, {{1, 280}, 0}})),
              HasSubstr("word 280 at 1 of document 1; the model has the words 1 to 279"));
  EXPECT_THAT(Refusal(model, weights, BatchOf({{{1}, 0}, {{1}, 0}, {{0, 0}, 0}})),
              HasSubstr("document 2 has no words"));
  EXPECT_THAT(Refusal(model, weights, BatchOf({{{1}, 10}})), HasSubstr("label 10"));
  EXPECT_THAT(Refusal(model, weights, Batch()), HasSubstr("without"));
  Batch odd = batch;
  odd.columns = 13;
  EXPECT_THAT(Refusal(model, weights, odd), HasSubstr("1 x 13 bytes; the model takes documents"));
  Batch tall = batch;
  tall.rows = 2;
  EXPECT_THAT(Refusal(model, weights, tall), HasSubstr("2 x 14 bytes"));
  Batch short_batch = batch;
  short_batch.pixels.pop_back();
  EXPECT_THAT(Refusal(model, weights, short_batch), HasSubstr("27 pixels (expected 28)"));
  TensorValues short_tensor = weights;
  short_tensor[kAttention].pop_back();
  EXPECT_THAT(Refusal(model, short_tensor, batch),
              HasSubstr("\"attention/weights\": expected 5 entries, got 4"));
  EXPECT_THAT(Refusal(model, {}, batch),
              HasSubstr("\"embedding/weights\": expected 1400 entries, got 0"));
}

class MakeAttentionWordsTest : public testing::Test {
 protected:
  MakeAttentionWordsTest() {
    spec_.architecture = "attention_words";
    for (const NamedShape& tensor : AttentionTensors(kSizes)) {
      spec_.tensors.push_back({tensor.name, tensor.shape, ConstantInitializer()});
    }
  }

  ThreadPool pool_{1};
  ModelSpec spec_;
};

TEST_F(MakeAttentionWordsTest, TakesTheSizesFromTheJob) {
  AttentionWords expected(kSizes);
  EXPECT_EQ(expected.arithmetic(), "double");
  ExpectMakes(spec_, expected, RandomWeights(20), BatchOf(RandomDocuments(30, 19)));
}

TEST_F(MakeAttentionWordsTest, RefusesSizesThatDoNotFitTogether) {
  spec_.tensors[kAttention].shape = {6};
  EXPECT_THAT(RefusalOfJob(spec_),
              HasSubstr("tensor 1: expected \"attention/weights\" of shape [5], got "
                        "\"attention/weights\" of shape [6]"));
  spec_.tensors[kAttention].shape = {5};
  spec_.tensors[kOutputWeights].shape = {5, 11};
  EXPECT_THAT(RefusalOfJob(spec_),
              HasSubstr("tensor 2: expected \"output/weights\" of shape [5, 10], got "
                        "\"output/weights\" of shape [5, 11]"));
}

TEST_F(MakeAttentionWordsTest, RefusesOtherTensors) {
  spec_.tensors[kEmbedding].shape = {280, 5, 1};
  EXPECT_THAT(RefusalOfJob(spec_),
              HasSubstr("tensor 0: expected \"embedding/weights\" of shape [any, any], "
                        "got \"embedding/weights\" of shape [280, 5, 1]"));
  spec_.tensors[kEmbedding].shape = {280, 5};
  spec_.tensors.pop_back();
  EXPECT_THAT(RefusalOfJob(spec_),
              HasSubstr("\"output/biases\" of shape [10], got the end of the job's 3"));
}

TEST_F(MakeAttentionWordsTest, RefusesBuffers) { ExpectRefusesBuffers(spec_); }

TEST_F(MakeAttentionWordsTest, ChecksDatasets) {
  const Dataset good = {.count = 2,
                        .rows = 1,
                        .columns = 6,
                        .pixels = {1, 23, 0, 0, 0, 8, 0, 0, 0, 0, 0, 1},
                        .labels = {0, 9}};
  ExpectChecksDatasets(
      spec_, good,
      {{"a word too many", [](Dataset& set) { set.pixels[1] = 24; }, "word 280 at 0 of document 0"},
       {"no words", [](Dataset& set) { set.pixels[11] = 0; }, "document 1 has no words"}});
}

TEST_F(MakeAttentionWordsTest, RefusesDropout) {
  spec_.dropout_keep_probability = 0.5;
  EXPECT_THAT(RefusalOfJob(spec_),
              AllOf(HasSubstr("attention_words"), HasSubstr("no dropout"), HasSubstr("got 0.5")));
  spec_.dropout_keep_probability = 1;  // the same as off
  EXPECT_OK(MakeModel(spec_, {.pool = &pool_, .isa = ""}));
}

}  // namespace
}  // namespace percentdelta
