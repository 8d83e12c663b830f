// SPDX-License-Identifier: Apache-2.0

// Workers that take leases and renew them, and compute nothing.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/coordinator/lease_table.h"
#include "tests/server/coordinator/coordinator_fixture.h"
#include "tests/server/coordinator/lease_table_fixture.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;

using Kind = LeaseTable::Completion::Kind;

class LeaseRenewalsTest : public LeaseTableTest {
 protected:
  // A step of two slots, by one worker, which is proven from then on.
  void Prove(const std::string& worker) {
    for (int slot = 0; slot < 2; ++slot) {
      const Lease lease = Next(worker);
      now_ += absl::Seconds(1);
      Complete(lease);
    }
    EXPECT_TRUE(roster_.IsProven(worker));
  }
};

TEST_F(LeaseRenewalsTest, LeaseIsRenewedForALimitedTime) {
  Start(TrainingJob());
  const Lease held = Next("holder");
  Next("other");
  const absl::Duration longest = LeaseTable::kMaxDeadlines * kDeadline;
  for (absl::Duration age; age < longest; age += kDeadline / 2) {
    EXPECT_OK(table_->Renew(held.id, now_));
    now_ += kDeadline / 2;
  }
  EXPECT_THAT(Expired(), SizeIs(1));  // the other's
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(
        table_->Renew(held.id, now_),
        StatusIs(absl::StatusCode::kFailedPrecondition,
                 AllOf(HasSubstr("expected a result within 1m40s"), HasSubstr("lease_deadlines"))));
  }
  EXPECT_EQ(NextText("third"), "train 0.0");
  EXPECT_EQ(NextText("fourth"), "train 0.1");
}

// A worker that is slow, and alone, is not stopped by it.
TEST_F(LeaseRenewalsTest, ResultOfALeaseThatWasRenewedForTooLongCounts) {
  Start(TrainingJob());
  const Lease held = Next("slow");
  for (int i = 0; i < 30; ++i) {
    now_ += kDeadline / 2;
    table_->Renew(held.id, now_).IgnoreError();
    table_->Expire(now_);
  }
  const Lease again = Next("idle");
  EXPECT_EQ(Describe(again), Describe(held));
  EXPECT_EQ(Complete(held).kind, Kind::kDone);
  EXPECT_EQ(Complete(again).kind, Kind::kDuplicate);
}

TEST_F(LeaseRenewalsTest, ProvenWorkersDoNotWaitForOthers) {
  Start(TrainingJob());
  Prove("good");
  const Lease first = Next("idle-1");
  const Lease second = Next("idle-2");
  EXPECT_EQ(NextText("idle-3"), "nothing");
  const Lease again = Next("good");
  EXPECT_EQ(Describe(again), Describe(first));
  EXPECT_EQ(Complete(again).kind, Kind::kDone);
  const Lease rest = Next("good");
  EXPECT_EQ(Describe(rest), Describe(second));
  EXPECT_TRUE(Complete(rest).training.has_value());
  EXPECT_EQ(table_->speculative(), 2);
}

// Two proven workers do not do the same work unless one of them is slow, which costs it the proof.
TEST_F(LeaseRenewalsTest, WorkerThatIsOvertakenHasToProveItselfAgain) {
  Start(TrainingJob());
  Prove("a");
  Take("b");
  roster_.SetProven("b", true);
  const Lease other = Next("a");
  Complete(other);
  EXPECT_EQ(NextText("a"), "nothing");
  now_ += absl::Seconds(2);  // twice the longest
  const Lease again = Next("a");
  EXPECT_TRUE(roster_.IsProven("b"));
  Complete(again);
  EXPECT_FALSE(roster_.IsProven("b"));
}

// However many hold an item and renew it: one that waits gets it after a while.
TEST_F(LeaseRenewalsTest, NumberOfHoldersDoublesWhileTheyAreSlow) {
  Start(TrainingJob(), absl::Minutes(5));
  std::vector<Lease> leases;
  std::vector<size_t> holders;
  for (int i = 0; i < 5; ++i) {
    for (auto lease = Take("w"); lease; lease = Take("w")) leases.push_back(*lease);
    holders.push_back(leases.size());
    now_ += LeaseDurations().SlowAfter();
    for (const Lease& lease : leases) EXPECT_OK(table_->Renew(lease.id, now_));
  }
  EXPECT_EQ(holders, std::vector<size_t>({2, 4, 8, 16, 32}));
}

TEST_F(LeaseRenewalsTest, ReopenedSlotRemembersItsOtherHolders) {
  Start(TrainingJob());
  const Lease liar = Next("liar");
  Next("other");
  now_ += LeaseDurations().SlowAfter();
  const Lease second = Next("second");
  EXPECT_EQ(Describe(second), Describe(liar));
  Complete(liar);
  now_ += absl::Seconds(2);
  EXPECT_THAT(table_->Reopen(0, {0}, now_), SizeIs(1));
  now_ += kDeadline;
  table_->Expire(now_);
  EXPECT_EQ(NextText("third"), "train 0.0");
}

// The training of the fixture beside clients that take every lease that they can get, under
// changing names, and renew all of them.
class LeaseSquattersTest : public CoordinatorTest {
 protected:
  static constexpr int kSquatters = 4;
  static constexpr absl::Duration kTick = absl::Milliseconds(100);

  void Squat() {
    for (int i = 0; i < kSquatters; ++i) {
      const std::string name = absl::StrCat("squatter-", number_++ % 1000);
      coordinator_.Acquire({name, "avx2"}, absl::Seconds(1),
                           [this, name](const absl::StatusOr<Lease>& lease) {
                             if (lease.ok() && lease->id != 0) held_.push_back({name, *lease});
                           });
    }
    for (const auto& [name, lease] : held_) {
      coordinator_.Renew(lease.generation, lease.id, name).IgnoreError();
    }
  }

  int number_ = 0;
  std::vector<std::pair<std::string, Lease>> held_;
};

TEST_F(LeaseSquattersTest, DoNotStopTheTraining) {
  Open();
  Squat();
  ASSERT_THAT(held_, SizeIs(1));  // the only slot, before the worker came
  std::vector<absl::Duration> ends;
  Answers& leases = NewAnswers();
  Lease lease;  // of the worker; kWait: none
  bool waits = false;
  const absl::Duration began = clock_.Now();
  while (coordinator_.GetProgress(0).state != TrainingState::kFinished) {
    ASSERT_LT(clock_.Now() - began, absl::Minutes(10));
    PassTime(kTick);
    Squat();
    if (lease.kind != Kind::kTrain && !std::exchange(waits, true)) {
      Acquire(leases, absl::Seconds(30), {"good", "avx2"});
    }
    if (!leases.empty()) {
      waits = false;
      lease = *leases.back();
      leases.clear();
    }
    if (lease.kind != Kind::kTrain) continue;
    lease = Complete(ResultOf(lease, "good"));
    ends.push_back(clock_.Now());
  }
  ASSERT_THAT(ends, SizeIs(3));
  EXPECT_LE(ends[0] - began, absl::Minutes(3));
  EXPECT_LE(ends[1] - ends[0], 2 * kTick);
  EXPECT_LE(ends[2] - ends[1], 2 * kTick);
}

}  // namespace
}  // namespace percentdelta
