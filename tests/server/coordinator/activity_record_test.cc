// SPDX-License-Identifier: Apache-2.0

#include "server/coordinator/activity_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace percentdelta {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr absl::Duration kStart = absl::Hours(1);

class ActivityRecordTest : public ::testing::Test {
 protected:
  // A worker calls, and gets the lease `id` for slot 0 of `step`.
  void Lend(const std::string& worker, uint64_t id, int64_t step, absl::Duration now) {
    Lease lease;
    lease.kind = Lease::Kind::kTrain;
    lease.id = id;
    lease.step = step;
    lease.deadline = absl::Seconds(5);
    roster_.See(worker, now);
    record_.SeeWorker(worker, step, now);
    record_.AddLease(worker, lease, now);
  }
  void Complete(const std::string& worker, uint64_t id, absl::Duration now) {
    LeaseResult result;
    result.worker = worker;
    result.lease_id = id;
    result.pull = absl::Milliseconds(10);
    result.transport = Transport::kSharedMemory;
    record_.AddResult(result, 500, 0, now);
  }
  std::vector<std::string> TextsAfter(int64_t id) {
    std::vector<std::string> texts;
    for (const ClusterEvent& event : record_.EventsAfter(id)) texts.push_back(event.text);
    return texts;
  }

  WorkerRoster roster_;
  ActivityRecord record_;
};

TEST_F(ActivityRecordTest, SaysWhatAWorkerWorksOnAndHowFast) {
  Lend("a", 1, 7, kStart);
  const absl::Duration later = kStart + absl::Seconds(2);
  WorkerActivity worker = record_.Workers(roster_, later)[0];
  EXPECT_EQ(worker.name, "a");
  EXPECT_EQ(worker.lease->step, 7);
  EXPECT_EQ(worker.lease->held, absl::Seconds(2));
  EXPECT_EQ(worker.leases, 0);
  EXPECT_EQ(worker.transport, Transport::kUnknown);

  Complete("a", 1, later);
  worker = record_.Workers(roster_, later + absl::Seconds(1))[0];
  EXPECT_FALSE(worker.lease);
  EXPECT_EQ(worker.leases, 1);
  EXPECT_EQ(worker.examples_per_second, 250);
  EXPECT_EQ(worker.times->pull, absl::Milliseconds(10));
  EXPECT_EQ(worker.transport, Transport::kSharedMemory);
  EXPECT_EQ(worker.silent, absl::Seconds(1));
  EXPECT_EQ(worker.present, absl::Seconds(3));
  EXPECT_THAT(TextsAfter(0), ElementsAre("worker a joined"));
}

TEST_F(ActivityRecordTest, AnExpiredLeaseIsAFaultOfItsWorker) {
  Lend("a", 1, 7, kStart);
  Lease lease;
  lease.kind = Lease::Kind::kTrain;
  lease.id = 1;
  lease.step = 7;
  lease.deadline = absl::Seconds(5);
  record_.AddExpired(lease, kStart + absl::Seconds(5));
  const std::vector<ClusterEvent> events = record_.EventsAfter(1);
  ASSERT_THAT(events, SizeIs(1));
  EXPECT_EQ(events[0].kind, ClusterEvent::Kind::kFault);
  EXPECT_EQ(events[0].step, 7);
  EXPECT_THAT(events[0].text, HasSubstr("the lease of worker a for slot 0 of step 7 expired"));
  EXPECT_TRUE(record_.Workers(roster_, kStart)[0].lease->expired);
}

TEST_F(ActivityRecordTest, WorkersLeaveOrFallSilent) {
  Lend("a", 1, 0, kStart);
  Lend("b", 2, 0, kStart);
  Complete("b", 2, kStart);
  LeaseResult result;
  result.worker = "a";
  result.lease_id = 1;
  result.leaving = true;
  record_.AddResult(result, 500, 0, kStart);
  record_.CheckWorkers(roster_, 0, kStart + WorkerRoster::kPresence);
  EXPECT_THAT(TextsAfter(2), ElementsAre("worker a left"));
  record_.CheckWorkers(roster_, 0, kStart + WorkerRoster::kPresence + absl::Seconds(1));
  EXPECT_THAT(TextsAfter(3), ElementsAre("worker b has not called for 1m"));
  EXPECT_THAT(record_.Workers(roster_, kStart), IsEmpty());
}

