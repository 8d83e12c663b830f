// The coordinator with a directory for its checkpoints: which generations it opens with what, and
// when a checkpoint is whole.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/durable_file.h"
#include "common/job/job_codec.h"
#include "server/checkpoint/checkpoint_store.h"
#include "server/coordinator/coordinator.h"
#include "server/update/optimizer.h"
#include "tests/server/test_jobs.h"
#include "tests/temporary_directory.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;

using Kind = Lease::Kind;

// One tensor on one shard of two; a checkpoint every two of five steps.
Job TestJob(const std::string& directory) {
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

  // A coordinator's process begins.
  void Start(const std::string& restore = "") {
    coordinator_.reset();
    store_ = std::make_shared<CheckpointStore>(job_.checkpoint->directory, 2, FaultPoints(),
                                               MakeSilentLogger());
    EXPECT_TRUE(store_->Prepare().ok());
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
                   std::vector<CheckpointPart> parts = {}, const std::string& trouble = "") {
    const ShardBeat beat = {
        shard,       2,          coordinator_->job_hash(), absl::StrCat("h", shard, ":1"),
        incarnation, generation, std::move(parts),         trouble};
    const absl::StatusOr<ClusterView> view = coordinator_->Heartbeat(beat);
    EXPECT_TRUE(view.ok()) << view.status();
    return view.value_or(ClusterView());
  }

  // Both shards come as new processes, and enter what is opened. Returns what they are told.
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
    coordinator_->Acquire({"w", "fma"}, absl::ZeroDuration(), [&](absl::StatusOr<Lease> lease) {
      answers.push_back(std::move(lease));
    });
    EXPECT_THAT(answers, SizeIs(1));
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
    EXPECT_EQ(lease.kind, Kind::kTrain);
    TensorStatistics update;
    update.step = lease.step;
    update.tensor = "a";
    update.layer = "a";
    EXPECT_TRUE(coordinator_->ReportStatistics(lease.generation, {update}).ok());
    LeaseResult result;
    result.generation = lease.generation;
    result.lease_id = lease.id;
    result.worker = "w";
    result.loss_sum = 4.0 * static_cast<double>(lease.step);
    result.examples = 4;
    return Complete(lease, result);
  }

  // Writes the part of shard 0, which owns everything, and tells of it.
  void WritePart(int64_t step, uint64_t generation) {
    const std::string directory = StepDirectory(job_.checkpoint->directory, step);
    std::filesystem::create_directories(directory);
    SliceContent content;
    content.range = Partition(job_.model, 2).ranges_of_shard(0)[0];
    content.weights = std::make_shared<const std::vector<float>>(2, static_cast<float>(step));
    content.state.resize(StateNames(job_).size(), std::make_shared<std::vector<float>>(2));
    const auto file = WriteSliceFile(directory, 0, 2, {generation, step, {content}}, job_.model,
                                     StateNames(job_), DurableFile::Options());
    ASSERT_TRUE(file.ok()) << file.status();
    Beat(0, incarnation_, generation, {{step, *file, ""}});
  }

  int64_t NewestOnDisk() {
    const auto newest = store_->FindNewest(job_);
    EXPECT_TRUE(newest.ok()) << newest.status();
    return newest.ok() && newest->has_value() ? (*newest)->manifest.step : -1;
  }

  Progress Status() { return coordinator_->GetProgress(0); }

  const TemporaryDirectory temporary_;
  const Job job_ = TestJob(temporary_.path() + "/checkpoints");
  FakeClock clock_;
  uint64_t incarnation_ = 100;
  std::shared_ptr<const CheckpointStore> store_;
  std::optional<Coordinator> coordinator_;
};

TEST_F(CoordinatorCheckpointsTest, GenerationIsOnDiskBeforeAnybodyIsTold) {
  Beat(0, 1, 0);
  EXPECT_EQ(Beat(1, 1, 0).generation, 0U);
  EXPECT_EQ(store_->ReadGeneration(), 0U);
  EXPECT_EQ(Status().state, TrainingState::kGathering);
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(store_->ReadGeneration(), 5U);
  EXPECT_THAT(*ReadWholeFile(job_.checkpoint->directory + "/cluster.json", 1 << 20),
              HasSubstr(coordinator_->job_hash()));
  const ClusterView view = Beat(1, 1, 0);
  EXPECT_EQ(view.generation, 5U);
  EXPECT_EQ(view.checkpoint, "");
  EXPECT_EQ(view.step, 0);
}

