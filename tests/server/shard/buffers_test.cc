// SPDX-License-Identifier: Apache-2.0

// Tensors that are not trained: their next value is the mean of the pushed values in slot order,
// bit for bit, however they are split and in whatever order the values come. No rule, no state and
// no statistics are theirs, and the trained tensors do not notice them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/random.h"
#include "tests/server/test_jobs.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::IsEmpty;

constexpr uint64_t kSeed = 17;
constexpr int64_t kSteps = 4;
constexpr SmallTensor kBuffers[] = {kLarge, kScalar, kZeros};  // split, a scalar, zero at first

Job WithBuffers(Job job) {
  for (const SmallTensor tensor : kBuffers) job.model.tensors[tensor].buffer = true;
  return job;
}

// With every stage that a rule takes.
Job JobOf(const UpdateRule& rule, int32_t slots) {
  Job job = SmallJob();
  job.optimizer = {0.01, rule};
  job.gradients_per_step = slots;
  job.gradient_clipping = GradientClippingSpec{0.5};
  job.weight_decay = WeightDecaySpec{0.1};
  if (std::holds_alternative<AdamRule>(rule) || std::holds_alternative<LambRule>(rule)) {
    job.momentum = {};
  }
  return job;
}

// Sums of these depend on the order of addition, also in double: a slot's magnitude is its own.
Gradient Pushed(int64_t step, int32_t slot) {
  Gradient values = RandomGradient(SmallJob().model, kSeed, step, slot);
  const float scale = slot % 3 == 0 ? 1e9F : slot % 3 == 1 ? -1e-9F : 1.0F;
  for (auto& tensor : values) {
    for (float& value : tensor) value *= scale;
  }
  return values;
}

std::vector<float> PlainMean(int tensor, int64_t step, int32_t slots) {
  std::vector<double> sum(SmallJob().model.tensors[tensor].size());
  for (int32_t slot = 0; slot < slots; ++slot) {
    const Gradient values = Pushed(step, slot);
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += values[tensor][i];
  }
  std::vector<float> mean;
  mean.reserve(sum.size());
  for (const double entry : sum) mean.push_back(static_cast<float>(entry / slots));
  return mean;
}

std::vector<int32_t> Shuffled(int32_t slots, int64_t step) {
  std::vector<int32_t> order(slots);
  for (int32_t slot = 0; slot < slots; ++slot) order[slot] = slot;
  RandomStream random(kSeed, step);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.Below(i)]);
  return order;
}

class BuffersTest : public testing::TestWithParam<UpdateRule> {
 protected:
  const testing::ScopedTrace trace_{__FILE__, __LINE__, absl::StrCat("seed ", kSeed)};
};

TEST_P(BuffersTest, TakeTheMeanAndLeaveTheTrainedTensorsAlone) {
  for (const int32_t slots : {1, 3, 4}) {
    const Job trained = JobOf(GetParam(), slots);
    const Job job = WithBuffers(trained);
    const ShardGroup plain(trained, 1, 1);
    const Gradient initial = plain.Weights(0);
    for (int64_t step = 0; step < kSteps; ++step) {
      for (int32_t slot = 0; slot < slots; ++slot) {
        ASSERT_OK(plain.Push(step, slot, Pushed(step, slot)));
      }
      plain.Weights(step + 1);
    }
    const Gradient expected = plain.Weights(kSteps);
    for (const auto& [shards, threads] : {std::pair(1, 1), std::pair(2, 3), std::pair(3, 2)}) {
      SCOPED_TRACE(absl::StrCat(slots, " slots, ", shards, " shards, ", threads, " threads"));
      const ShardGroup group(job, shards, threads);
      EXPECT_TRUE(group.Weights(0) == initial);
      for (int64_t step = 0; step < kSteps; ++step) {
        for (const int32_t slot : Shuffled(slots, step)) {
          ASSERT_OK(group.Push(step, slot, Pushed(step, slot)));
          // Exactly once: what comes again, also with other values, changes nothing.
          ASSERT_OK(group.Push(step, slot, Pushed(step + 1, slot)));
        }
        const Gradient weights = group.Weights(step + 1);
        for (const SmallTensor tensor : kBuffers) {
          EXPECT_TRUE(weights[tensor] == PlainMean(tensor, step, slots))
              << job.model.tensors[tensor].name << " of step " << step + 1;
        }
      }
      const Gradient weights = group.Weights(kSteps);
      for (const SmallTensor tensor : {kFew, kBlock}) {
        EXPECT_TRUE(weights[tensor] == expected[tensor]) << job.model.tensors[tensor].name;
      }
    }
  }
}