TEST_F(ActivityRecordTest, AWorkerThatFallsSilentWithALeaseIsAFault) {
  Lend("a", 1, 7, kStart);
  record_.SeeWorker("a", 7, kStart + absl::Seconds(4));  // renews the lease
  record_.CheckWorkers(roster_, 9, kStart + absl::Seconds(9));
  EXPECT_THAT(TextsAfter(1), IsEmpty());
  record_.CheckWorkers(roster_, 9, kStart + absl::Seconds(10));
  record_.CheckWorkers(roster_, 9, kStart + absl::Seconds(11));
  EXPECT_THAT(TextsAfter(1), ElementsAre("worker a has been silent for 6s with a lease of step 7"));
  EXPECT_EQ(record_.EventsAfter(1)[0].kind, ClusterEvent::Kind::kFault);
}

TEST_F(ActivityRecordTest, ASuspensionIsReportedOnce) {
  Lend("a", 1, 0, kStart);
  roster_.Suspend("a", "it failed", kStart);
  record_.CheckWorkers(roster_, 0, kStart);
  record_.CheckWorkers(roster_, 0, kStart + absl::Seconds(1));
  ASSERT_THAT(TextsAfter(1), SizeIs(1));
  EXPECT_THAT(TextsAfter(1)[0], HasSubstr("worker a is suspended: it failed"));
}

TEST_F(ActivityRecordTest, ShardsComeFallSilentAndReturn) {
  Membership membership(1, "hash", 1);
  const auto beat = [&](uint64_t incarnation, absl::Duration now) {
    const ShardBeat sent = {0, 1, "hash", "127.0.0.1:5000", incarnation};
    ASSERT_TRUE(membership.Beat(sent, now).ok());
    if (!membership.IsMember(sent)) membership.Admit(*membership.newcomer(0));
    record_.CheckShards(membership, 3, now);
  };
  beat(7, kStart);
  record_.CheckShards(membership, 3, kStart + absl::Seconds(6));
  record_.CheckShards(membership, 3, kStart + absl::Seconds(7));
  beat(7, kStart + absl::Seconds(8));
  beat(8, kStart + absl::Seconds(9));
  EXPECT_THAT(TextsAfter(0),
              ElementsAre("shard 0 registered at 127.0.0.1:5000",
                          "shard 0 at 127.0.0.1:5000 has been silent for 5s", "shard 0 beats again",
                          "shard 0 returned as a new process at 127.0.0.1:5000"));
}

TEST_F(ActivityRecordTest, AFloodOfFaultsDrivesOutNothing) {
  record_.Add(ClusterEvent::Kind::kGeneration, 0, kStart, "opened");
  for (int i = 0; i < 5000; ++i) {
    record_.Add(ClusterEvent::Kind::kFault, 0, kStart + absl::Milliseconds(i), "failed");
  }
  record_.Add(ClusterEvent::Kind::kFault, 0, kStart + absl::Seconds(9), "the last");
  const std::vector<std::string> texts = TextsAfter(0);
  EXPECT_EQ(texts.front(), "opened");
  EXPECT_LE(texts.size(), 5U * ActivityRecord::kMaxEventsPerSecond + 2);
  EXPECT_THAT(texts.back(), HasSubstr("the last; "));
  EXPECT_THAT(texts.back(), HasSubstr("more events before it"));
}

TEST_F(ActivityRecordTest, RetainsTheNewestEvents) {
  for (int i = 0; i < 1500; ++i) {
    record_.Add(ClusterEvent::Kind::kCheckpoint, i, kStart, absl::StrCat(i));
  }
  EXPECT_THAT(record_.EventsAfter(0), SizeIs(ActivityRecord::kMaxEvents));
  EXPECT_EQ(record_.EventsAfter(0).back().text, "1499");
  EXPECT_THAT(record_.EventsAfter(1498), SizeIs(2));
  EXPECT_THAT(record_.EventsAfter(1500), IsEmpty());
}

}  // namespace
}  // namespace percentdelta
