// SPDX-License-Identifier: Apache-2.0

#include "worker/models/mnist_cnn.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/base/random.h"
#include "common/base/thread_pool.h"
#include "common/job/job.h"
#include "tests/status_matchers.h"
#include "tests/worker/models/model_checks.h"
#include "tests/worker/models/naive_layers.h"
#include "worker/data/batches.h"
#include "worker/data/dataset.h"
#include "worker/kernels/kernels.h"
#include "worker/kernels/select.h"
#include "worker/models/dropout.h"
#include "worker/models/model.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr CnnGeometry kSmall = {.height = 8,
                                .width = 12,
                                .kernel = 3,
                                .conv1_channels = 3,
                                .conv2_channels = 5,
                                .fc1_outputs = 7,
                                .classes = 10};

TensorValues RandomWeights(const CnnGeometry& geometry, uint64_t seed) {
  TensorValues weights;
  for (const NamedShape& tensor : CnnTensors(geometry)) {
    int64_t size = 1;
    for (const int64_t dimension : tensor.shape) size *= dimension;
    // About the deviation that keeps the signal's size.
    const float scale =
        tensor.shape.size() == 1 ? 0.1F : std::sqrt(6.0F * tensor.shape.back() / size);
    weights.push_back(RandomFloats(seed++, size, scale));
  }
  return weights;
}

Batch RandomBatch(const CnnGeometry& geometry, int64_t count, uint64_t seed) {
  Batch batch = {.count = count,
                 .rows = static_cast<int32_t>(geometry.height),
                 .columns = static_cast<int32_t>(geometry.width),
                 .pixels = RandomFloats(seed, count * geometry.height * geometry.width, 1),
                 .labels = {}};
  for (float& pixel : batch.pixels) pixel = std::max(pixel, 0.0F);  // half of it black, as MNIST
  RandomStream random(seed, 1);
  for (int64_t i = 0; i < count; ++i) {
    batch.labels.push_back(static_cast<uint8_t>(random.Below(geometry.classes)));
  }
  return batch;
}

class MnistCnnTest : public testing::TestWithParam<const Kernels*> {
 protected:
  ThreadPool pool_{2};
};
INSTANTIATE_TEST_SUITE_P(EveryInstructionSet, MnistCnnTest, testing::ValuesIn(SupportedKernels()),
                         KernelsName);

TEST_P(MnistCnnTest, HasTheNaiveNetworksLossAndItsDifferences) {
  constexpr uint64_t kSeed = 400;
  SCOPED_TRACE(absl::StrCat("seed ", kSeed));
  MnistCnn model(kSmall, *GetParam(), pool_);
  const TensorValues weights = RandomWeights(kSmall, kSeed);
  const Batch batch = RandomBatch(kSmall, 19, kSeed + 50);
  const auto naive_loss = [&](const std::vector<Doubles>& values) {
    return NaiveCnnLoss(kSmall, values, batch);
  };
  ExpectDifferences(Compute(model, weights, batch), weights, CnnTensors(kSmall), naive_loss,
                    {.points = 40, .loss = 1e-6, .gradient = 2e-6});
}

// The dropped units are found with an output of ones, and stay the same while the weights change.
TEST_P(MnistCnnTest, DropoutHasTheNaiveNetworksDifferences) {
  constexpr uint64_t kSeed = 450;
  constexpr double kKeep = 0.6;
  SCOPED_TRACE(absl::StrCat("seed ", kSeed));
  MnistCnn model(kSmall, *GetParam(), pool_, kKeep);
  const TensorValues weights = RandomWeights(kSmall, kSeed);
  Batch batch = RandomBatch(kSmall, 19, kSeed + 50);
  batch.random_key = GradientKey(kSeed, 7, 1);

  std::vector<float> factors(19 * kSmall.fc1_outputs, 1);
  Dropout(kKeep, kSmall.fc1_outputs, pool_).Forward(batch.random_key, 19, absl::MakeSpan(factors));
  const auto naive_loss = [&](const std::vector<Doubles>& values) {
    return NaiveCnnLoss(kSmall, values, batch, ToDoubles(factors));
  };
  ExpectDifferences(Compute(model, weights, batch), weights, CnnTensors(kSmall), naive_loss,
                    {.points = 40, .loss = 1e-6, .gradient = 2e-6});
}

