// SPDX-License-Identifier: Apache-2.0

// Shards connected in one process: the same bits however the model is split, pushed and computed;
// the rule's result and its statistics.

#include "server/shard/shard_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/random.h"
#include "tests/histogram_of.h"
#include "tests/server/reference.h"
#include "tests/server/test_jobs.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::SizeIs;

constexpr uint64_t kSeed = 11;

Job JobOfSlots(int32_t slots) {
  Job job = SmallJob();
  job.gradients_per_step = slots;
  return job;
}

Gradient TestGradient(int64_t step, int32_t slot) {
  return RandomGradient(SmallJob().model, kSeed, step, slot);
}

// Every slice of every shard, in an order of its own for each (step, slot).
std::vector<std::pair<int, ShardSlice*>> Shuffled(const ShardGroup& group, uint64_t order) {
  std::vector<std::pair<int, ShardSlice*>> slices;
  for (int shard = 0; shard < group.shards(); ++shard) {
    for (const auto& slice : group.state(shard)->slices()) slices.emplace_back(shard, slice.get());
  }
  RandomStream random(kSeed, order);
  for (size_t i = slices.size(); i > 1; --i) std::swap(slices[i - 1], slices[random.Below(i)]);
  return slices;
}

void ExpectHistogramOf(const std::vector<float>& values, const Histogram& got) {
  const Histogram expected = HistogramOf(values);
  EXPECT_EQ(got.counts, expected.counts);
  EXPECT_EQ(got.min, expected.min);
  EXPECT_EQ(got.max, expected.max);
}

