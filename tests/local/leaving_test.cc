// SPDX-License-Identifier: Apache-2.0

// Workers that have to leave, in every phase of their work.

#include <fcntl.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/coordinator_stub.h"
#include "client/push.h"
#include "common/base/log.h"
#include "gtest/gtest.h"
#include "tests/local/small_cluster.h"
#include "tests/status_matchers.h"
#include "worker/data/data_sets.h"
#include "worker/weight_source.h"
#include "worker/worker.h"

namespace percentdelta {
namespace {

// A slot of this many images takes a second or more.
constexpr int64_t kManyImages = 2000;
constexpr absl::Duration kPoll = absl::Milliseconds(5);

class LeavingTest : public testing::Test {
 protected:
  void Start(Job job) {
    LocalCluster::Options options = SmallOptions(std::move(job));
    options.workers = 0;
    options.lease_deadline = absl::Hours(10);  // a lease that is not returned never expires
    cluster_ = *LocalCluster::Start(std::move(options));
    AwaitGeneration(cluster_->coordinator());
    coordinator_ = MakeCoordinatorStub(cluster_->coordinator(), absl::Seconds(10));
  }

  std::unique_ptr<Worker> MakeWorker(int64_t images, Logger log = nullptr) const {
    Worker::Options options;
    options.name = "leaving";
    options.coordinator = cluster_->coordinator();
    options.load_data = [images](const Job& job, const std::function<bool()>& cancelled) {
      return MakeDataSets(job, SyntheticDataset(images, 1), SyntheticDataset(kTestImages, 2),
                          cancelled);
    };
    options.log = std::move(log);
    return std::make_unique<Worker>(std::move(options));
  }

  void AwaitWorker() const {
    while (coordinator_->GetProgress(0)->workers == 0) absl::SleepFor(kPoll);
  }

  std::unique_ptr<LocalCluster> cluster_;
  std::unique_ptr<CoordinatorStub> coordinator_;
};

TEST_F(LeavingTest, AbandonReturnsTheLease) {
  Job job = SmallMnistJob(3);
  job.evaluation.reset();
  job.gradients_per_step = 1;
  job.batch_size = kManyImages;
  job.data.training_examples = kManyImages;
  Start(std::move(job));
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const Logger log = MakeLogger("worker", ends[1]);
  log->set_level(spdlog::level::debug);
  const auto worker = MakeWorker(kManyImages, log);
  absl::Status ended = absl::UnknownError("still runs");
  std::thread thread([&] { ended = worker->Run(); });
  std::string text;
  for (char c = 0; !absl::StrContains(text, "lease taken") && read(ends[0], &c, 1) == 1;) text += c;
  worker->Abandon();
  thread.join();
  log->flush();
  close(ends[0]);
  close(ends[1]);
  EXPECT_OK(ended);
  const Progress progress = *coordinator_->GetProgress(0);
  EXPECT_EQ(progress.step, 0);
  EXPECT_EQ(progress.failed_leases, 1);

  // Another worker gets the same slot, and makes progress.
  const auto other = MakeWorker(kManyImages);
  std::thread stop([&] {
    while (coordinator_->GetProgress(0)->step == 0) absl::SleepFor(kPoll);
    other->Abandon();
  });
  EXPECT_OK(other->Run());
  stop.join();
}

// Stop ends Run while the worker computes or waits for a lease.
TEST_F(LeavingTest, StopEndsTheWaitForALease) {
  Job job = SmallMnistJob(3);
  job.evaluation.reset();
  job.gradients_per_step = 1;
  Start(std::move(job));
  const auto worker = MakeWorker(kTrainingImages);
  std::thread stop([&] {
    AwaitWorker();
    worker->Stop();
  });
  EXPECT_OK(worker->Run());
  stop.join();
}

TEST_F(LeavingTest, StoppedBeforeItBegins) {
  Start(SmallMnistJob(3));
  for (const bool abandon : {false, true}) {
    const auto worker = MakeWorker(kTrainingImages);
    abandon ? worker->Abandon() : worker->Stop();
    EXPECT_OK(worker->Run());
  }
}

// Awaits weights of a step that is never reached.
TEST(LeavingPullTest, CancelEndsThePullAndLaterOnes) {
  const ServersOnly servers(MadeUpJob(10), 2);
  WeightSource source(servers.channels(), absl::Hours(1), {});
  source.SelectStep(0);
  for (int tensor = 0; tensor < 4; ++tensor) EXPECT_OK(source.Await(tensor));
  source.SelectStep(1);
  source.Prefetch(2);
  std::thread cancel([&] { source.Cancel(); });
  EXPECT_THAT(source.Await(0), StatusIs(absl::StatusCode::kCancelled));
  cancel.join();
  source.SelectStep(2);
  EXPECT_THAT(source.Await(0), StatusIs(absl::StatusCode::kCancelled));
}

// Most tensors of the gradient never become ready.
TEST(LeavingPushTest, CancelEndsThePush) {
  const ServersOnly servers(MadeUpJob(10), 2);
  const auto gradient = std::make_shared<std::vector<std::vector<float>>>(
      RandomGradient(servers.cluster_info().job.model, 1));
  GradientPush push(servers.channels(), {0, 0, false}, absl::Hours(1), gradient);
  push.Ready(0);
  std::thread cancel([&] { push.Cancel(); });
  EXPECT_THAT(push.Finish(), StatusIs(absl::StatusCode::kCancelled));
  cancel.join();
}

// A call that would wait for half a minute, and a later one.
TEST(LeavingCallTest, CancelEndsCalls) {
  const ServersOnly servers(MadeUpJob(10), 1);
  const auto stub = MakeCoordinatorStub(servers.coordinator(), absl::Hours(1));
  while (stub->AcquireLease({"w", "a"}, absl::ZeroDuration())->kind == Lease::Kind::kTrain)
    continue;
  std::thread cancel([&] { stub->Cancel(); });
  EXPECT_THAT(stub->AcquireLease({"w", "a"}, absl::Seconds(30)),
              StatusIs(absl::StatusCode::kCancelled));
  cancel.join();
  EXPECT_THAT(stub->GetJob(), StatusIs(absl::StatusCode::kCancelled));
}

// A leaving worker must not get another lease, which it would never complete.
TEST(LeavingCallTest, ALeavingWorkersResultIsAnsweredWithWait) {
  const ServersOnly servers(MadeUpJob(10), 1);
  const auto stub = MakeCoordinatorStub(servers.coordinator(), absl::Seconds(10));
  const Lease lease = *stub->AcquireLease({"w", "a"}, absl::Seconds(10));
  ASSERT_EQ(lease.kind, Lease::Kind::kTrain);
  LeaseResult result;
  result.generation = lease.generation;
  result.lease_id = lease.id;
  result.worker = "w";
  result.failure = "the worker leaves";
  result.caused_by_environment = true;
  result.leaving = true;
  EXPECT_EQ(stub->CompleteLease(result)->kind, Lease::Kind::kWait);
  const Lease again = *stub->AcquireLease({"w", "a"}, absl::Seconds(10));
  EXPECT_EQ(again.step, lease.step);
  EXPECT_EQ(again.slot, lease.slot);
}

}  // namespace
}  // namespace percentdelta
