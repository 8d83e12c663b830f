// SPDX-License-Identifier: Apache-2.0

#include "worker/models/dropout.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/random.h"
#include "common/base/thread_pool.h"
#include "worker/data/batches.h"

namespace percentdelta {
namespace {

constexpr int64_t kExamples = 200;
constexpr int64_t kUnits = 300;

std::vector<float> Dropped(double keep, uint64_t key, int threads = 2, float value = 1) {
  ThreadPool pool(threads);
  std::vector<float> outputs(kExamples * kUnits, value);
  Dropout(keep, kUnits, pool).Forward(key, kExamples, absl::MakeSpan(outputs));
  return outputs;
}

// As the header specifies.
TEST(DropoutTest, KeepsTheUnitsThatTheRandomNumbersSelect) {
  const std::vector<float> outputs = Dropped(0.75, 42);
  for (int64_t n = 0; n < kExamples; ++n) {
    RandomStream random(42, n);
    for (int64_t u = 0; u < kUnits; ++u) {
      const bool kept = random.Uniform() < 0.75;
      ASSERT_EQ(outputs[n * kUnits + u], kept ? static_cast<float>(1 / 0.75) : 0.0F)
          << n << " " << u;
    }
  }
}

TEST(DropoutTest, DoesNotDependOnThreads) {
  const std::vector<float> expected = Dropped(0.5, 7, 1);
  for (const int threads : {2, 3, 5}) EXPECT_EQ(Dropped(0.5, 7, threads), expected);
  EXPECT_NE(Dropped(0.5, 8, 1), expected);
}

// Mean and share of kept units, within five standard deviations.
TEST(DropoutTest, KeepsTheMean) {
  for (const double keep : {0.1, 0.5, 0.9}) {
    SCOPED_TRACE(absl::StrCat("keep ", keep));
    double sum = 0;
    int64_t kept = 0;
    for (const float output : Dropped(keep, 11, 2, 3)) {
      sum += output;
      kept += output != 0 ? 1 : 0;
    }
    constexpr double kCount = kExamples * kUnits;
    const double deviation = std::sqrt(keep * (1 - keep) / kCount);
    EXPECT_NEAR(static_cast<double>(kept) / kCount, keep, 5 * deviation);
    EXPECT_NEAR(sum / kCount, 3, 3 * 5 * deviation / keep);
  }
}

TEST(DropoutTest, ZeroAndOneKeepAll) {
  for (const double keep : {0.0, 1.0}) {
    EXPECT_EQ(Dropped(keep, 7, 2, 3), std::vector<float>(kExamples * kUnits, 3));
    ThreadPool pool(1);
    std::vector<float> gradient(kUnits, 3);
    Dropout(keep, kUnits, pool).Backward(1, absl::MakeSpan(gradient));
    EXPECT_EQ(gradient, std::vector<float>(kUnits, 3));
  }
}

TEST(DropoutTest, ScalesTheGradientLikeTheOutputs) {
  ThreadPool pool(2);
  std::vector<float> gradient(2 * kUnits, 3);
  Dropout(0.25, kUnits, pool).Backward(2, absl::MakeSpan(gradient));
  EXPECT_EQ(gradient, std::vector<float>(2 * kUnits, 12));
}

TEST(GradientKeyTest, DiffersForEachPlaceInTheTraining) {
  const uint64_t key = GradientKey(1, 2, 3);
  EXPECT_EQ(GradientKey(1, 2, 3), key);
  EXPECT_EQ(key, Hash64(1, Hash64(HashString("gradient"), Hash64(2, 3))));
  EXPECT_NE(GradientKey(2, 2, 3), key);
  EXPECT_NE(GradientKey(1, 3, 3), key);
  EXPECT_NE(GradientKey(1, 2, 4), key);
  EXPECT_NE(GradientKey(1, 3, 2), key);
}

}  // namespace
}  // namespace percentdelta