TEST_P(BuffersTest, HaveNoStatisticsAndNoState) {
  const Job job = WithBuffers(JobOf(GetParam(), 1));
  ShardGroup group(job, 3, 2);
  for (int64_t step = 0; step < kSteps; ++step) {
    ASSERT_OK(group.Push(step, 0, Pushed(step, 0)));
    group.Weights(step + 1);
  }
  for (int shard = 0; shard < group.shards(); ++shard) {
    EXPECT_EQ(group.state(shard)->gathered_steps(), kSteps);
    for (const auto& slice : group.state(shard)->slices()) {
      const TensorSpec& tensor = job.model.tensors[slice->range().tensor];
      if (tensor.buffer) {
        EXPECT_THAT(slice->optimizer_state(), IsEmpty()) << tensor.name;
      }
    }
  }
  group.Drain();
  std::multiset<std::string> reported;
  for (const TensorStatistics& report : group.reports()) reported.insert(report.tensor);
  EXPECT_EQ(reported.size(), 2 * kSteps);
  for (const SmallTensor tensor : {kFew, kBlock}) {
    EXPECT_EQ(reported.count(job.model.tensors[tensor].name), kSteps);
  }
}

INSTANTIATE_TEST_SUITE_P(Rules, BuffersTest,
                         testing::Values(UpdateRule(PercentDeltaRule{1e-3}), UpdateRule(AdamRule()),
                                         UpdateRule(LambRule())),
                         [](const auto& info) { return RuleTitle(info.param); });

TEST(BufferOfOneSlotTest, TakesEveryFiniteValueBitForBit) {
  Job job = WithBuffers(JobOf(SgdRule{}, 1));
  const std::vector<float> values = {-0.0F,   0.0F,     FLT_TRUE_MIN,      -FLT_MIN / 2,
                                     FLT_MAX, -FLT_MAX, 1.0F + FLT_EPSILON};
  Gradient pushed = Pushed(0, 0);
  std::copy(values.begin(), values.end(), pushed[kLarge].end() - values.size());
  std::copy(values.begin(), values.end(), pushed[kZeros].begin());
  for (const int shards : {1, 2}) {
    const ShardGroup group(job, shards, 1);
    ASSERT_OK(group.Push(0, 0, pushed));
    const Gradient weights = group.Weights(1);
    for (const SmallTensor tensor : kBuffers) {
      for (size_t i = 0; i < weights[tensor].size(); ++i) {
        ASSERT_EQ(std::bit_cast<uint32_t>(weights[tensor][i]),
                  std::bit_cast<uint32_t>(pushed[tensor][i]))
            << job.model.tensors[tensor].name << " entry " << i;
      }
    }
  }
}

// The same value from all slots is its own mean, also at the ends of the range.
TEST(BufferOfManySlotsTest, EqualValuesStayAsTheyAre) {
  constexpr int32_t kSlots = 1024;
  const Job job = WithBuffers(JobOf(SgdRule{}, kSlots));
  ThreadPool pool(1);
  ShardState::Options options;
  options.job = job;
  options.pool = &pool;
  const auto state = std::make_shared<ShardState>(std::move(options));
  ShardSlice& slice = *state->slices()[kZeros];
  const std::vector<float> values = {FLT_TRUE_MIN, -FLT_TRUE_MIN, FLT_MAX, -FLT_MAX, 0.1F};
  const auto sink = std::make_shared<RecordingSink>();
  ASSERT_OK(slice.Await(1, sink));
  for (int32_t slot = kSlots - 1; slot >= 0; --slot) {
    const Buffer buffer = slice.TakeBuffer();
    std::fill(buffer->begin(), buffer->end(), 0.0F);
    std::copy(values.begin(), values.end(), buffer->begin());
    ASSERT_OK(state->Stage(slice, 0, slot, buffer));
  }
  const std::vector<float> mean = *sink->Await(1)[0].values;
  EXPECT_TRUE(std::equal(values.begin(), values.end(), mean.begin()));
}

// What is pushed becomes the next value in place.
TEST(BufferOfOneSlotTest, IsNotCopied) {
  const Job job = WithBuffers(JobOf(SgdRule{}, 1));
  const ShardGroup group(job, 1, 1);
  ShardSlice& slice = *group.state(0)->slices()[kLarge];
  const Buffer pushed = slice.TakeBuffer();
  std::fill(pushed->begin(), pushed->end(), 0.5F);
  const auto sink = std::make_shared<RecordingSink>();
  ASSERT_OK(slice.Await(1, sink));
  ASSERT_OK(group.state(0)->Stage(slice, 0, 0, pushed));
  EXPECT_EQ(sink->Await(1)[0].values, pushed);
}

// A peer that runs other software, or worse.
TEST(SumsOfBuffersTest, AreRefused) {
  const auto refused = [](const absl::Status& status) {
    EXPECT_EQ(status, absl::FailedPreconditionError(
                          "tensor a/weights: expected no sums of a buffer, which is not trained, "
                          "got some"));
  };
  const ShardGroup lamb(WithBuffers(JobOf(LambRule(), 1)), 3, 1);
  lamb.state(0)->ReduceNorms({kLarge, 0, 0, {{}, {}}},
                             [&](const auto& norms) { refused(norms.status()); });
  lamb.state(0)->ReduceDeltaNorms({kLarge, 0, 0, {{}, {}}},
                                  [&](const auto& norms) { refused(norms.status()); });
  const ShardGroup adam(WithBuffers(JobOf(AdamRule(), 1)), 3, 1);
  refused(adam.state(0)->Collect({kLarge, 0, 0, {0, 0}}));
}

}  // namespace
}  // namespace percentdelta