TEST_P(MnistCnnTest, DropoutIsAFunctionOfTheBatchesKey) {
  const TensorValues weights = RandomWeights(kSmall, 460);
  Batch batch = RandomBatch(kSmall, 37, 470);
  batch.random_key = 5;
  MnistCnn model(kSmall, *GetParam(), pool_, 0.5);
  const Computed expected = Compute(model, weights, batch);
  for (const int threads : {1, 2, 3, 5}) {
    ThreadPool pool(threads);
    MnistCnn other(kSmall, *GetParam(), pool, 0.5);
    const Computed got = Compute(other, weights, batch);
    EXPECT_EQ(got.result.loss_sum, expected.result.loss_sum);
    ExpectSameBits(got.gradient, expected.gradient);
  }
  batch.random_key = 6;
  EXPECT_NE(Compute(model, weights, batch).result.loss_sum, expected.result.loss_sum);
}

// Evaluation drops nothing, nor does training with dropout off.
TEST_P(MnistCnnTest, DropsNothingWhenDropoutIsOff) {
  const TensorValues weights = RandomWeights(kSmall, 480);
  const Batch batch = RandomBatch(kSmall, 37, 490);
  MnistCnn without(kSmall, *GetParam(), pool_);
  const Computed expected = Compute(without, weights, batch);
  for (const double keep : {0.0, 0.5, 1.0}) {
    MnistCnn model(kSmall, *GetParam(), pool_, keep);
    const Computed got = Compute(model, weights, batch);
    if (keep == 0.5) {
      EXPECT_NE(got.result.loss_sum, expected.result.loss_sum);
    } else {
      ExpectSameBits(got.gradient, expected.gradient);
    }
    ASSERT_OK_AND_ASSIGN(const BatchResult evaluated, model.Evaluate(weights, batch, {}));
    EXPECT_EQ(evaluated.loss_sum, expected.result.loss_sum);
  }
}

TEST_P(MnistCnnTest, BitsDoNotDependOnThreads) {
  constexpr uint64_t kSeed = 500;
  SCOPED_TRACE(absl::StrCat("seed ", kSeed));
  const TensorValues weights = RandomWeights({}, kSeed);
  std::vector<int64_t> counts = {37, 1};
  // The job's batch with only one table: with all it would take half a minute under a sanitizer.
  if (GetParam() == SupportedKernels().front()) counts.push_back(500);
  for (const int64_t count : counts) {
    const Batch batch = RandomBatch({}, count, kSeed + 50);
    ThreadPool one(1);
    MnistCnn model({}, *GetParam(), one);
    const Computed expected = Compute(model, weights, batch);
    for (const int threads : {2, 3, 5}) {
      SCOPED_TRACE(absl::StrCat(count, " images, ", threads, " threads"));
      ThreadPool pool(threads);
      MnistCnn other({}, *GetParam(), pool);
      const Computed got = Compute(other, weights, batch);
      EXPECT_EQ(got.result.loss_sum, expected.result.loss_sum);
      EXPECT_EQ(got.result.correct, expected.result.correct);
      ExpectSameBits(got.gradient, expected.gradient);
    }
  }
}

TEST_P(MnistCnnTest, BitsDoNotDependOnEarlierComputations) {
  constexpr uint64_t kSeed = 600;
  SCOPED_TRACE(absl::StrCat("seed ", kSeed));
  const TensorValues weights = RandomWeights({}, kSeed);
  const Batch batch = RandomBatch({}, 37, kSeed + 50);
  MnistCnn model({}, *GetParam(), pool_);
  Computed computed = Compute(model, weights, batch);
  const Computed expected = computed;

  TensorValues broken = RandomWeights({}, kSeed + 100);
  for (std::vector<float>& values : broken) values[0] = std::numeric_limits<float>::quiet_NaN();
  Compute(model, broken, RandomBatch({}, 53, kSeed + 150));
  ASSERT_OK(model.Evaluate(broken, RandomBatch({}, 64, kSeed + 160), {}));
  Compute(model, RandomWeights({}, kSeed + 100), RandomBatch({}, 1, kSeed + 150));

  // Into the same memory.
  ASSERT_OK_AND_ASSIGN(const BatchResult again,
                       model.Gradient(weights, batch, {}, computed.gradient));
  EXPECT_EQ(again.loss_sum, expected.result.loss_sum);
  ExpectSameBits(computed.gradient, expected.gradient);
}

