// SPDX-License-Identifier: Apache-2.0

// A coordinator with a directory for its checkpoints, and what its shards and workers do.

#ifndef PERCENTDELTA_TESTS_SERVER_COORDINATOR_CHECKPOINTS_FIXTURE_H_
#define PERCENTDELTA_TESTS_SERVER_COORDINATOR_CHECKPOINTS_FIXTURE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/durable_file.h"
#include "common/job/partition.h"
#include "server/checkpoint/checkpoint_store.h"
#include "server/coordinator/coordinator.h"
#include "server/update/optimizer.h"
#include "tests/server/test_jobs.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace percentdelta {

// One tensor on one shard of two; a checkpoint every two of five steps.
inline Job CheckpointedJob(const std::string& directory) {
  Job job = SmallJob();
  job.model.tensors = {{"a", {2}, ConstantInitializer{1}}};
  job.max_steps = 5;
  job.gradients_per_step = 1;
  job.checkpoint = CheckpointSpec{2, directory, 2};
  return job;
}

class CoordinatorCheckpointsTest : public testing::Test {
 protected:
  CoordinatorCheckpointsTest() { Start(); }

  // Starts the coordinator's process again.
  void Start(const std::string& restore = "") {
    coordinator_.reset();
    store_ = std::make_shared<CheckpointStore>(job_.checkpoint->directory, 2, FaultPoints(),
                                               MakeSilentLogger());
    EXPECT_OK(store_->Prepare());
    Coordinator::Options options;
    options.job = job_;
    options.shard_count = 2;
    options.first_generation = 5;
    options.store = store_;
    options.restore = restore;
    options.history_steps = 100;
    options.clock = &clock_;
    options.log = MakeSilentLogger();
    coordinator_.emplace(std::move(options));
  }

  ClusterView Beat(int32_t shard, uint64_t incarnation, uint64_t generation,
                   std::vector<CheckpointPart> parts = {}, const std::string& problem = "") {
    const ShardBeat beat = {
        shard,       2,          coordinator_->job_hash(), absl::StrCat("h", shard, ":1"),
        incarnation, generation, std::move(parts),         problem};
    const absl::StatusOr<ClusterView> view = coordinator_->Heartbeat(beat);
    EXPECT_OK(view);
    return view.value_or(ClusterView());
  }

  // Both shards come as new processes, and enter the generation that opens. Returns its view.
  ClusterView Open() {
    ++incarnation_;
    EXPECT_EQ(Beat(0, incarnation_, 0).generation, 0U);
    EXPECT_EQ(Beat(1, incarnation_, 0).generation, 0U);
    coordinator_->WorkOnCheckpoints();
    ClusterView view = Beat(0, incarnation_, 0);
    Beat(0, incarnation_, view.generation);
    Beat(1, incarnation_, view.generation);
    return view;
  }

  Lease Next() {
    std::vector<absl::StatusOr<Lease>> answers;
    coordinator_->Acquire(
        {"w", arithmetic_}, absl::ZeroDuration(),
        [&](absl::StatusOr<Lease> lease) { answers.push_back(std::move(lease)); });
    EXPECT_THAT(answers, testing::SizeIs(1));
    return answers.empty() || !answers[0].ok() ? Lease() : *answers[0];
  }

  // The shards have the step's gradient before the worker reports it. Returns the next lease.
  Lease Complete(const Lease& lease, const LeaseResult& result) {
    for (const int32_t shard : {0, 1}) {
      coordinator_->Gathered(lease.generation, shard, lease.step + 1);
    }
    return *coordinator_->Complete(result);
  }

  // Trains the lease's step, statistics included; returns the next lease.
  Lease Train(const Lease& lease) {
    EXPECT_EQ(lease.kind, Lease::Kind::kTrain);
    TensorStatistics update;
    update.step = lease.step;
    update.tensor = "a";
    update.layer = "a";
    EXPECT_OK(coordinator_->ReportStatistics(lease.generation, {update}));
    LeaseResult result;
    result.generation = lease.generation;
    result.lease_id = lease.id;
    result.worker = "w";
    result.loss_sum = 4.0 * static_cast<double>(lease.step);
    result.examples = 4;
    result.metrics = {{"m", 3.0 * static_cast<double>(lease.step), 2}};
    return Complete(lease, result);
  }

  // Writes the part of shard 0, which owns all slices, and reports it.
  void WritePart(int64_t step, uint64_t generation) {
    const std::string directory = StepDirectory(job_.checkpoint->directory, step);
    std::filesystem::create_directories(directory);
    SliceContent content;
    content.range = Partition(job_.model, 2).ranges_of_shard(0)[0];
    content.weights = std::make_shared<const std::vector<float>>(2, static_cast<float>(step));
    content.state.resize(StateNames(job_).size(), std::make_shared<std::vector<float>>(2));
    ASSERT_OK_AND_ASSIGN(const FileEntry file,
                         WriteSliceFile(directory, 0, 2, {generation, step, {content}}, job_.model,
                                        StateNames(job_), DurableFile::Options()));
    Beat(0, incarnation_, generation, {{step, file, ""}});
  }

  int64_t NewestOnDisk() {
    const auto newest = store_->FindNewest(job_);
    EXPECT_OK(newest);
    return newest.ok() && newest->has_value() ? (*newest)->manifest.step : -1;
  }

  Progress Status() { return coordinator_->GetProgress(0); }

  const TemporaryDirectory temporary_;
  Job job_ = CheckpointedJob(temporary_.path() + "/checkpoints");
  FakeClock clock_;
  std::string arithmetic_ = "fma";  // the worker's
  uint64_t incarnation_ = 100;
  std::shared_ptr<const CheckpointStore> store_;
  std::optional<Coordinator> coordinator_;
};

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_SERVER_COORDINATOR_CHECKPOINTS_FIXTURE_H_
