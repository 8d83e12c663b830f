// SPDX-License-Identifier: Apache-2.0

// A coordinator with a clock that the test moves, and what its shards and workers do.

#ifndef PERCENTDELTA_TESTS_SERVER_COORDINATOR_COORDINATOR_FIXTURE_H_
#define PERCENTDELTA_TESTS_SERVER_COORDINATOR_COORDINATOR_FIXTURE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/coordinator/coordinator.h"
#include "tests/server/test_jobs.h"
#include "tests/status_matchers.h"

namespace percentdelta {

inline constexpr absl::Duration kLeaseDeadline = absl::Seconds(10);

// A cluster of two shards that train SmallJob for 3 steps of one slot.
class CoordinatorTest : public testing::Test {
 protected:
  using Kind = Lease::Kind;
  using Answers = std::vector<absl::StatusOr<Lease>>;

  static Job TestJob() {
    Job job = SmallJob();
    job.max_steps = 3;
    job.gradients_per_step = 1;
    return job;
  }

  absl::Status Beat(int32_t shard, uint64_t incarnation, uint64_t generation) {
    const ShardBeat beat = {
        shard,       2,         coordinator_.job_hash(), absl::StrCat("host", shard, ":1"),
        incarnation, generation};
    return coordinator_.Heartbeat(beat).status();
  }

  // Outlives the coordinator, whose destructor answers waiting calls.
  Answers& NewAnswers() { return answers_.emplace_back(); }

  // Both shards come and enter the generation.
  void Open(uint64_t generation = 5, uint64_t incarnation = 100) {
    EXPECT_OK(Beat(0, incarnation, 0));
    EXPECT_OK(Beat(1, incarnation, 0));
    EXPECT_OK(Beat(0, incarnation, generation));
    EXPECT_OK(Beat(1, incarnation, generation));
    EXPECT_EQ(coordinator_.view().generation, generation);
  }

  uint64_t Acquire(Answers& answers, absl::Duration wait = absl::Seconds(20),
                   const WorkerIdentity& worker = {"w", "avx2"}) {
    return coordinator_.Acquire(worker, wait, [&answers](absl::StatusOr<Lease> lease) {
      answers.push_back(std::move(lease));
    });
  }

  // The lease that is available at once.
  Lease AcquireNow(const std::string& worker = "w") {
    Answers answers;
    Acquire(answers, absl::ZeroDuration(), {worker, "avx2"});
    EXPECT_THAT(answers, testing::SizeIs(1));
    EXPECT_OK(answers[0]);
    return answers[0].value_or(Lease());
  }

  static LeaseResult ResultOf(const Lease& lease, const std::string& worker = "w") {
    LeaseResult result;
    result.generation = lease.generation;
    result.lease_id = lease.id;
    result.worker = worker;
    result.loss_sum = 6;
    result.correct = 3;
    result.examples = 4;
    return result;
  }

  // Reports a result whose gradient the shards have.
  Lease Complete(const LeaseResult& result) {
    const int64_t step = coordinator_.GetProgress(0).step;
    for (const int32_t shard : {0, 1}) coordinator_.Gathered(result.generation, shard, step + 1);
    return Report(result);
  }

  Lease Report(const LeaseResult& result) {
    const absl::StatusOr<Lease> next = coordinator_.Complete(result);
    EXPECT_OK(next);
    return next.value_or(Lease());
  }

  void PassTime(absl::Duration by) {
    clock_.Advance(by);
    coordinator_.Tick();
  }

  std::deque<Answers> answers_;
  FakeClock clock_;
  Coordinator coordinator_{{.job = TestJob(),
                            .shard_count = 2,
                            .first_generation = 5,
                            .lease_deadline = kLeaseDeadline,
                            .history_steps = 100,
                            .clock = &clock_,
                            .log = MakeSilentLogger()}};
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_SERVER_COORDINATOR_COORDINATOR_FIXTURE_H_
