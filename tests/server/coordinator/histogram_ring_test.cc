// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/histogram_ring.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "tests/histogram_of.h"
#include "tests/server/test_jobs.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kNone = std::numeric_limits<int64_t>::max();

// The job's first tensor is split over two shards; one is a buffer.
class HistogramRingTest : public ::testing::Test {
 protected:
  HistogramRingTest() { ring_.Begin(1, 0); }

  static Job RingJob() {
    Job job = SmallJob();
    job.model.tensors.back().buffer = true;
    job.max_steps = 20;
    return job;
  }

  // Of a slice whose values are all `value`.
  static SliceHistograms HistogramsOf(const TensorSpec& tensor, const TensorRange& range,
                                      int64_t step, float value = 1) {
    const Histogram histogram = HistogramOf(std::vector<float>(range.size(), value));
    return {step, tensor.name, range.begin, histogram, histogram};
  }

  // All slices but the last `left_out`.
  void AddStep(int64_t step, size_t left_out = 0, uint64_t generation = 1) {
    std::vector<SliceHistograms> all;
    for (size_t t = 0; t < job_.model.tensors.size(); ++t) {
      if (job_.model.tensors[t].buffer) continue;
      for (const TensorRange& range : partition_.ranges_of_tensor(static_cast<int>(t))) {
        all.push_back(
            HistogramsOf(job_.model.tensors[t], range, step, static_cast<float>(range.shard + 1)));
      }
    }
    all.resize(all.size() - left_out);
    for (const SliceHistograms& each : all) EXPECT_OK(ring_.Add(generation, each));
  }

  std::vector<int64_t> Steps() const {
    std::vector<int64_t> steps;
    for (const StepHistograms& each : ring_.Complete()) steps.push_back(each.step);
    return steps;
  }

  const Job job_ = RingJob();
  const Partition partition_{job_.model, 2};
  HistogramRing ring_{job_, 2, 5};
};

TEST_F(HistogramRingTest, AStepIsThereWhenAllSlicesAre) {
  ASSERT_EQ(partition_.ranges_of_tensor(0).size(), 2);
  EXPECT_EQ(ring_.missing(), 0);
  AddStep(0, 1);
  EXPECT_THAT(Steps(), IsEmpty());
  AddStep(0);  // what is repeated changes nothing
  AddStep(10);
  EXPECT_THAT(Steps(), ElementsAre(0, 10));
  EXPECT_EQ(ring_.missing(), 5);
  const StepHistograms step = ring_.Complete().front();
  ASSERT_EQ(step.tensors.size(), job_.model.tensors.size() - 1);
  for (size_t t = 0; t < step.tensors.size(); ++t) {
    EXPECT_EQ(step.tensors[t].tensor, job_.model.tensors[t].name);
    EXPECT_EQ(step.tensors[t].weights.entries(), job_.model.tensors[t].size());
    EXPECT_EQ(step.tensors[t].gradient.entries(), job_.model.tensors[t].size());
  }
  EXPECT_EQ(step.tensors[0].weights.min, 1);
  EXPECT_EQ(step.tensors[0].weights.max, 2);
  AddStep(5);
  EXPECT_EQ(ring_.missing(), 15);
  AddStep(15);
  EXPECT_EQ(ring_.missing(), kNone);
}

TEST_F(HistogramRingTest, WhatIsWrittenIsDropped) {
  AddStep(0);
  AddStep(5);
  ring_.SetWritten(2, 6);  // another generation
  EXPECT_FALSE(ring_.IsWrittenBefore(1));
  ring_.SetWritten(1, 3);
  EXPECT_THAT(Steps(), ElementsAre(5));
  EXPECT_TRUE(ring_.IsWrittenBefore(3));
  EXPECT_FALSE(ring_.IsWrittenBefore(4));
  AddStep(0);  // late
  EXPECT_THAT(Steps(), ElementsAre(5));
  EXPECT_EQ(ring_.missing(), 10);
}

