// SPDX-License-Identifier: Apache-2.0

// The numbers of a job, and the ranges that common/job/job_validation.h accepts.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "common/job/job_validation.h"
#include "tests/common/job/full_job.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::StartsWith;

// Every number of a job, and its range in addition to being finite and within single precision.
TEST(ValidateJobTest, NumbersOutOfRangeAreNamed) {
  enum Range { kPositive, kNotNegative, kUnit, kBelowOne, kAtMostOne, kAny };
  struct Number {
    std::string field;
    Range range;
    std::function<void(Job&, double)> set;
  };
  std::vector<Number> numbers = {
      {"optimizer.learning_rate", kPositive,
       [](Job& j, double x) { j.optimizer.learning_rate = x; }},
      {"schedule.linear_decay.slope", kNotNegative,
       [](Job& j, double x) {
         j.schedule.decay = LinearDecay{x, 0};
       }},
      {"schedule.linear_decay.floor", kUnit,
       [](Job& j, double x) {
         j.schedule.decay = LinearDecay{1, x};
       }},
      {"schedule.step_decay.factor", kAtMostOne,
       [](Job& j, double x) {
         j.schedule.decay = StepDecay{1, x};
       }},
      {"schedule.cosine.floor", kUnit,
       [](Job& j, double x) {
         j.schedule.decay = CosineDecay{1, x};
       }},
      {"momentum.coefficient", kBelowOne, [](Job& j, double x) { j.momentum.coefficient = x; }},
      {"momentum.dampening", kBelowOne, [](Job& j, double x) { j.momentum.dampening = x; }},
      {"gradient_clipping.norm", kPositive,
       [](Job& j, double x) { j.gradient_clipping = GradientClippingSpec{x}; }},
      {"weight_decay.rate", kPositive,
       [](Job& j, double x) { j.weight_decay = WeightDecaySpec{x}; }},
      {"model.dropout_keep_probability", kUnit,
       [](Job& j, double x) { j.model.dropout_keep_probability = x; }},
      {"model.tensors \"a/w\" initializer.truncated_normal.stddev", kPositive,
       [](Job& j, double x) { j.model.tensors[0].initializer = TruncatedNormalInitializer{x}; }},
      {"model.tensors \"a/w\" initializer.uniform.high", kAny,
       [](Job& j, double x) {
         j.model.tensors[0].initializer = UniformInitializer{-1e37, x};
       }},
      {"model.tensors \"a/w\" initializer.normal.mean", kAny,
       [](Job& j, double x) {
         j.model.tensors[0].initializer = NormalInitializer{x, 1};
       }},
      {"model.tensors \"a/w\" initializer.normal.stddev", kPositive,
       [](Job& j, double x) {
         j.model.tensors[0].initializer = NormalInitializer{0, x};
       }},
      {"model.tensors \"a/w\" initializer.he_uniform.gain", kPositive,
       [](Job& j, double x) {
         j.model.tensors[0].initializer =
             ScaledInitializer{ScaledInitializer::Kind::kHeUniform, Layout::kInOut, x};
       }},
      {"model.tensors \"a/w\" initializer.constant.value", kAny,
       [](Job& j, double x) { j.model.tensors[0].initializer = ConstantInitializer{x}; }},
  };
  const std::map<NumberRange, Range> ranges = {{NumberRange::kPositive, kPositive},
                                               {NumberRange::kNotNegative, kNotNegative},
                                               {NumberRange::kBelowOne, kBelowOne}};
  ForEachRule([&](auto rule) {
    for (const auto& field : rule.Fields()) {
      const auto set = [=](Job& job, double x) {
        auto changed = rule;
        changed.*field.value = x;
        job.momentum = {};
        job.optimizer.rule = changed;
      };
      numbers.push_back(
          {"optimizer." + std::string(rule.kName) + "." + field.name, ranges.at(field.range), set});
    }
  });
  struct Value {
    double value;
    std::string shown;
    std::vector<Range> fits;
  };
  using Limits = std::numeric_limits<double>;
  const std::vector<Range> all = {kPositive, kNotNegative, kUnit, kBelowOne, kAtMostOne, kAny};
  const std::vector<Value> values = {
      {Limits::quiet_NaN(), "nan", {}},
      {Limits::infinity(), "inf", {}},
      {-Limits::infinity(), "-inf", {}},
      {Limits::denorm_min(), "4.94066e-324", {}},
      {9.9e-38, "9.9e-38", {}},
      {-9.9e-38, "-9.9e-38", {}},
      {1.1e37, "1.1e+37", {}},
      {-1.1e37, "-1.1e+37", {}},
      {Limits::max(), "1.79769e+308", {}},
      {0, "0", {kNotNegative, kUnit, kBelowOne, kAny}},
      {-0.5, "-0.5", {kAny}},
      {1e-37, "1e-37", all},
      {0.5, "0.5", all},
      {1 - Limits::epsilon(), "1", all},
      {1, "1", {kPositive, kNotNegative, kUnit, kAtMostOne, kAny}},
      {1.5, "1.5", {kPositive, kNotNegative, kAny}},
      {1e37, "1e+37", {kPositive, kNotNegative, kAny}},
  };
  for (const Number& number : numbers) {
    for (const Value& value : values) {
      SCOPED_TRACE(number.field + " " + value.shown);
      Job job = FullJob();
      number.set(job, value.value);
      const absl::Status status = ValidateJob(job);
      const bool fits =
          std::find(value.fits.begin(), value.fits.end(), number.range) != value.fits.end();
      EXPECT_EQ(status.ok(), fits) << status;
      if (fits) continue;
      EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument,
                                   AllOf(StartsWith("job: " + number.field + ": expected "),
                                         EndsWith(", got " + value.shown))));
    }
  }
}

}  // namespace
}  // namespace percentdelta
