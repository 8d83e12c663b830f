// SPDX-License-Identifier: Apache-2.0

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/job/job_codec.h"
#include "tests/server/coordinator/coordinator_fixture.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

using Kind = Lease::Kind;

TEST_F(CoordinatorTest, TrainsToTheEnd) {
  Open();
  Lease lease = AcquireNow();
  for (int64_t step = 0; step < 3; ++step) {
    EXPECT_EQ(lease.kind, Kind::kTrain);
    EXPECT_EQ(lease.step, step);
    EXPECT_EQ(lease.generation, 5U);
    lease = Complete(ResultOf(lease));
  }
  EXPECT_EQ(lease.kind, Kind::kFinished);
  EXPECT_EQ(AcquireNow().kind, Kind::kFinished);
  EXPECT_EQ(coordinator_.GetProgress(0).state, TrainingState::kFinished);
  EXPECT_EQ(coordinator_.GetProgress(0).step, 3);
}

TEST_F(CoordinatorTest, WorkBeginsWhenAllShardsHaveEntered) {
  Answers& answers = NewAnswers();
  Acquire(answers);
  EXPECT_OK(Beat(0, 100, 0));
  EXPECT_OK(Beat(1, 100, 0));
  EXPECT_OK(Beat(1, 100, 5));
  EXPECT_THAT(answers, IsEmpty());
  EXPECT_OK(Beat(0, 100, 5));
  ASSERT_THAT(answers, SizeIs(1));
  EXPECT_EQ(answers[0]->kind, Kind::kTrain);
}

TEST_F(CoordinatorTest, WaitingCallsAreAnsweredOnTime) {
  Answers& brief = NewAnswers();
  Answers& patient = NewAnswers();
  Answers& forever = NewAnswers();
  Answers& hasty = NewAnswers();
  Acquire(patient, absl::Seconds(3));
  Acquire(brief, absl::Seconds(2));
  Acquire(forever, absl::Hours(1));
  Acquire(hasty, -absl::Seconds(1));
  EXPECT_THAT(hasty, SizeIs(1));
  PassTime(absl::Milliseconds(1999));
  EXPECT_THAT(brief, IsEmpty());
  PassTime(absl::Milliseconds(1));
  ASSERT_THAT(brief, SizeIs(1));
  EXPECT_EQ(brief[0]->kind, Kind::kWait);
  EXPECT_THAT(patient, IsEmpty());
  PassTime(absl::Milliseconds(27999));
  EXPECT_THAT(patient, SizeIs(1));
  EXPECT_THAT(forever, IsEmpty());
  PassTime(absl::Milliseconds(1));  // no call waits for more than 30 s
  EXPECT_THAT(forever, SizeIs(1));
}

TEST_F(CoordinatorTest, LongestWaitingCallGetsTheWork) {
  Open();
  const Lease lease = AcquireNow();
  Answers& first = NewAnswers();
  Answers& second = NewAnswers();
  Acquire(first);
  Acquire(second);
  EXPECT_EQ(Complete(ResultOf(lease)).kind, Kind::kWait);  // the next step is the first's
  ASSERT_THAT(first, SizeIs(1));
  EXPECT_EQ(first[0]->step, 1);
  EXPECT_THAT(second, IsEmpty());
}

TEST_F(CoordinatorTest, ExpiredWorkGoesToAWaitingCall) {
  Open();
  const Lease lost = AcquireNow();
  Answers& answers = NewAnswers();
  Acquire(answers);
  PassTime(kLeaseDeadline - absl::Milliseconds(1));
  EXPECT_THAT(answers, IsEmpty());
  PassTime(absl::Milliseconds(1));
  ASSERT_THAT(answers, SizeIs(1));
  EXPECT_EQ(answers[0]->kind, Kind::kTrain);
  EXPECT_EQ(answers[0]->step, lost.step);
  EXPECT_NE(answers[0]->id, lost.id);
  EXPECT_EQ(coordinator_.GetProgress(0).expired_leases, 1);
  // Both have the slot now: the second result is a duplicate.
  Complete(ResultOf(lost));
  Complete(ResultOf(*answers[0]));
  EXPECT_EQ(coordinator_.GetProgress(0).duplicate_results, 1);
}

