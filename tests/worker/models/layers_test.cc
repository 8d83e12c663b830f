// SPDX-License-Identifier: Apache-2.0

// Every layer against its naive version: values, and gradients as central differences of that.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/base/random.h"
#include "common/base/thread_pool.h"
#include "tests/worker/models/naive_layers.h"
#include "worker/kernels/kernels.h"
#include "worker/kernels/select.h"
#include "worker/models/conv_block.h"
#include "worker/models/dense.h"
#include "worker/models/softmax.h"

namespace percentdelta {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

double Dot(const Doubles& a, const std::vector<float>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

void ExpectNear(const std::vector<float>& got, const Doubles& expected, double tolerance) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected[i], tolerance) << "at " << i;
}

// Compares the gradient with differences of `loss` at up to 100 entries of `values`.
void ExpectGradient(const std::vector<float>& gradient,
                    const std::function<double(const Doubles&)>& loss,
                    const std::vector<float>& values, double tolerance) {
  ASSERT_EQ(gradient.size(), values.size());
  const auto entries = static_cast<int64_t>(values.size());
  const int64_t stride = std::max<int64_t>(1, entries / 100);
  for (int64_t i = 0; i < entries; i += stride) {
    ASSERT_NEAR(gradient[i], Difference(loss, ToDoubles(values), i), tolerance) << "at " << i;
  }
}

class LayersTest : public testing::TestWithParam<const Kernels*> {};
INSTANTIATE_TEST_SUITE_P(EveryInstructionSet, LayersTest, testing::ValuesIn(SupportedKernels()),
                         KernelsName);

// One image through a ConvBlock, forward and backward.
struct ConvRun {
  std::vector<float> output;
  std::vector<float> weights_gradient;
  std::vector<float> biases_gradient;
  std::vector<float> input_gradient;
};

ConvRun RunConv(const ConvShape& shape, const Kernels& kernels, const std::vector<float>& image,
                const std::vector<float>& weights, const std::vector<float>& biases,
                const std::vector<float>& output_gradient) {
  ConvBlock block(shape, kernels);
  ThreadPool pool(1);
  AlignedFloats scratch;
  PaddedImages input = block.MakeInput();
  PaddedImages input_gradient = block.MakeInput();
  input.Reserve(1);
  input_gradient.Reserve(1);
  const int64_t row = shape.width * shape.in_channels;
  for (int64_t y = 0; y < shape.height; ++y) {
    std::copy_n(image.data() + y * row, row, input.interior(0) + y * input.row_stride());
  }
  ConvRun run;
  run.output.resize(block.outputs());
  std::vector<uint8_t> winners(block.outputs());
  block.SetForwardWeights(weights, biases);
  block.SetBackwardWeights(weights);
  const int64_t output_row = shape.width / 2 * shape.out_channels;
  block.Forward(input.image(0), scratch, run.output.data(), output_row, winners.data());
  ConvGradient sum;
  block.Clear(sum);
  block.Backward(input.image(0), output_gradient.data(), output_row, winners.data(), sum,
                 input_gradient.image(0));
  run.weights_gradient.resize(weights.size());
  run.biases_gradient.resize(biases.size());
  block.Combine(absl::MakeConstSpan(&sum, 1), pool, absl::MakeSpan(run.weights_gradient),
                absl::MakeSpan(run.biases_gradient));
  for (int64_t y = 0; y < shape.height; ++y) {
    const float* from = input_gradient.interior(0) + y * input_gradient.row_stride();
    run.input_gradient.insert(run.input_gradient.end(), from, from + row);
  }
  return run;
}

// Weights, bias, ReLU and pooling together: the differences use the naive layers one by one.
TEST_P(LayersTest, ConvBlockHasTheNaiveLayersValuesAndDifferences) {
  const ConvShape shapes[] = {{2, 2, 1, 1, 1, 0},
                              {6, 4, 3, 5, 3, 0},
                              {4, 8, 1, 32, 5, 0},
                              {8, 6, 17, 9, 5, 0},
                              {14, 14, 4, 33, 5, 0},
                              {4, 4, 32, 70, 3, 0},
                              // Winograd's: many rows of windows, and a long one.
                              {18, 4, 8, 3, 5, 0},
                              {2, 32, 9, 20, 5, 0},
                              // More windows, and more channels, than the kernels mark at a time.
                              {18, 16, 2, 3, 3, 0},
                              {2, 4, 1, 130, 3, 0}};
  uint64_t seed = 100;
  for (const ConvShape& s : shapes) {
    seed += 10;
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    const int64_t taps = s.kernel * s.kernel * s.in_channels;
    const auto image = RandomFloats(seed, s.height * s.width * s.in_channels, 1);
    const auto weights = RandomFloats(seed + 1, taps * s.out_channels, 0.3F);
    const auto biases = RandomFloats(seed + 2, s.out_channels, 0.3F);
    const auto upstream = RandomFloats(seed + 3, s.height / 2 * (s.width / 2) * s.out_channels, 1);
    const ConvRun run = RunConv(s, *GetParam(), image, weights, biases, upstream);

    const auto forward = [&s](const Doubles& x, const Doubles& w, const Doubles& b) {
      Doubles sums = NaiveConv(x, s.height, s.width, w, s.kernel, s.in_channels, s.out_channels);
      return NaivePool(NaiveRelu(NaiveBias(sums, b)), s.height, s.width, s.out_channels);
    };
    const Doubles x = ToDoubles(image);
    const Doubles w = ToDoubles(weights);
    const Doubles b = ToDoubles(biases);
    ExpectNear(run.output, forward(x, w, b), 1e-5);
    ExpectGradient(
        run.weights_gradient, [&](const Doubles& v) { return Dot(forward(x, v, b), upstream); },
        weights, 1e-4);
    ExpectGradient(
        run.biases_gradient, [&](const Doubles& v) { return Dot(forward(x, w, v), upstream); },
        biases, 1e-4);
    ExpectGradient(
        run.input_gradient, [&](const Doubles& v) { return Dot(forward(v, w, b), upstream); },
        image, 1e-4);
  }
}