TEST_P(MnistCnnTest, BitsAreThoseOfEveryTableOfTheSameArithmetic) {
  constexpr uint64_t kSeed = 700;
  SCOPED_TRACE(absl::StrCat("seed ", kSeed));
  const TensorValues weights = RandomWeights({}, kSeed);
  const Batch batch = RandomBatch({}, 37, kSeed + 50);
  MnistCnn model({}, *GetParam(), pool_);
  const Computed expected = Compute(model, weights, batch);
  for (const Kernels* kernels : SupportedKernels()) {
    MnistCnn other({}, *kernels, pool_);
    if (other.arithmetic() != model.arithmetic()) continue;
    SCOPED_TRACE(kernels->isa);
    const Computed got = Compute(other, weights, batch);
    EXPECT_EQ(got.result.loss_sum, expected.result.loss_sum);
    ExpectSameBits(got.gradient, expected.gradient);
  }
}

TEST_P(MnistCnnTest, EvaluatesToTheLossOfTheGradient) {
  MnistCnn model(kSmall, *GetParam(), pool_);
  // More than one part of Evaluate.
  ExpectEvaluatesAsTheGradient(model, RandomWeights(kSmall, 800), RandomBatch(kSmall, 1201, 850));
}

TEST_P(MnistCnnTest, LossOfWeightsThatAreNotFiniteIsReturned) {
  MnistCnn model(kSmall, *GetParam(), pool_);
  ExpectLossIsNotFinite(model, RandomWeights(kSmall, 900), RandomBatch(kSmall, 3, 950),
                        std::numeric_limits<float>::quiet_NaN());
}

// The rest does not test arithmetic: the best instruction set is enough.
class MnistCnnHooksTest : public testing::Test {
 protected:
  ThreadPool pool_{2};
  MnistCnn model_{kSmall, *SupportedKernels().front(), pool_};
  const TensorValues weights_ = RandomWeights(kSmall, 1000);
  const Batch batch_ = RandomBatch(kSmall, 5, 1050);
};

TEST_F(MnistCnnHooksTest, AreCalledInOrderOnTheCallingThread) {
  ExpectHooksInOrder(model_, weights_, batch_);
}

