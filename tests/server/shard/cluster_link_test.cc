// SPDX-License-Identifier: Apache-2.0

// A shard's heartbeats and how it enters generations, with a scripted coordinator.

#include "server/shard/cluster_link.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/log.h"
#include "common/base/thread_pool.h"
#include "server/shard/shard.h"
#include "server/shard/shard_coordinator.h"
#include "server/shard/shard_state.h"
#include "tests/server/test_jobs.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

ClusterView ViewOf(uint64_t generation) {
  ClusterView view;
  view.generation = generation;
  return view;
}

// Answers heartbeats with the given answers, and repeats the last one.
class FakeCoordinator : public ShardCoordinator {
 public:
  explicit FakeCoordinator(std::deque<absl::StatusOr<ClusterView>> answers)
      : answers_(std::move(answers)) {}

  absl::StatusOr<ClusterView> Beat(const ShardBeat& beat) override {
    absl::MutexLock lock(&mutex_);
    beats_.push_back(beat);
    absl::StatusOr<ClusterView> answer = answers_.front();
    if (answers_.size() > 1) answers_.pop_front();
    return answer;
  }
  void Gathered(uint64_t /*generation*/, int64_t /*steps*/) override {}
  void ReportStatistics(uint64_t /*generation*/, const TensorStatistics& /*statistics*/) override {}
  void ReportHistograms(uint64_t /*generation*/, SliceHistograms /*histograms*/) override {}

  // Waits for `count` heartbeats, and returns all.
  std::vector<ShardBeat> Await(size_t count) {
    const auto there = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return beats_.size() >= count; };
    absl::MutexLock lock(&mutex_);
    EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&there), absl::Minutes(1)));
    return beats_;
  }

 private:
  absl::Mutex mutex_;
  std::deque<absl::StatusOr<ClusterView>> answers_ ABSL_GUARDED_BY(mutex_);
  std::vector<ShardBeat> beats_ ABSL_GUARDED_BY(mutex_);
};

// Opens a ShardState for each generation, unless an error is left to be returned. Used by the
// link's thread.
class FakeMember : public ClusterMember {
 public:
  explicit FakeMember(Shard& shard) : shard_(shard) {}

  absl::Status Enter(const ClusterView& view) override {
    if (!errors.empty()) {
      absl::Status error = errors.front();
      errors.pop_front();
      return error;
    }
    entered.push_back(view.generation);
    ShardState::Options options;
    options.job = SmallJob();
    options.generation = view.generation;
    options.pool = &pool_;
    shard_.Open(std::make_shared<ShardState>(std::move(options)));
    return absl::OkStatus();
  }
  std::string connection_error() const override { return error_of_connections; }

  std::deque<absl::Status> errors;
  std::string error_of_connections;
  std::vector<uint64_t> entered;

 private:
  ThreadPool pool_{1};
  Shard& shard_;
};

class ClusterLinkTest : public ::testing::Test {
 protected:
  void Start(std::deque<absl::StatusOr<ClusterView>> answers, absl::Duration interval) {
    coordinator_ = std::make_unique<FakeCoordinator>(std::move(answers));
    ClusterLink::Options options;
    options.self = {1, 2, "hash", "host:1", 7};
    options.coordinator = coordinator_.get();
    options.member = &member_;
    options.shard = &shard_;
    options.interval = interval;
    options.log = MakeSilentLogger();
    link_ = std::make_unique<ClusterLink>(std::move(options));
    link_->Start();
  }

  Shard shard_;
  FakeMember member_{shard_};
  std::unique_ptr<FakeCoordinator> coordinator_;
  std::unique_ptr<ClusterLink> link_;  // destroyed first: its thread uses the others
};

TEST_F(ClusterLinkTest, ConfirmsEachGenerationAtOnce) {
  Start({ViewOf(0), ViewOf(3), ViewOf(3), ViewOf(4)}, absl::Milliseconds(10));
  const std::vector<ShardBeat> beats = coordinator_->Await(5);
  link_->Stop();
  EXPECT_OK(link_->Wait());
  std::vector<uint64_t> generations;
  for (size_t i = 0; i < 5; ++i) generations.push_back(beats[i].generation);
  EXPECT_THAT(generations, ElementsAre(0, 0, 3, 3, 4));
  EXPECT_THAT(member_.entered, ElementsAre(3, 4));
  EXPECT_EQ(beats[0].job_hash, "hash");
  EXPECT_THAT(beats[0].missing_slots, IsEmpty());          // nothing is open
  EXPECT_THAT(beats[2].missing_slots, ElementsAre(0, 1));  // of step 0
}

TEST_F(ClusterLinkTest, ReportsWhyItCannotEnterAndTriesAgain) {
  member_.errors = {absl::DataLossError("damaged")};
  member_.error_of_connections = "shard 0 does not answer";
  Start({ViewOf(3)}, absl::Milliseconds(10));
  const std::vector<ShardBeat> beats = coordinator_->Await(3);
  EXPECT_EQ(beats[0].problem, "shard 0 does not answer");
  EXPECT_EQ(beats[1].problem, "damaged");
  EXPECT_EQ(beats[2].problem, "shard 0 does not answer");
  EXPECT_EQ(beats[1].generation, 0);
  EXPECT_EQ(beats[2].generation, 3);
}

TEST_F(ClusterLinkTest, OnlyARefusalEndsIt) {
  Start({absl::UnavailableError("away"), absl::InternalError("odd"),
         absl::AlreadyExistsError("newer")},
        absl::Milliseconds(10));
  EXPECT_THAT(link_->Wait(), StatusIs(absl::StatusCode::kAlreadyExists, "newer"));
  link_->Stop();
  EXPECT_EQ(coordinator_->Await(3).size(), 3U);
}

TEST_F(ClusterLinkTest, WakeSendsTheNextBeatAtOnce) {
  Start({ViewOf(3)}, absl::Hours(1));
  coordinator_->Await(2);  // one to enter, one to confirm
  link_->Wake();
  coordinator_->Await(3);
}

}  // namespace
}  // namespace percentdelta
