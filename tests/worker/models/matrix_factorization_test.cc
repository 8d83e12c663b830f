// SPDX-License-Identifier: Apache-2.0

#include "worker/models/matrix_factorization.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
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
using ::testing::HasSubstr;

// More users than a byte has values.
constexpr FactorizationSizes kSizes = {.users = 300, .items = 9, .rank = 3};
enum Tensor { kUserFactors, kUserBiases, kItemFactors, kItemBiases, kGlobalBias };

struct Rating {
  int user;
  int item;
  int label;
};

Batch BatchOf(const std::vector<Rating>& ratings) {
  Dataset dataset = {.count = static_cast<int64_t>(ratings.size()),
                     .rows = 1,
                     .columns = 4,
                     .pixels = {},
                     .labels = {}};
  std::vector<int64_t> all;
  for (const auto& [user, item, label] : ratings) {
    for (const int id : {user, item}) {
      dataset.pixels.push_back(static_cast<uint8_t>(id / 256));
      dataset.pixels.push_back(static_cast<uint8_t>(id % 256));
    }
    dataset.labels.push_back(static_cast<uint8_t>(label));
    all.push_back(static_cast<int64_t>(all.size()));
  }
  Batch batch;
  GatherBatch(dataset, all, batch);
  return batch;
}

std::vector<Rating> RandomRatings(int count, uint64_t seed) {
  RandomStream random(seed, 0);
  std::vector<Rating> ratings;
  ratings.reserve(count);
  for (int i = 0; i < count; ++i) {
    ratings.push_back({static_cast<int>(random.Below(kSizes.users)),
                       static_cast<int>(random.Below(kSizes.items)),
                       static_cast<int>(random.Below(10))});
  }
  return ratings;
}

TensorValues RandomWeights(uint64_t seed) {
  TensorValues weights;
  for (const NamedShape& tensor : FactorizationTensors(kSizes)) {
    weights.push_back(RandomFloats(seed++, tensor.size(), 1));
  }
  weights[kGlobalBias][0] += 2;
  return weights;
}

// The mean squared error in stars, in double, computed naively.
double NaiveLoss(const std::vector<Doubles>& weights, const std::vector<Rating>& ratings) {
  double sum = 0;
  for (const auto& [user, item, label] : ratings) {
    double stars =
        weights[kGlobalBias][0] + weights[kUserBiases][user] + weights[kItemBiases][item];
    for (int64_t k = 0; k < kSizes.rank; ++k) {
      stars += weights[kUserFactors][user * kSizes.rank + k] *
               weights[kItemFactors][item * kSizes.rank + k];
    }
    sum += std::pow(stars - (label + 1) / 2.0, 2);
  }
  return sum / static_cast<double>(ratings.size());
}

TEST(MatrixFactorizationTest, HasTheNaiveLossAndItsDifferences) {
  const std::vector<Rating> ratings = RandomRatings(400, 1);
  const TensorValues weights = RandomWeights(2);
  MatrixFactorization model(kSizes);
  const auto naive_loss = [&](const std::vector<Doubles>& values) {
    return NaiveLoss(values, ratings);
  };
  ExpectDifferences(Compute(model, weights, BatchOf(ratings)), weights,
                    FactorizationTensors(kSizes), naive_loss,
                    {.points = 100, .loss = 1e-12, .gradient = 1e-6});
}

TEST(MatrixFactorizationTest, UsersAndItemsOutsideTheBatchHaveNoGradient) {
  MatrixFactorization model(kSizes);
  const Computed computed = Compute(model, RandomWeights(3), BatchOf({{257, 4, 9}, {257, 5, 0}}));
  for (int64_t user = 0; user < kSizes.users; ++user) {
    EXPECT_EQ(computed.gradient[kUserBiases][user] != 0, user == 257) << user;
  }
  for (int64_t item = 0; item < kSizes.items; ++item) {
    EXPECT_EQ(computed.gradient[kItemFactors][item * 3] != 0, item == 4 || item == 5) << item;
  }
}

TEST(MatrixFactorizationTest, TheNearestOfTheTenRatingsIsTheAnswer) {
  TensorValues weights = RandomWeights(4);
  for (std::vector<float>& values : weights) values.assign(values.size(), 0);
  MatrixFactorization model(kSizes);
  const struct {
    float stars;
    int label;
  } answers[] = {{-7, 0},    {0.5F, 0},  {0.74F, 0}, {0.75F, 1}, {1.24F, 1}, {3, 5},
                 {4.74F, 8}, {4.75F, 9}, {5, 9},     {1e30F, 9}, {-1e30F, 0}};
  for (const auto& [stars, label] : answers) {
    weights[kGlobalBias][0] = stars;
    for (int other = 0; other < 10; ++other) {
      ASSERT_OK_AND_ASSIGN(const auto result,
                           model.Evaluate(weights, BatchOf({{0, 0, other}}), {}));
      EXPECT_EQ(result.correct, other == label ? 1 : 0) << stars << " stars, label " << other;
    }
  }
}

TEST(MatrixFactorizationTest, EvaluatesToTheLossOfTheGradient) {
  MatrixFactorization model(kSizes);
  ExpectEvaluatesAsTheGradient(model, RandomWeights(6), BatchOf(RandomRatings(700, 5)));
}