TEST_F(CoordinatorCheckpointsTest, RestartedCoordinatorNeverRepeatsAGeneration) {
  EXPECT_EQ(Open().generation, 5U);
  Start();  // its clock has been set back: it would begin with 5 again
  EXPECT_EQ(Open().generation, 6U);
}

TEST_F(CoordinatorCheckpointsTest, LeasesSayWhichStepIsKept) {
  Open();
  Lease lease = Next();
  EXPECT_FALSE(lease.checkpoint);  // leads to step 1
  lease = Train(lease);
  EXPECT_TRUE(lease.checkpoint);
  lease = Train(lease);
  EXPECT_FALSE(lease.checkpoint);
  lease = Train(lease);
  EXPECT_FALSE(lease.checkpoint);  // leads to step 4, but 2 is under way
  EXPECT_EQ(Status().checkpoint->skipped, 1);
  lease = Train(lease);
  EXPECT_TRUE(lease.checkpoint);  // the last
}

TEST_F(CoordinatorCheckpointsTest, GoesOnFromTheNewestWhole) {
  const uint64_t generation = Open().generation;
  Lease lease = Train(Train(Next()));
  WritePart(2, generation);
  EXPECT_EQ(NewestOnDisk(), -1);
  EXPECT_TRUE(Status().checkpoint->under_way);
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(NewestOnDisk(), 2);
  EXPECT_EQ(Status().checkpoint->step, 2);
  EXPECT_FALSE(Status().checkpoint->under_way);
  clock_.Advance(absl::Seconds(7));
  Train(lease);

  const ClusterView view = Open();  // both shards died; the coordinator, too, or not
  EXPECT_EQ(view.generation, generation + 1);
  EXPECT_EQ(view.checkpoint, StepDirectory(job_.checkpoint->directory, 2));
  EXPECT_EQ(view.step, 2);
  lease = Next();
  EXPECT_EQ(lease.step, 2);
  EXPECT_EQ(lease.batch, BatchOf(job_, 2, 0));
  const Progress progress = Status();
  EXPECT_EQ(progress.step, 2);
  ASSERT_THAT(progress.training, SizeIs(2));
  EXPECT_EQ(progress.training[1].loss, 1);
  const auto statistics = coordinator_->statistics().Range(0, 10, "");
  ASSERT_THAT(statistics, SizeIs(2));
  EXPECT_EQ(statistics[1].step, 1);
}

TEST_F(CoordinatorCheckpointsTest, WaitsForTheStepsStatistics) {
  const uint64_t generation = Open().generation;
  const Lease lease = Next();
  LeaseResult result;
  result.generation = generation;
  result.lease_id = lease.id;
  result.examples = 4;
  Train(Complete(lease, result));  // step 0 has no statistics
  WritePart(2, generation);
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(NewestOnDisk(), -1);
  TensorStatistics late;
  late.tensor = "a";
  EXPECT_TRUE(coordinator_->ReportStatistics(generation, {late}).ok());
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(NewestOnDisk(), 2);
}

TEST_F(CoordinatorCheckpointsTest, DoesWithoutStatisticsThatNeverCome) {
  const uint64_t generation = Open().generation;
  const Lease lease = Next();
  LeaseResult result;
  result.generation = generation;
  result.lease_id = lease.id;
  result.examples = 4;
  Train(Complete(lease, result));
  WritePart(2, generation);
  coordinator_->WorkOnCheckpoints();
  clock_.Advance(absl::Seconds(11));
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(NewestOnDisk(), 2);
}

TEST_F(CoordinatorCheckpointsTest, PartOfAnOlderGenerationCountsForNothing) {
  const uint64_t generation = Open().generation;
  Train(Train(Next()));
  Open();
  WritePart(2, generation);
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(NewestOnDisk(), -1);
}

TEST_F(CoordinatorCheckpointsTest, FailedPartIsLoudAndTheNextTriesAgain) {
  const uint64_t generation = Open().generation;
  Lease lease = Train(Train(Next()));
  Beat(0, incarnation_, generation, {{2, {}, "shard 0: no space left on device"}});
  EXPECT_EQ(Status().checkpoint->failures, 1);
  EXPECT_EQ(Status().checkpoint->error, "shard 0: no space left on device");
  EXPECT_EQ(Status().state, TrainingState::kTraining);
  Train(Train(lease));
  WritePart(4, generation);
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(Status().checkpoint->step, 4);
  EXPECT_EQ(Status().checkpoint->error, "");
}

