// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/lease_waiters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class LeaseWaitersTest : public testing::Test {
 protected:
  uint64_t Add(const std::string& worker, absl::Duration until) {
    return waiters_.Add({worker, "fma-2"}, until, [this, worker](absl::StatusOr<Lease> lease) {
      answered_.push_back(worker);
      answers_.push_back(std::move(lease));
    });
  }

  // Serves all; `lucky` gets a lease. Returns which workers were asked for.
  std::vector<std::string> Serve(absl::Duration now, const std::string& lucky,
                                 bool depends_on_worker = false) {
    std::vector<std::string> asked;
    const auto next = [&](const WorkerIdentity& worker) -> std::optional<Lease> {
      asked.push_back(worker.name);
      if (worker.name != lucky) return std::nullopt;
      Lease lease;
      lease.kind = Lease::Kind::kTrain;
      return lease;
    };
    LeaseAnswers answers;
    waiters_.Serve(now, depends_on_worker, next, answers);
    EXPECT_THAT(answered_, IsEmpty());  // not before Send()
    answers.Send();
    return asked;
  }

  LeaseWaiters waiters_;
  std::vector<std::string> answered_;
  std::vector<absl::StatusOr<Lease>> answers_;
};

TEST_F(LeaseWaitersTest, ServesInOrderOfArrival) {
  Add("a", absl::Seconds(9));
  Add("b", absl::Seconds(9));
  EXPECT_THAT(Serve(absl::Seconds(1), "a"), ElementsAre("a", "b"));
  EXPECT_THAT(answered_, ElementsAre("a"));
  EXPECT_EQ(answers_[0]->kind, Lease::Kind::kTrain);
}

TEST_F(LeaseWaitersTest, AsksForOthersOnlyIfTheWorkDependsOnTheWorker) {
  Add("a", absl::Seconds(9));
  Add("b", absl::Seconds(9));
  EXPECT_THAT(Serve(absl::Seconds(1), "b"), ElementsAre("a"));
  EXPECT_THAT(answered_, IsEmpty());
  EXPECT_THAT(Serve(absl::Seconds(1), "b", true), ElementsAre("a", "b"));
  EXPECT_THAT(answered_, ElementsAre("b"));
}

TEST_F(LeaseWaitersTest, AnswersOnTimeEvenWithoutWork) {
  Add("patient", absl::Seconds(9));
  Add("hasty", absl::Seconds(2));
  Serve(absl::Seconds(2), "");
  EXPECT_THAT(answered_, ElementsAre("hasty"));
  EXPECT_EQ(answers_[0]->kind, Lease::Kind::kWait);
}

TEST_F(LeaseWaitersTest, CancelsOnce) {
  const uint64_t id = Add("a", absl::Seconds(9));
  for (int i = 0; i < 2; ++i) {
    LeaseAnswers answers;
    waiters_.Cancel(id, answers);
    answers.Send();
  }
  ASSERT_THAT(answered_, ElementsAre("a"));
  EXPECT_THAT(answers_[0], StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(LeaseWaitersTest, RefusesThoseThatFailTheCheck) {
  Add("a", absl::Seconds(9));
  Add("b", absl::Seconds(9));
  LeaseAnswers answers;
  waiters_.Refuse(
      [](const WorkerIdentity& worker) {
        return worker.name == "b" ? absl::FailedPreconditionError("other data") : absl::OkStatus();
      },
      answers);
  answers.Send();
  ASSERT_THAT(answered_, ElementsAre("b"));
  EXPECT_THAT(answers_[0], StatusIs(absl::StatusCode::kFailedPrecondition, "other data"));
}

}  // namespace
}  // namespace percentdelta