TEST_F(MnistCnnHooksTest, EvaluateAwaitsEachTensorOnce) {
  const Batch batch = RandomBatch(kSmall, 1001, 1060);
  std::vector<int> awaited;
  const TensorHooks hooks = {.await_weights =
                                 [&](int tensor) {
                                   awaited.push_back(tensor);
                                   return absl::OkStatus();
                                 },
                             .gradient_ready = [](int tensor) { FAIL() << tensor; }};
  ASSERT_OK(model_.Evaluate(weights_, batch, hooks));
  EXPECT_THAT(awaited, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
}

TEST_F(MnistCnnHooksTest, BadArgumentsAreRefused) {
  EXPECT_THAT(Refusal(model_, weights_, Batch()), HasSubstr("without images"));
  EXPECT_THAT(Refusal(model_, weights_, RandomBatch({}, 5, 1)), HasSubstr("takes 8 x 12"));
  Batch short_batch = batch_;
  short_batch.pixels.pop_back();
  EXPECT_THAT(Refusal(model_, weights_, short_batch), HasSubstr("with 479 pixels (expected 480)"));
  Batch unknown_label = batch_;
  unknown_label.labels[3] = 10;
  EXPECT_THAT(Refusal(model_, weights_, unknown_label), HasSubstr("label 10 of image 3"));
  TensorValues short_tensor = weights_;
  short_tensor[5].pop_back();
  EXPECT_THAT(Refusal(model_, short_tensor, batch_),
              HasSubstr("\"fc1/biases\": expected 7 entries, got 6"));
  EXPECT_THAT(Refusal(model_, {}, batch_),
              HasSubstr("\"conv1/weights\": expected 27 entries, got 0"));
}

class MakeMnistCnnTest : public testing::Test {
 protected:
  MakeMnistCnnTest() {
    spec_.architecture = "mnist_cnn";
    for (const NamedShape& tensor : CnnTensors({})) {
      spec_.tensors.push_back({tensor.name, tensor.shape, ConstantInitializer()});
    }
  }

  absl::Status Make(const std::string& isa = "") {
    return MakeModel(spec_, {.pool = &pool_, .isa = isa}).status();
  }

  ThreadPool pool_{1};
  ModelSpec spec_;
};

TEST_F(MakeMnistCnnTest, MakesThePapersNetworkOnEveryInstructionSet) {
  EXPECT_EQ(spec_.size(), 3274634);
  for (const Kernels* kernels : SupportedKernels()) {
    ASSERT_OK_AND_ASSIGN(const auto model, MakeModel(spec_, {.pool = &pool_, .isa = kernels->isa}));
    EXPECT_EQ(model->arithmetic(), kernels->arithmetic);
  }
  ASSERT_OK_AND_ASSIGN(const auto best, MakeModel(spec_, {.pool = &pool_, .isa = ""}));
  EXPECT_EQ(best->arithmetic(), SupportedKernels().front()->arithmetic);
}

TEST_F(MakeMnistCnnTest, DropsWithTheProbabilityOfTheJob) {
  const Batch batch = RandomBatch({}, 3, 1);
  const TensorValues weights = RandomWeights({}, 2);
  std::vector<double> losses;
  for (const double keep : {0.0, 1.0, 0.5}) {
    spec_.dropout_keep_probability = keep;
    ASSERT_OK_AND_ASSIGN(const auto model, MakeModel(spec_, {.pool = &pool_, .isa = ""}));
    losses.push_back(Compute(*model, weights, batch).result.loss_sum);
  }
  EXPECT_EQ(losses[1], losses[0]);
  EXPECT_NE(losses[2], losses[0]);
}

TEST_F(MakeMnistCnnTest, RefusesAnotherShape) {
  spec_.tensors[4].shape = {1024, 3136};
  EXPECT_THAT(
      Make(),
      StatusIs(absl::StatusCode::kInvalidArgument,
               HasSubstr("expected \"fc1/weights\" of shape [3136, 1024], got \"fc1/weights\" of "
                         "shape [1024, 3136]")));
}

TEST_F(MakeMnistCnnTest, RefusesAnotherNameAndAnotherOrder) {
  spec_.tensors[1].name = "conv1/bias";
  EXPECT_THAT(
      Make(),
      StatusIs(absl::StatusCode::kInvalidArgument,
               HasSubstr("tensor 1: expected \"conv1/biases\" of shape [32], got \"conv1/bias\"")));
  spec_.tensors[1].name = "conv1/biases";
  std::swap(spec_.tensors[6], spec_.tensors[7]);
  EXPECT_THAT(Make(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("tensor 6: expected \"fc2/weights\" of shape [1024, 10], got "
                                 "\"fc2/biases\" of shape [10]")));
}

TEST_F(MakeMnistCnnTest, RefusesTensorsTooFewAndTooMany) {
  const TensorSpec last = spec_.tensors.back();
  spec_.tensors.pop_back();
  EXPECT_THAT(
      Make(),
      StatusIs(absl::StatusCode::kInvalidArgument,
               HasSubstr("expected \"fc2/biases\" of shape [10], got the end of the job's 7")));
  spec_.tensors.push_back(last);
  spec_.tensors.push_back({"fc3/weights", {10}, ConstantInitializer()});
  EXPECT_THAT(
      Make(),
      StatusIs(absl::StatusCode::kInvalidArgument,
               HasSubstr("expected 8 tensors, got 9, the first too many being \"fc3/weights\"")));
}

TEST_F(MakeMnistCnnTest, RefusesBuffers) { ExpectRefusesBuffers(spec_); }

TEST_F(MakeMnistCnnTest, ChecksDatasets) {
  const Dataset good = {.count = 2,
                        .rows = 28,
                        .columns = 28,
                        .pixels = std::vector<uint8_t>(2 * 28 * 28, 255),
                        .labels = {0, 9}};
  ExpectChecksDatasets(spec_, good,
                       {{"sides of 14",
                         [](Dataset& set) {
                           set.rows = set.columns = 14;
                           set.pixels.resize(2 * 14 * 14);
                         },
                         "images of 14 x 14 pixels; the model takes 28 x 28"}});
}

TEST_F(MakeMnistCnnTest, RefusesAnUnknownInstructionSet) {
  EXPECT_THAT(Make("x86-64-v9"), StatusIs(absl::StatusCode::kInvalidArgument,
                                          AllOf(HasSubstr("\"x86-64-v9\""), HasSubstr("generic"))));
}

}  // namespace
}  // namespace percentdelta