TEST_F(CoordinatorCheckpointsTest, ManifestThatCannotBeWrittenFailsTheCheckpoint) {
  const uint64_t generation = Open().generation;
  Train(Train(Next()));
  WritePart(2, generation);
  std::filesystem::create_directory(StepDirectory(job_.checkpoint->directory, 2) +
                                    "/manifest.json");
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(Status().checkpoint->failures, 1);
  EXPECT_THAT(Status().checkpoint->error, HasSubstr("manifest.json"));
}

// A shard that writes to a disk of its own: the training goes on, the checkpoint does not count.
TEST_F(CoordinatorCheckpointsTest, PartThatTheCoordinatorDoesNotSeeFailsTheCheckpoint) {
  const uint64_t generation = Open().generation;
  const Lease lease = Train(Train(Next()));
  WritePart(2, generation);
  std::filesystem::rename(StepDirectory(job_.checkpoint->directory, 2),
                          temporary_.path() + "/other disk");
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(Status().checkpoint->step, -1);
  EXPECT_EQ(Status().checkpoint->failures, 1);
  EXPECT_THAT(Status().checkpoint->error,
              AllOf(HasSubstr("shard 0 wrote shard-00000-of-00002.safetensors of step 2"),
                    HasSubstr("all servers must see one directory")));
  EXPECT_EQ(Status().state, TrainingState::kTraining);
  EXPECT_EQ(NewestOnDisk(), -1);
  Train(Train(lease));
  WritePart(4, generation);
  clock_.Advance(absl::Seconds(1));
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(Status().checkpoint->step, 4);
  EXPECT_EQ(NewestOnDisk(), 4);
}

// No generation begins at step 0 because every checkpoint has been damaged.
TEST_F(CoordinatorCheckpointsTest, AllDamagedIsToldUntilThatIsMended) {
  const uint64_t generation = Open().generation;
  Train(Train(Next()));
  WritePart(2, generation);
  coordinator_->WorkOnCheckpoints();
  const std::string path = StepDirectory(job_.checkpoint->directory, 2) + "/history.pb";
  const std::string whole = *ReadWholeFile(path, 1 << 20);
  std::ofstream(path) << "damaged";
  ++incarnation_;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Beat(0, incarnation_, 0).generation, 0U);
    EXPECT_EQ(Beat(1, incarnation_, 0).generation, 0U);
    coordinator_->WorkOnCheckpoints();
    EXPECT_EQ(Status().state, TrainingState::kGathering);
    EXPECT_THAT(Status().message, AllOf(HasSubstr(path), HasSubstr("--no_restore")));
    EXPECT_EQ(Next().kind, Kind::kWait);
    clock_.Advance(absl::Seconds(1));
  }
  std::ofstream(path, std::ios::binary) << whole;
  coordinator_->WorkOnCheckpoints();
  const ClusterView view = Beat(0, incarnation_, 0);
  EXPECT_EQ(view.generation, generation + 1);
  EXPECT_EQ(view.step, 2);
}

TEST_F(CoordinatorCheckpointsTest, FinishedMeansThatTheLastCheckpointIsWhole) {
  const uint64_t generation = Open().generation;
  Lease lease = Next();
  while (lease.kind == Kind::kTrain) lease = Train(lease);
  EXPECT_EQ(lease.kind, Kind::kWait);
  EXPECT_EQ(Status().state, TrainingState::kTraining);
  WritePart(2, generation);
  WritePart(5, generation);
  coordinator_->WorkOnCheckpoints();
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(Next().kind, Kind::kFinished);
  EXPECT_EQ(NewestOnDisk(), 5);
  // A server that is started again finds it finished.
  Start();
  Open();
  EXPECT_EQ(Next().kind, Kind::kFinished);
}

TEST_F(CoordinatorCheckpointsTest, WorkersAreLetGoWithoutTheLastCheckpointInTheEnd) {
  Open();
  Lease lease = Next();
  while (lease.kind == Kind::kTrain) lease = Train(lease);
  coordinator_->Tick();
  clock_.Advance(absl::Seconds(61));
  coordinator_->Tick();
  EXPECT_EQ(Next().kind, Kind::kFinished);
}

// It has no next one that could make up for it.
TEST_F(CoordinatorCheckpointsTest, LastOneThatFailsIsTriedAgain) {
  const uint64_t generation = Open().generation;
  Lease lease = Next();
  while (lease.kind == Kind::kTrain) lease = Train(lease);
  Beat(0, incarnation_, generation, {{5, {}, "shard 0: no space left on device"}});
  EXPECT_EQ(Status().state, TrainingState::kTraining);
  coordinator_->Tick();
  clock_.Advance(absl::Seconds(11));
  coordinator_->Tick();
  EXPECT_EQ(Next().kind, Kind::kFinished);  // nobody waits for ever
  WritePart(5, generation);
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(Status().checkpoint->step, 5);
  EXPECT_EQ(Status().checkpoint->error, "");
  EXPECT_EQ(NewestOnDisk(), 5);
}