// Each slot has a thread that pulls a step, pushes its gradient and goes on, as workers do.
void TrainFromThreads(const ShardGroup& group, int32_t slots, int64_t steps) {
  std::vector<std::thread> threads;
  threads.reserve(slots);
  for (int32_t slot = 0; slot < slots; ++slot) {
    threads.emplace_back([&group, slot, slots, steps] {
      for (int64_t step = 0; step < steps; ++step) {
        group.Weights(step);
        const Gradient gradient = TestGradient(step, slot);
        for (const auto& [shard, slice] : Shuffled(group, step * slots + slot)) {
          const absl::Status pushed = group.Push(shard, *slice, step, slot, gradient);
          EXPECT_OK(pushed);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

class ShardStateTest : public testing::Test {
 protected:
  const testing::ScopedTrace trace_{__FILE__, __LINE__, absl::StrCat("seed ", kSeed)};
};

TEST_F(ShardStateTest, SameBitsForAnySplitAnyOrderAnyThreads) {
  constexpr int64_t kSteps = 5;
  for (const int32_t slots : {1, 2, 3}) {
    const ShardGroup plain(JobOfSlots(slots), 1, 1);
    for (int64_t step = 0; step < kSteps; ++step) {
      for (int32_t slot = 0; slot < slots; ++slot) {
        ASSERT_OK(plain.Push(step, slot, TestGradient(step, slot)));
      }
      plain.Weights(step + 1);
    }
    const Gradient expected = plain.Weights(kSteps);
    EXPECT_NE(expected, plain.Weights(kSteps - 1));
    for (const int shards : {1, 2, 3, 5}) {
      for (const int threads : {1, 2, 3, 4}) {
        const ShardGroup group(JobOfSlots(slots), shards, threads);
        TrainFromThreads(group, slots, kSteps);
        EXPECT_EQ(group.Weights(kSteps), expected)
            << slots << " slots, " << shards << " shards, " << threads << " threads";
      }
    }
  }
}

// Under LAMB the proposal is reduced across the shards, too.
TEST_F(ShardStateTest, LambHasTheSameBitsForAnySplitAnyOrderAnyThreads) {
  constexpr int64_t kSteps = 4;
  const Job job = SmallLambJob();
  Gradient expected;
  for (const auto& [shards, threads] :
       std::vector<std::pair<int, int>>{{1, 1}, {1, 3}, {2, 2}, {3, 1}, {3, 4}, {5, 2}}) {
    const ShardGroup group(job, shards, threads);
    TrainFromThreads(group, job.gradients_per_step, kSteps);
    const Gradient weights = group.Weights(kSteps);
    if (shards == 1 && threads == 1) expected = weights;
    EXPECT_EQ(weights, expected) << shards << " shards, " << threads << " threads";
  }
}

class AgreementTest : public ShardStateTest, public testing::WithParamInterface<Job> {};

TEST_P(AgreementTest, AgreesWithTheReference) {
  constexpr int64_t kSteps = 50;
  const Job job = GetParam();
  for (const int shards : {1, 3}) {
    const ShardGroup group(job, shards, 2);
    std::vector<ReferenceTensor> reference;
    for (const auto& values : group.Weights(0)) reference.emplace_back(AsDoubles(values));
    std::vector<RelativeError> errors(reference.size());
    for (int64_t step = 0; step < kSteps; ++step) {
      const Gradient first = TestGradient(step, 0);
      const Gradient second = TestGradient(step, 1);
      ASSERT_OK(group.Push(step, 1, second));
      ASSERT_OK(group.Push(step, 0, first));
      const Gradient weights = group.Weights(step + 1);
      for (size_t t = 0; t < reference.size(); ++t) {
        reference[t].Step(ReferenceRuleOf(job), step, {AsDoubles(first[t]), AsDoubles(second[t])});
        errors[t].Compare(reference[t].weights(), weights[t]);
      }
    }
    for (size_t t = 0; t < reference.size(); ++t) {
      EXPECT_LE(errors[t].worst(), 1e-5)
          << job.model.tensors[t].name << ", " << shards << " shards";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Rules, AgreementTest, testing::Values(SmallJob(), SmallLambJob()),
                         [](const auto& info) { return RuleTitle(info.param.optimizer.rule); });

TEST_F(ShardStateTest, ReportsEachTensorOfAStepOnce) {
  constexpr int64_t kSteps = 12;  // enough that some tensor's gradient is zero
  const Job job = JobOfSlots(1);
  std::map<std::pair<int64_t, std::string>, TensorStatistics> reports;
  std::vector<Gradient> weights;
  {
    // Reports follow publication: all of them are in when the pool is empty.
    ShardGroup group(job, 3, 2);
    for (int64_t step = 0; step < kSteps; ++step) {
      weights.push_back(group.Weights(step));
      ASSERT_OK(group.Push(step, 0, TestGradient(step, 0)));
    }
    weights.push_back(group.Weights(kSteps));
    group.Drain();
    for (const TensorStatistics& report : group.reports()) {
      EXPECT_TRUE(reports.emplace(std::pair(report.step, report.tensor), report).second)
          << report.tensor << " twice at step " << report.step;
    }
  }
  ASSERT_EQ(reports.size(), kSteps * job.model.tensors.size());
  for (int64_t step = 0; step < kSteps; ++step) {
    const Gradient gradient = TestGradient(step, 0);
    for (size_t t = 0; t < job.model.tensors.size(); ++t) {
      const TensorSpec& spec = job.model.tensors[t];
      SCOPED_TRACE(absl::StrCat(spec.name, " step ", step));
      double g1 = 0;
      double g2 = 0;
      double w1 = 0;
      double w2 = 0;
      for (size_t i = 0; i < gradient[t].size(); ++i) {
        const double g = gradient[t][i];
        const double w = weights[step][t][i];
        g1 += std::fabs(g);
        g2 += g * g;
        w1 += std::fabs(w);
        w2 += w * w;
      }
      ReferenceTensor reference(AsDoubles(weights[step][t]));
      reference.Step(ReferenceRuleOf(job), step, {AsDoubles(gradient[t])});
      const TensorStatistics& report = reports[{step, spec.name}];
      const auto near = [](double got, double expected) {
        EXPECT_NEAR(got, expected, 1e-12 * std::fabs(expected));
      };
      EXPECT_EQ(report.layer, spec.layer());
      EXPECT_EQ(report.entries, spec.size());
      near(report.gradient_l1, g1);
      near(report.gradient_l2, std::sqrt(g2));
      near(report.weight_l1, w1);
      near(report.weight_l2, std::sqrt(w2));
      near(report.rate, reference.last_rate());
      near(report.multiplier, reference.last_multiplier());
      near(report.relative_delta, reference.last_relative_delta());
      near(report.sgd_relative_delta, reference.last_sgd_relative_delta());
    }
  }
}

// Of the weights before a step and of the slots' mean, the same on any number of shards.
TEST_F(ShardStateTest, HistogramsOfSlicesAddUpToTheTensors) {
  constexpr int64_t kSteps = 4;
  const Job job = JobOfSlots(2);
  for (const int shards : {1, 3}) {
    ShardGroup group(job, shards, 2);
    std::map<int64_t, Gradient> weights;
    for (int64_t step = 0; step < kSteps; ++step) {
      weights[step] = group.Weights(step);
      for (const int32_t slot : {1, 0}) ASSERT_OK(group.Push(step, slot, TestGradient(step, slot)));
    }
    group.Weights(kSteps);
    group.Drain();
    std::map<std::pair<int64_t, std::string>, SliceHistograms> whole;
    for (const SliceHistograms& slice : group.histograms()) {
      SliceHistograms& tensor = whole[{slice.step, slice.tensor}];
      tensor.weights.Merge(slice.weights);
      tensor.gradient.Merge(slice.gradient);
    }
    ASSERT_EQ(whole.size(), 2 * job.model.tensors.size());
    for (const int64_t step : {0, 2}) {
      Gradient mean = TestGradient(step, 0);
      const Gradient second = TestGradient(step, 1);
      for (size_t t = 0; t < mean.size(); ++t) {
        for (size_t i = 0; i < mean[t].size(); ++i) {
          mean[t][i] = static_cast<float>((double{mean[t][i]} + second[t][i]) / 2);
        }
        const SliceHistograms& got = whole[{step, job.model.tensors[t].name}];
        ExpectHistogramOf(weights[step][t], got.weights);
        ExpectHistogramOf(mean[t], got.gradient);
      }
    }
  }
}

class ReportTest : public ShardStateTest, public testing::WithParamInterface<UpdateRule> {};

// The first step, against the weights before and after it.
TEST_P(ReportTest, ReportsHowMuchASplitTensorChanged) {
  Job job = JobOfSlots(1);
  job.optimizer = {0.01, GetParam()};
  job.schedule = {};
  job.momentum = {};
  ShardGroup group(job, 3, 2);
  const Gradient gradient = TestGradient(0, 0);
  const Gradient before = group.Weights(0);
  ASSERT_OK(group.Push(0, 0, gradient));
  const Gradient after = group.Weights(1);
  group.Drain();
  const std::vector<TensorStatistics> reports = group.reports();
  ASSERT_THAT(reports, SizeIs(job.model.tensors.size()));
  for (const TensorStatistics& report : reports) {
    const int t = job.model.Find(report.tensor);
    double moved = 0;
    double weights = 0;
    double gradient_l1 = 0;
    for (size_t i = 0; i < before[t].size(); ++i) {
      moved += std::fabs(static_cast<double>(after[t][i]) - before[t][i]);
      weights += std::fabs(before[t][i]);
      gradient_l1 += std::fabs(gradient[t][i]);
    }
    EXPECT_NEAR(report.relative_delta * weights, weights > 0 ? moved : 0, 1e-5 * moved)
        << report.tensor;
    EXPECT_NEAR(report.multiplier * report.rate * gradient_l1, moved, 1e-5 * moved)
        << report.tensor;
  }
}

INSTANTIATE_TEST_SUITE_P(Rules, ReportTest,
                         testing::Values(UpdateRule(AdamRule()), UpdateRule(LambRule())),
                         [](const auto& info) { return RuleTitle(info.param); });

TEST_F(ShardStateTest, SumsThatTheRuleDoesNotUseAreRefused) {
  Job job = JobOfSlots(1);
  const ShardGroup plain(job, 3, 1);
  const DeltaSums sums = {kLarge, 0, 0, {1, 1}};
  EXPECT_THAT(plain.state(0)->Collect(sums), StatusIs(absl::StatusCode::kFailedPrecondition));
  plain.state(0)->ReduceDeltaNorms(
      {kLarge, 0, 0, {{1, 1}, {1, 1}}}, [](const absl::StatusOr<DeltaNorms>& norms) {
        EXPECT_THAT(norms.status(), StatusIs(absl::StatusCode::kFailedPrecondition));
        EXPECT_EQ(norms.status().message(),
                  "tensor a/weights: expected no sums of deltas under PercentDelta, got some");
      });
  job.optimizer.rule = AdamRule();
  job.momentum = {};
  const ShardGroup group(job, 3, 1);
  DeltaSums early = sums;
  early.step = 1;
  EXPECT_THAT(std::string(group.state(0)->Collect(early).message()),
              testing::HasSubstr("expected step 0 or before, got 1"));
  EXPECT_THAT(group.state(1)->Collect(sums), StatusIs(absl::StatusCode::kFailedPrecondition));
  const ShardGroup two(job, 2, 1);
  EXPECT_EQ(two.state(0)->Collect({kScalar, 0, 0, {1}}).code(), absl::StatusCode::kNotFound);
}

TEST_F(ShardStateTest, StepIsThatOfTheSliceFurthestBehind) {
  const ShardGroup group(JobOfSlots(1), 1, 1);
  const ShardState& state = *group.state(0);
  EXPECT_EQ(state.step(), 0);
  const auto sink = std::make_shared<RecordingSink>();
  ASSERT_OK(state.slices()[kFew]->Await(1, sink));
  ASSERT_OK(group.Push(0, *state.slices()[kFew], 0, 0, TestGradient(0, 0)));
  sink->Await(1);
  EXPECT_EQ(state.step(), 0);
  ASSERT_OK(group.Push(0, 0, TestGradient(0, 0)));
  group.Weights(1);
  EXPECT_EQ(state.step(), 1);
}

TEST_F(ShardStateTest, AShardWithoutSlicesIsAtTheEnd) {
  Job job = SmallJob();
  job.model.tensors = {{"only", {3}, ConstantInitializer{1}}};
  const ShardGroup group(job, 2, 1);
  EXPECT_THAT(group.state(1)->slices(), SizeIs(0));
  EXPECT_EQ(group.state(0)->step(), 0);
  EXPECT_EQ(group.state(1)->step(), job.max_steps);
}

TEST_F(ShardStateTest, FindsSlices) {
  const ShardGroup group(SmallJob(), 2, 1);
  EXPECT_EQ((*group.state(1)->FindSlice("b/scalar"))->range().tensor, kScalar);
  EXPECT_EQ((*group.state(0)->FindSlice("a/weights"))->range().end, 3 * kBlockEntries);
  EXPECT_EQ((*group.state(1)->FindSlice("a/weights"))->range().begin, 3 * kBlockEntries);
  EXPECT_THAT(group.state(0)->FindSlice("b/scalar").status(),
              StatusIs(absl::StatusCode::kNotFound));
  const absl::Status unknown = group.state(0)->FindSlice(std::string(5000, 'x')).status();
  EXPECT_THAT(unknown, StatusIs(absl::StatusCode::kNotFound));
  EXPECT_LT(unknown.message().size(), 300U);
}

TEST_F(ShardStateTest, TakesSlotsAndStepsOfTheJob) {
  const ShardGroup group(SmallJob(), 1, 1);
  struct Row {
    int64_t step;
    int32_t slot;
    std::string refused;
  };
  const std::vector<Row> rows = {
      {0, 0, ""},
      {99, 1, ""},
      {0, 2, "slot: expected 0..1, got 2"},
      {0, -1, "slot: expected 0..1, got -1"},
      {100, 0, "step: expected 0..99, got 100"},
      {-1, 0, "step: expected 0..99, got -1"},
  };
  for (const Row& row : rows) {
    const absl::Status status = group.state(0)->CheckSlot(row.step, row.slot);
    EXPECT_EQ(status.code(),
              row.refused.empty() ? absl::StatusCode::kOk : absl::StatusCode::kOutOfRange);
    EXPECT_EQ(std::string(status.message()), row.refused);
  }
}

TEST_F(ShardStateTest, PullsOfStepsThatNeverComeAreRefused) {
  const ShardGroup group(SmallJob(), 1, 1);
  for (const int64_t step : {-1, 101}) {
    const absl::Status status = group.state(0)->Pull(step, std::make_shared<RecordingSink>());
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kOutOfRange));
    EXPECT_EQ(status.message(), absl::StrCat("step: expected 0..100, got ", step));
  }
}

TEST_F(ShardStateTest, CloseEndsPulls) {
  const ShardGroup group(JobOfSlots(1), 1, 1);
  const auto sink = std::make_shared<RecordingSink>();
  ASSERT_OK(group.state(0)->Pull(1, sink));
  group.state(0)->Close(absl::AbortedError("over"));
  EXPECT_THAT(sink->ends(), SizeIs(SmallJob().model.tensors.size()));
  EXPECT_EQ(group.state(0)->Pull(1, sink), absl::AbortedError("over"));
}

}  // namespace
}  // namespace percentdelta