TEST_F(CoordinatorTest, CancelledCallsGetNoWork) {
  Answers& cancelled = NewAnswers();
  Answers& other = NewAnswers();
  const uint64_t wait = Acquire(cancelled);
  Acquire(other);
  coordinator_.CancelWait(wait);
  ASSERT_THAT(cancelled, SizeIs(1));
  EXPECT_THAT(cancelled[0], StatusIs(absl::StatusCode::kCancelled));
  coordinator_.CancelWait(wait);  // again
  Open();
  EXPECT_THAT(cancelled, SizeIs(1));
  ASSERT_THAT(other, SizeIs(1));
  EXPECT_EQ(other[0]->step, 0);
}

TEST_F(CoordinatorTest, CloseAnswersAll) {
  Answers& waiting = NewAnswers();
  Answers& late = NewAnswers();
  Acquire(waiting);
  coordinator_.Close();
  Acquire(late);
  ASSERT_THAT(late, SizeIs(1));
  EXPECT_THAT(waiting.at(0), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(late[0], StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(coordinator_.statistics().ended()->code(), absl::StatusCode::kUnavailable);
}

TEST_F(CoordinatorTest, NewShardProcessStartsANewGeneration) {
  Open();
  const Lease old = AcquireNow();
  const Lease next = Complete(ResultOf(old));
  EXPECT_EQ(coordinator_.GetProgress(0).step, 1);
  EXPECT_THAT(coordinator_.GetProgress(0).training, SizeIs(1));

  EXPECT_OK(Beat(1, 101, 0));
  const Progress progress = coordinator_.GetProgress(0);
  EXPECT_EQ(progress.generation, 6U);
  EXPECT_EQ(progress.step, 0);
  EXPECT_THAT(progress.training, IsEmpty());
  EXPECT_EQ(AcquireNow().kind, Kind::kWait);  // no shard has entered it yet

  // Results of the old one have no effect.
  EXPECT_EQ(coordinator_.Complete(ResultOf(next)).status(),
            absl::FailedPreconditionError("generation: expected 6, got 5"));
  EXPECT_OK(Beat(0, 100, 6));
  EXPECT_OK(Beat(1, 101, 6));
  EXPECT_EQ(AcquireNow().step, 0);
  EXPECT_EQ(AcquireNow().kind, Kind::kWait);  // there is no more work
}

TEST_F(CoordinatorTest, ResultsOfOtherGenerationsAreRefused) {
  LeaseResult result;  // of generation 0, as the cluster's is before its first one
  EXPECT_THAT(coordinator_.Complete(result), StatusIs(absl::StatusCode::kFailedPrecondition));
  Open();
  const Lease lease = AcquireNow();
  result = ResultOf(lease);
  for (const uint64_t other : {0, 4, 6}) {
    result.generation = other;
    EXPECT_EQ(coordinator_.Complete(result).status(),
              absl::FailedPreconditionError(absl::StrCat("generation: expected 5, got ", other)));
  }
  EXPECT_EQ(coordinator_.GetProgress(0).step, 0);
  EXPECT_EQ(Complete(ResultOf(lease)).step, 1);
}

// lease_table_test and membership_test have all cases.
TEST_F(CoordinatorTest, BadResultsAndBeatsAreRefused) {
  const ShardBeat beat = {0, 2, "another job", "host0:1", 1, 0};
  EXPECT_THAT(coordinator_.Heartbeat(beat), StatusIs(absl::StatusCode::kFailedPrecondition));
  Open();
  LeaseResult result = ResultOf(AcquireNow());
  result.examples = 5;
  EXPECT_THAT(coordinator_.Complete(result), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(coordinator_.GetProgress(0).step, 0);
}

TEST_F(CoordinatorTest, ProgressNamesMissingShards) {
  EXPECT_OK(Beat(0, 100, 0));
  EXPECT_EQ(coordinator_.GetProgress(0).state, TrainingState::kGathering);
  EXPECT_EQ(coordinator_.GetProgress(0).message, "waiting for shard 1");
}

TEST_F(CoordinatorTest, ProgressOfATraining) {
  Open();
  Lease lease = AcquireNow();
  clock_.Advance(absl::Seconds(2));
  lease = Complete(ResultOf(lease));
  clock_.Advance(absl::Seconds(2));
  lease = Complete(ResultOf(lease));
  const Progress progress = coordinator_.GetProgress(1);
  EXPECT_EQ(progress.state, TrainingState::kTraining);
  EXPECT_EQ(progress.message, "");
  EXPECT_EQ(progress.job_hash, JobHash(TestJob()));
  EXPECT_EQ(progress.step, 2);
  EXPECT_EQ(progress.max_steps, 3);
  EXPECT_EQ(progress.workers, 1);
  EXPECT_EQ(progress.examples_per_second, 2);
  ASSERT_THAT(progress.training, SizeIs(1));  // from step 1 on
  EXPECT_EQ(progress.training[0].step, 1);
  EXPECT_EQ(progress.training[0].loss, 1.5);
  EXPECT_EQ(progress.training[0].accuracy, 0.75);
  EXPECT_EQ(progress.training[0].seconds, 4);
}

TEST_F(CoordinatorTest, ProgressNamesASilentShard) {
  Open();
  EXPECT_EQ(coordinator_.GetProgress(0).message, "no worker has called in the last minute");
  AcquireNow();
  clock_.Advance(absl::Seconds(5));
  EXPECT_EQ(coordinator_.GetProgress(0).message, "");
  EXPECT_OK(Beat(0, 100, 5));
  clock_.Advance(absl::Milliseconds(2500));
  EXPECT_EQ(coordinator_.GetProgress(0).message, "shard 1 at host1:1 has been silent for 7s");
  EXPECT_OK(Beat(1, 100, 5));
  EXPECT_EQ(coordinator_.GetProgress(0).message, "");
}

TEST_F(CoordinatorTest, StatisticsOfTheGenerationAreTaken) {
  const auto step = [](int64_t number) {
    std::vector<TensorStatistics> updates;
    for (const TensorSpec& tensor : TestJob().model.tensors) {
      updates.emplace_back().step = number;
      updates.back().tensor = tensor.name;
    }
    return updates;
  };
  EXPECT_THAT(coordinator_.ReportStatistics(0, step(0)),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  Open();
  for (const uint64_t generation : {0, 4, 6}) {
    EXPECT_EQ(
        coordinator_.ReportStatistics(generation, step(0)),
        absl::FailedPreconditionError(absl::StrCat("generation: expected 5, got ", generation)));
  }
  EXPECT_EQ(coordinator_.statistics().newest(), -1);
  EXPECT_EQ(coordinator_.ReportStatistics(5, step(1)),
            absl::InvalidArgumentError("statistics: expected a step of at most 0, got 1"));
  EXPECT_OK(coordinator_.ReportStatistics(5, step(0)));
  EXPECT_EQ(coordinator_.statistics().newest(), 0);
  Lease lease = AcquireNow();
  while (lease.kind == Kind::kTrain) lease = Complete(ResultOf(lease));
  EXPECT_OK(coordinator_.ReportStatistics(5, step(1)));
  EXPECT_EQ(coordinator_.statistics().ended(), std::nullopt);
  EXPECT_OK(coordinator_.ReportStatistics(5, step(2)));
  EXPECT_EQ(coordinator_.statistics().ended(), absl::OkStatus());  // it was the last step
  EXPECT_OK(Beat(1, 101, 0));                                      // a new generation
  EXPECT_EQ(coordinator_.statistics().newest(), -1);
  EXPECT_EQ(coordinator_.statistics().ended(), std::nullopt);
}

// Workers acquire, complete and leave concurrently with ticks: every step is done once.
TEST_F(CoordinatorTest, ManyWorkers) {
  Open();
  for (const int32_t shard : {0, 1}) coordinator_.Gathered(5, shard, 3);
  std::atomic<int> open_calls = 0;
  std::atomic<bool> ended = false;
  std::vector<std::thread> workers;
  workers.reserve(4);
  for (int worker = 0; worker < 4; ++worker) {
    workers.emplace_back([&] {
      while (!ended) {
        ++open_calls;
        const uint64_t wait =
            coordinator_.Acquire({"w", "avx2"}, absl::Seconds(1), [&](absl::StatusOr<Lease> lease) {
              --open_calls;
              while (lease.ok() && lease->kind == Kind::kTrain) {
                lease = coordinator_.Complete(ResultOf(*lease));
              }
              if (lease.ok() && lease->kind == Kind::kFinished) ended = true;
            });
        coordinator_.Tick();
        coordinator_.CancelWait(wait);
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  EXPECT_EQ(open_calls, 0);
  EXPECT_EQ(coordinator_.GetProgress(0).step, 3);
}

}  // namespace
}  // namespace percentdelta