double RootMeanSquare(const Doubles& values) {
  double sum = 0;
  for (const double value : values) sum += value * value;
  return std::sqrt(sum / static_cast<double>(values.size()));
}

// The effect of rounding on the paper's second convolution, whose outputs are around 1.
TEST_P(LayersTest, WinogradsConvolutionIsAboutAsExactAsASum) {
  constexpr uint64_t kSeed = 240;
  SCOPED_TRACE(absl::StrCat("seed ", kSeed));
  const ConvShape shape = {14, 14, 32, 64, 5, 0};
  std::vector<float> image = RandomFloats(kSeed, 14 * 14 * 32, 1);
  for (float& pixel : image) pixel = std::max(pixel, 0.0F);
  const auto weights = RandomFloats(kSeed + 1, int64_t{25} * 32 * 64, 0.1F);
  const std::vector<float> biases(64, 10);  // keeps all outputs above 0
  const ConvRun run =
      RunConv(shape, *GetParam(), image, weights, biases, std::vector<float>(7 * 7 * 64));

  const Doubles x = ToDoubles(image);
  const Doubles w = ToDoubles(weights);
  const Doubles exact =
      NaivePool(NaiveBias(NaiveConv(x, 14, 14, w, 5, 32, 64), ToDoubles(biases)), 14, 14, 64);
  Doubles errors;
  for (size_t i = 0; i < exact.size(); ++i) errors.push_back(run.output[i] - exact[i]);
  // The relative error of a sum of 800 products, added one after the other, is about 5e-7.
  EXPECT_LT(RootMeanSquare(errors), 1e-6);
}

// A 1x1 convolution with weight 1 and bias 0 is the identity: only ReLU and pooling remain.
TEST_P(LayersTest, OfEqualMaximaTheFirstTakesTheGradient) {
  const ConvShape shape = {2, 8, 1, 1, 1, 0};
  const std::vector<float> image = {1, 1, 0, 2, 3, 1, 0, 0,  //
                                    1, 1, 2, 2, 3, 3, 0, 4};
  const ConvRun run = RunConv(shape, *GetParam(), image, {1}, {0}, {10, 20, 30, 40});
  EXPECT_THAT(run.output, ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(run.input_gradient, ElementsAre(10, 0, 0, 20, 30, 0, 0, 0,  //
                                              0, 0, 0, 0, 0, 0, 0, 40));
  EXPECT_THAT(run.weights_gradient, ElementsAre(10 + 2 * 20 + 3 * 30 + 4 * 40));
  EXPECT_THAT(run.biases_gradient, ElementsAre(100));
}

TEST_P(LayersTest, ReluOfTheConvBlockPassesNoGradientAtZeroAndBelow) {
  const ConvShape shape = {2, 4, 1, 1, 1, 0};
  const std::vector<float> image = {0, -1,    -1, -2,  //
                                    0, -0.0F, -3, -4};
  const ConvRun run = RunConv(shape, *GetParam(), image, {1}, {0}, {10, 20});
  EXPECT_THAT(run.output, ElementsAre(0, 0));
  EXPECT_THAT(run.input_gradient, Each(0));
  EXPECT_THAT(run.weights_gradient, Each(0));
  EXPECT_THAT(run.biases_gradient, Each(0));
}

TEST_P(LayersTest, NaNPassesThroughTheConvBlock) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const ConvRun run = RunConv({2, 2, 1, 1, 1, 0}, *GetParam(), {1, 2, 3, 4}, {nan}, {0}, {1});
  EXPECT_TRUE(std::isnan(run.output[0]));
}