// Steps after the checkpoint are computed again; those before it are not.
TEST_F(HistogramRingTest, AGenerationKeepsWhatWillNotComeAgain) {
  AddStep(0);
  AddStep(5);
  AddStep(10, 1);
  ring_.Begin(2, 5);
  EXPECT_THAT(Steps(), ElementsAre(0));
  EXPECT_EQ(ring_.missing(), 5);
  AddStep(5, 0, 2);
  EXPECT_THAT(Steps(), ElementsAre(0, 5));
  EXPECT_FALSE(ring_.IsWrittenBefore(5));
  ring_.SetWritten(2, 10);
  EXPECT_TRUE(ring_.IsWrittenBefore(10));
  ring_.Begin(3, 5);
  EXPECT_FALSE(ring_.IsWrittenBefore(6));
  EXPECT_EQ(ring_.missing(), 5);
}

TEST_F(HistogramRingTest, DropsTheOldestWhileNothingIsWritten) {
  Job job = RingJob();
  job.max_steps = 1'000'000;
  HistogramRing ring(job, 1, 1);
  ring.Begin(1, 0);
  const int64_t entries = job.model.tensors[0].size();
  SliceHistograms wide = HistogramsOf(job.model.tensors[0], {0, 0, 0, entries}, 0);
  for (Histogram* histogram : {&wide.weights, &wide.gradient}) {
    histogram->counts.clear();
    for (int bucket = -kMaxBucket; bucket <= kMaxBucket; ++bucket) histogram->counts[bucket] = 1;
    histogram->counts[0] += entries - histogram->entries();
  }
  for (int64_t step = 0; step < 400; ++step) {
    wide.step = step;
    ASSERT_OK(ring.Add(1, wide));
  }
  EXPECT_GT(ring.dropped(), 100);
  EXPECT_LT(ring.dropped(), 300);
  EXPECT_EQ(ring.missing(), ring.dropped());
}

TEST_F(HistogramRingTest, RefusesWhatWasNotAskedFor) {
  const TensorRange range = partition_.ranges_of_tensor(0)[1];
  const struct {
    absl::StatusCode code;
    std::string expected;
    std::function<void(SliceHistograms& histograms)> change;
  } rows[] = {
      {absl::StatusCode::kNotFound, "a tensor of the job, got \"x\\n\"",
       [](auto& histograms) { histograms.tensor = "x\n"; }},
      {absl::StatusCode::kInvalidArgument, "multiple of 5 below step 20, got step 4",
       [](auto& histograms) { histograms.step = 4; }},
      {absl::StatusCode::kInvalidArgument, "got step 20",
       [](auto& histograms) { histograms.step = 20; }},
      {absl::StatusCode::kInvalidArgument, "got step -5",
       [](auto& histograms) { histograms.step = -5; }},
      {absl::StatusCode::kInvalidArgument, "first entry of a slice",
       [](auto& histograms) { ++histograms.first_entry; }},
      {absl::StatusCode::kInvalidArgument, "first entry of a slice",
       [](auto& histograms) {
         histograms.tensor = "c/zeros";
         histograms.first_entry = 0;
       }},
      {absl::StatusCode::kInvalidArgument, "entries of a/weights",
       [](auto& histograms) { histograms.gradient.counts[0] = 1; }},
  };
  for (const auto& row : rows) {
    SliceHistograms histograms = HistogramsOf(job_.model.tensors[0], range, 5);
    row.change(histograms);
    EXPECT_THAT(ring_.Add(1, histograms), StatusIs(row.code, HasSubstr(row.expected)));
  }
  for (const uint64_t generation : {0, 2}) {
    EXPECT_THAT(ring_.Add(generation, HistogramsOf(job_.model.tensors[0], range, 5)),
                StatusIs(absl::StatusCode::kFailedPrecondition));
  }
  HistogramRing none(job_, 2, 0);
  none.Begin(1, 0);
  EXPECT_THAT(none.Add(1, HistogramsOf(job_.model.tensors[0], range, 0)),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(none.missing(), kNone);
  EXPECT_TRUE(none.IsWrittenBefore(20));
}

}  // namespace
}  // namespace percentdelta