TEST(MatrixFactorizationTest, LossOfWeightsThatAreNotFiniteIsReturned) {
  const Batch batch = BatchOf(RandomRatings(20, 7));
  MatrixFactorization model(kSizes);
  for (const float broken :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    ExpectLossIsNotFinite(model, RandomWeights(8), batch, broken);
  }
  TensorValues weights = RandomWeights(8);
  weights[kGlobalBias][0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(Compute(model, weights, batch).result.correct, 0);
}

TEST(MatrixFactorizationTest, HooksAreCalledInOrder) {
  MatrixFactorization model(kSizes);
  ExpectHooksInOrder(model, RandomWeights(10), BatchOf(RandomRatings(50, 9)));
}

TEST(MatrixFactorizationTest, BadArgumentsAreRefused) {
  MatrixFactorization model(kSizes);
  const TensorValues weights = RandomWeights(11);
  const Batch batch = BatchOf({{0, 0, 0}, {299, 8, 9}});
  EXPECT_THAT(Refusal(model, weights, BatchOf({{0, 0, 0}, {300, 0, 0}})),
              HasSubstr("user 300 of rating 1; the model has the users 0 to 299"));
  EXPECT_THAT(Refusal(model, weights, BatchOf({{0, 65535, 0}})),
              HasSubstr("item 65535 of rating 0; the model has the items 0 to 8"));
  EXPECT_THAT(Refusal(model, weights, BatchOf({{0, 0, 10}})), HasSubstr("label 10"));
  EXPECT_THAT(Refusal(model, weights, Batch()), HasSubstr("without"));
  Batch wide = batch;
  wide.columns = 5;
  EXPECT_THAT(Refusal(model, weights, wide),
              HasSubstr("1 x 5 bytes; the model takes ratings, of 1 x 4"));
  Batch short_batch = batch;
  short_batch.pixels.pop_back();
  EXPECT_THAT(Refusal(model, weights, short_batch), HasSubstr("7 pixels (expected 8)"));
  TensorValues short_tensor = weights;
  short_tensor[kItemBiases].pop_back();
  EXPECT_THAT(Refusal(model, short_tensor, batch),
              HasSubstr("\"item/biases\": expected 9 entries, got 8"));
  EXPECT_THAT(Refusal(model, {}, batch),
              HasSubstr("\"user/factors\": expected 900 entries, got 0"));
}

class MakeMatrixFactorizationTest : public testing::Test {
 protected:
  MakeMatrixFactorizationTest() {
    spec_.architecture = "matrix_factorization";
    for (const NamedShape& tensor : FactorizationTensors(kSizes)) {
      spec_.tensors.push_back({tensor.name, tensor.shape, ConstantInitializer()});
    }
  }

  ThreadPool pool_{1};
  ModelSpec spec_;
};

TEST_F(MakeMatrixFactorizationTest, TakesTheSizesFromTheJob) {
  MatrixFactorization expected(kSizes);
  EXPECT_EQ(expected.arithmetic(), "double");
  ExpectMakes(spec_, expected, RandomWeights(13), BatchOf(RandomRatings(30, 12)));
}

TEST_F(MakeMatrixFactorizationTest, RefusesSizesThatDoNotFitTogether) {
  spec_.tensors[kItemFactors].shape = {9, 4};
  EXPECT_THAT(RefusalOfJob(spec_),
              HasSubstr("tensor 2: expected \"item/factors\" of shape [9, 3], got "
                        "\"item/factors\" of shape [9, 4]"));
  spec_.tensors[kItemFactors].shape = {9, 3};
  spec_.tensors[kUserBiases].shape = {299};
  EXPECT_THAT(RefusalOfJob(spec_),
              HasSubstr("tensor 1: expected \"user/biases\" of shape [300], got "
                        "\"user/biases\" of shape [299]"));
  spec_.tensors[kUserBiases].shape = {300};
  spec_.tensors[kGlobalBias].shape = {1};
  EXPECT_THAT(RefusalOfJob(spec_), HasSubstr("expected \"global/bias\" of shape [], got "
                                             "\"global/bias\" of shape [1]"));
}

TEST_F(MakeMatrixFactorizationTest, RefusesOtherTensors) {
  spec_.tensors[kUserFactors].shape = {300};
  EXPECT_THAT(RefusalOfJob(spec_),
              HasSubstr("tensor 0: expected \"user/factors\" of shape [any, any], got "
                        "\"user/factors\" of shape [300]"));
  spec_.tensors[kUserFactors].shape = {300, 3};
  spec_.tensors[kItemFactors].name = "movie/factors";
  EXPECT_THAT(RefusalOfJob(spec_),
              HasSubstr("tensor 2: expected \"item/factors\" of shape [any, 3], got "
                        "\"movie/factors\" of shape [9, 3]"));
  spec_.tensors.resize(2);
  EXPECT_THAT(RefusalOfJob(spec_),
              HasSubstr("\"item/factors\" of shape [any, 3], got the end of the job's 2 "
                        "tensors"));
}

TEST_F(MakeMatrixFactorizationTest, RefusesBuffers) { ExpectRefusesBuffers(spec_); }

TEST_F(MakeMatrixFactorizationTest, ChecksDatasets) {
  const Dataset good = {
      .count = 2, .rows = 1, .columns = 4, .pixels = {1, 43, 0, 8, 0, 0, 0, 0}, .labels = {0, 9}};
  ExpectChecksDatasets(
      spec_, good,
      {{"a user too many", [](Dataset& set) { set.pixels[1] = 44; }, "user 300 of rating 0"},
       {"an item too many", [](Dataset& set) { set.pixels[7] = 9; }, "item 9 of rating 1"}});
}

TEST_F(MakeMatrixFactorizationTest, RefusesDropout) {
  spec_.dropout_keep_probability = 0.5;
  EXPECT_THAT(RefusalOfJob(spec_), AllOf(HasSubstr("matrix_factorization"), HasSubstr("no dropout"),
                                         HasSubstr("got 0.5")));
  spec_.dropout_keep_probability = 1;  // the same as off
  EXPECT_OK(MakeModel(spec_, {.pool = &pool_, .isa = ""}));
}

}  // namespace
}  // namespace percentdelta