TEST_P(LayersTest, DenseHasTheNaiveLayersValuesAndDifferences) {
  ThreadPool pool(2);
  uint64_t seed = 200;
  for (const bool relu : {false, true}) {
    seed += 10;
    SCOPED_TRACE(absl::StrCat("seed ", seed, relu ? ", relu" : ""));
    constexpr int64_t kExamples = 3;
    const Dense layer(20, 11, relu, *GetParam(), pool);
    const auto x = RandomFloats(seed, kExamples * 20, 1);
    const auto weights = RandomFloats(seed + 1, int64_t{20} * 11, 0.5F);
    const auto biases = RandomFloats(seed + 2, 11, 0.5F);
    const auto upstream = RandomFloats(seed + 3, kExamples * 11, 1);

    std::vector<float> y(kExamples * 11);
    layer.Forward(kExamples, x, weights, biases, absl::MakeSpan(y));
    std::vector<float> y_gradient = upstream;
    layer.BackwardRelu(kExamples, y, absl::MakeSpan(y_gradient));
    std::vector<float> x_gradient(x.size());
    std::vector<float> weights_gradient(weights.size());
    std::vector<float> biases_gradient(biases.size());
    layer.InputGradient(kExamples, y_gradient, weights, absl::MakeSpan(x_gradient));
    layer.WeightsGradient(kExamples, x, y_gradient, absl::MakeSpan(weights_gradient));
    layer.BiasesGradient(kExamples, y_gradient, absl::MakeSpan(biases_gradient));

    const auto forward = [&](const Doubles& xs, const Doubles& w, const Doubles& b) {
      Doubles ys;
      for (int64_t n = 0; n < kExamples; ++n) {
        const Doubles example(xs.begin() + n * 20, xs.begin() + (n + 1) * 20);
        Doubles sums = NaiveBias(NaiveMatMul(example, w, 11), b);
        if (relu) sums = NaiveRelu(sums);
        ys.insert(ys.end(), sums.begin(), sums.end());
      }
      return ys;
    };
    const Doubles xd = ToDoubles(x);
    const Doubles wd = ToDoubles(weights);
    const Doubles bd = ToDoubles(biases);
    ExpectNear(y, forward(xd, wd, bd), 1e-5);
    ExpectGradient(
        x_gradient, [&](const Doubles& v) { return Dot(forward(v, wd, bd), upstream); }, x, 1e-5);
    ExpectGradient(
        weights_gradient, [&](const Doubles& v) { return Dot(forward(xd, v, bd), upstream); },
        weights, 1e-5);
    ExpectGradient(
        biases_gradient, [&](const Doubles& v) { return Dot(forward(xd, wd, v), upstream); },
        biases, 1e-5);
  }
}

TEST_P(LayersTest, ReluOfTheDenseLayerPassesNoGradientAtZero) {
  ThreadPool pool(1);
  const Dense layer(1, 3, true, *GetParam(), pool);
  std::vector<float> y(3);
  layer.Forward(1, {1.0F}, {1, -1, -1}, {0, 0, 1}, absl::MakeSpan(y));
  EXPECT_THAT(y, ElementsAre(1, 0, 0));
  std::vector<float> gradient = {5, 6, 7};
  layer.BackwardRelu(1, y, absl::MakeSpan(gradient));
  EXPECT_THAT(gradient, ElementsAre(5, 0, 0));
}

TEST(SoftmaxTest, HasTheNaiveLossAndItsDifferences) {
  constexpr uint64_t kSeed = 310;
  SCOPED_TRACE(absl::StrCat("seed ", kSeed));
  const std::vector<float> logits = RandomFloats(kSeed, 10, 4);
  for (int label = 0; label < 10; ++label) {
    std::vector<float> gradient(10);
    const double loss = SoftmaxCrossEntropy(logits, label, 4, absl::MakeSpan(gradient));
    EXPECT_NEAR(loss, NaiveLoss(ToDoubles(logits), label), 1e-12);
    ExpectGradient(
        gradient, [label](const Doubles& v) { return NaiveLoss(v, label) / 4; }, logits, 1e-7);
  }
}

TEST(SoftmaxTest, DoesNotOverflow) {
  std::vector<float> gradient(3);
  EXPECT_EQ(SoftmaxCrossEntropy({1e30F, -1e30F, 0}, 0, 1, absl::MakeSpan(gradient)), 0);
  EXPECT_THAT(gradient, ElementsAre(0, 0, 0));
  EXPECT_EQ(SoftmaxCrossEntropy({1000, 0, 0}, 1, 1, absl::MakeSpan(gradient)), 1000);
  EXPECT_THAT(gradient, ElementsAre(1, -1, 0));
}

TEST(SoftmaxTest, LossOfLogitsThatAreNotFiniteIsNotFinite) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(std::isfinite(SoftmaxCrossEntropy({0, nan, 0}, 0, 1, {})));
  EXPECT_FALSE(std::isfinite(SoftmaxCrossEntropy({nan, 0, 0}, 2, 1, {})));
  EXPECT_FALSE(std::isfinite(SoftmaxCrossEntropy({infinity, 0, 0}, 0, 1, {})));
  EXPECT_FALSE(std::isfinite(SoftmaxCrossEntropy({-infinity, 0, 0}, 0, 1, {})));
}

TEST(SoftmaxTest, OfEqualOutputsTheFirstIsTheAnswer) {
  EXPECT_EQ(ArgMax({1, 3, 3, 2}), 1);
  EXPECT_EQ(ArgMax({0, 0}), 0);
}

}  // namespace
}  // namespace percentdelta