TEST_F(CoordinatorCheckpointsTest, LastManifestThatFailsIsTriedAgainAfterAPause) {
  const uint64_t generation = Open().generation;
  Lease lease = Next();
  while (lease.kind == Kind::kTrain) lease = Train(lease);
  WritePart(5, generation);
  const std::string manifest = StepDirectory(job_.checkpoint->directory, 5) + "/manifest.json";
  std::filesystem::create_directory(manifest);
  coordinator_->WorkOnCheckpoints();
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(Status().checkpoint->failures, 1);
  std::filesystem::remove(manifest);
  clock_.Advance(absl::Seconds(2));
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(NewestOnDisk(), 5);
}

TEST_F(CoordinatorCheckpointsTest, TakesOneOnDemand) {
  EXPECT_TRUE(absl::IsUnavailable(coordinator_->TakeCheckpoint().status()));
  const uint64_t generation = Open().generation;
  EXPECT_EQ(*coordinator_->TakeCheckpoint(), 1);
  EXPECT_TRUE(Next().checkpoint);
  (void)generation;
}

TEST_F(CoordinatorCheckpointsTest, DemandNeedsADirectory) {
  Job job = job_;
  job.checkpoint.reset();
  Coordinator::Options options;
  options.job = job;
  options.clock = &clock_;
  options.log = MakeSilentLogger();
  Coordinator coordinator(std::move(options));
  EXPECT_TRUE(absl::IsFailedPrecondition(coordinator.TakeCheckpoint().status()));
}

TEST_F(CoordinatorCheckpointsTest, ShardThatCannotReadItIsNamed) {
  const uint64_t generation = Open().generation;
  Beat(1, incarnation_, 0, {}, "step-2: no such directory");
  EXPECT_THAT(Status().message, HasSubstr("shard 1: step-2: no such directory"));
  Beat(1, incarnation_, generation);
  Next();
  EXPECT_EQ(Status().message, "");
}

TEST_F(CoordinatorCheckpointsTest, DirectoryThatVanishesIsTriedAgain) {
  std::filesystem::remove_all(job_.checkpoint->directory);
  std::ofstream(job_.checkpoint->directory) << "in its place";
  Beat(0, 1, 0);
  Beat(1, 1, 0);
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(Status().state, TrainingState::kGathering);
  EXPECT_THAT(Status().message, HasSubstr(job_.checkpoint->directory));
  std::filesystem::remove(job_.checkpoint->directory);
  EXPECT_TRUE(store_->Prepare().ok());
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(Status().state, TrainingState::kGathering);  // not at once
  clock_.Advance(absl::Seconds(1));
  coordinator_->WorkOnCheckpoints();
  EXPECT_EQ(Beat(0, 1, 0).generation, 5U);
}

TEST_F(CoordinatorCheckpointsTest, RestoredArithmeticIsAskedOfAll) {
  const uint64_t generation = Open().generation;
  Train(Train(Next()));
  WritePart(2, generation);
  coordinator_->WorkOnCheckpoints();
  Start();
  std::vector<absl::StatusOr<Lease>> answers;
  coordinator_->Acquire({"w", "another"}, absl::Seconds(20),
                        [&](absl::StatusOr<Lease> lease) { answers.push_back(std::move(lease)); });
  Open();
  ASSERT_THAT(answers, SizeIs(1));
  EXPECT_TRUE(absl::IsFailedPrecondition(answers[0].status())) << answers[0].status();
}

TEST_F(CoordinatorCheckpointsTest, BeginsWithACheckpointFromElsewhere) {
  const uint64_t generation = Open().generation;
  Train(Train(Next()));
  WritePart(2, generation);
  coordinator_->WorkOnCheckpoints();
  const std::string elsewhere = temporary_.path() + "/elsewhere";
  std::filesystem::rename(StepDirectory(job_.checkpoint->directory, 2), elsewhere);
  Start(elsewhere);
  const ClusterView view = Open();
  EXPECT_EQ(view.checkpoint, elsewhere);
  EXPECT_EQ(view.step, 2);
}

}  // namespace
}  // namespace percentdelta
