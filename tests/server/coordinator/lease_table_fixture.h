// SPDX-License-Identifier: Apache-2.0

// A lease table with a time that the test moves, and what workers do with it.

#ifndef PERCENTDELTA_TESTS_SERVER_COORDINATOR_LEASE_TABLE_FIXTURE_H_
#define PERCENTDELTA_TESTS_SERVER_COORDINATOR_LEASE_TABLE_FIXTURE_H_

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/job/job.h"
#include "server/coordinator/lease_table.h"
#include "server/coordinator/worker_roster.h"
#include "tests/server/test_jobs.h"
#include "tests/status_matchers.h"

namespace percentdelta {

inline constexpr absl::Duration kDeadline = absl::Seconds(10);

// 3 steps of 2 slots, 10 batches an epoch of 40 examples.
inline Job TrainingJob() {
  Job job = SmallJob();
  job.max_steps = 3;
  return job;
}

// The same, evaluated on 10 test examples every 2 steps, in parts of 4, 4 and 2.
inline Job EvaluatedJob() {
  Job job = TrainingJob();
  job.evaluation = EvaluationSpec{2, 4};
  return job;
}

// "train 0.1" is slot 1 of step 0, "evaluate 2@4+4" the examples 4..7 at step 2.
inline std::string Describe(const std::optional<Lease>& lease) {
  if (!lease) return "nothing";
  return lease->kind == Lease::Kind::kTrain
             ? absl::StrCat("train ", lease->step, ".", lease->slot)
             : absl::StrCat("evaluate ", lease->step, "@", lease->first_example, "+",
                            lease->example_count);
}

class LeaseTableTest : public testing::Test {
 protected:
  void Start(const Job& job, absl::Duration deadline = kDeadline) {
    job_ = job;
    Restart({.deadline = deadline});
  }

  // Starts a new table of the job, whose shards have all gradients already.
  void Restart(LeaseTable::Options options) {
    options.generation = 9;
    table_.emplace(job_, std::move(options), roster_);
    table_->Confirm(job_.max_steps);
  }

  // Asks for work, and records the worker in the roster.
  std::optional<Lease> Take(const std::string& worker) {
    roster_.See(worker, now_);
    return table_->Next(worker, now_);
  }

  Lease Next(const std::string& worker = "w") {
    const std::optional<Lease> lease = Take(worker);
    EXPECT_TRUE(lease.has_value());
    return lease.value_or(Lease());
  }

  std::string NextText(const std::string& worker = "w") { return Describe(Take(worker)); }

  LeaseResult ResultOf(const Lease& lease) const {
    LeaseResult result;
    result.generation = 9;
    result.lease_id = lease.id;
    result.examples = lease.kind == Lease::Kind::kTrain ? job_.batch_size : lease.example_count;
    result.correct = 1;
    result.loss_sum = 2.0 * static_cast<double>(result.examples);
    return result;
  }

  LeaseTable::Completion Complete(const LeaseResult& result) {
    const auto completion = table_->Complete(result, now_);
    EXPECT_OK(completion);
    return completion.value_or(LeaseTable::Completion());
  }
  LeaseTable::Completion Complete(const Lease& lease) { return Complete(ResultOf(lease)); }

  LeaseTable::Completion Fail(const Lease& lease, const std::string& why,
                              bool caused_by_environment) {
    LeaseResult result = ResultOf(lease);
    result.failure = why;
    result.caused_by_environment = caused_by_environment;
    return Complete(result);
  }

  std::vector<std::string> Expired() {
    std::vector<std::string> expired;
    for (const Lease& lease : table_->Expire(now_)) expired.push_back(Describe(lease));
    return expired;
  }

  absl::Duration now_ = absl::Hours(5);
  Job job_;
  WorkerRoster roster_;
  std::optional<LeaseTable> table_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_SERVER_COORDINATOR_LEASE_TABLE_FIXTURE_H_
