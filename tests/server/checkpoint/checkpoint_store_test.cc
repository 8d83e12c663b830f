// SPDX-License-Identifier: Apache-2.0

#include "server/checkpoint/checkpoint_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/durable_file.h"
#include "common/base/safetensors.h"
#include "common/job/job_codec.h"
#include "common/job/partition.h"
#include "server/update/optimizer.h"
#include "tests/server/checkpoint/store_fixture.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

namespace fs = std::filesystem;

constexpr int64_t kMaxBytes = 1 << 20;

TEST_F(CheckpointStoreTest, FindsWhatWasWritten) {
  const Job job = TinyJob();
  EXPECT_EQ(Newest(job), -1);
  Write(job, 10);
  ASSERT_OK_AND_ASSIGN(const std::optional<Checkpoint> newest, store_->FindNewest(job));
  ASSERT_TRUE(newest.has_value());
  const Checkpoint& checkpoint = *newest;
  EXPECT_EQ(checkpoint.directory, directory_ + "/step-0000000010");
  EXPECT_EQ(checkpoint.manifest.step, 10);
  EXPECT_EQ(checkpoint.manifest.generation, 3U);
  EXPECT_EQ(checkpoint.manifest.job_hash, JobHash(job));
  EXPECT_EQ(checkpoint.history.training[0].step, 9);
  EXPECT_EQ(checkpoint.history.arithmetic, "fma");
}

TEST_F(CheckpointStoreTest, RetainsTheNewestTwo) {
  const Job job = TinyJob();
  for (const int64_t step : {10, 20, 30}) Write(job, step);
  EXPECT_THAT(Names(directory_), ElementsAre("step-0000000020", "step-0000000030"));
}

TEST_F(CheckpointStoreTest, OldOnesStayUntilANewerOneIsComplete) {
  const Job job = TinyJob();
  for (const int64_t step : {10, 20}) Write(job, step);
  fs::create_directories(StepDirectory(directory_, 30));  // never completed
  EXPECT_EQ(Newest(job), 20);
  EXPECT_THAT(Names(directory_),
              ElementsAre("step-0000000010", "step-0000000020", "step-0000000030"));
}

// A damaged checkpoint does not count towards max_kept, neither while it is the newest nor later.
TEST_F(CheckpointStoreTest, DamagedOnesDoNotCountAsRetained) {
  const Job job = TinyJob();
  for (const int64_t step : {10, 20, 35, 40}) {
    Write(job, step);
    if (step == 20) fs::copy(StepDirectory(directory_, 20), temporary_.path() + "/20");
  }
  // An operator has copied 20 back, because both others are damaged.
  fs::copy(temporary_.path() + "/20", StepDirectory(directory_, 20));
  Damage(StepDirectory(directory_, 40) + "/history.pb", "damaged", job);
  Damage(StepDirectory(directory_, 35) + "/history.pb", "damaged", job);
  ASSERT_EQ(Newest(job), 20);
  Write(job, 30, 1, 4, 20);
  EXPECT_EQ(Newest(job), 30);
  EXPECT_THAT(Names(directory_), ElementsAre("step-0000000020", "step-0000000030",
                                             "step-0000000035", "step-0000000040"));
  Write(job, 40, 1, 4, 20);
  EXPECT_EQ(Newest(job), 40);
  EXPECT_THAT(Names(directory_), ElementsAre("step-0000000030", "step-0000000040"));
}

TEST_F(CheckpointStoreTest, TheOnlyRetainedOneIsComplete) {
  const Job job = TinyJob();
  Write(job, 10);
  Write(job, 20);
  Damage(StepDirectory(directory_, 20) + "/history.pb", "damaged", job);
  store_ = std::make_unique<CheckpointStore>(directory_, 1, FaultPoints(), MakeSilentLogger());
  Write(job, 15, 1, 4, 10);
  EXPECT_EQ(Newest(job), 15);
}

TEST_F(CheckpointStoreTest, DirectoryThatCannotBeReadIsNotEmpty) {
  fs::remove(directory_);
  EXPECT_THAT(std::string(store_->FindNewest(TinyJob()).status().message()), HasSubstr(directory_));
  std::ofstream(directory_) << "in its place";
  EXPECT_THAT(std::string(store_->FindNewest(TinyJob()).status().message()), HasSubstr(directory_));
}

// Every truncation of every file, and every flipped bit: the file is named, and the previous
// checkpoint is used.
TEST_F(CheckpointStoreTest, EveryTruncationAndEveryFlippedBitIsFound) {
  const Job job = TinyJob();
  Write(job, 10);
  Write(job, 20);
  const std::string newest = StepDirectory(directory_, 20);
  for (const std::string& name : Names(newest)) {
    const std::string path = absl::StrCat(newest, "/", name);
    const std::string whole = *ReadWholeFile(path, kMaxBytes);
    for (size_t size = 0; size < whole.size(); ++size) {
      ASSERT_THAT(Damage(path, whole.substr(0, size), job), HasSubstr(name)) << size;
    }
    EXPECT_EQ(Newest(job), 10);
    for (size_t bit = 0; bit < 8 * whole.size(); ++bit) {
      std::string flipped = whole;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ 1 << bit % 8);
      ASSERT_THAT(Damage(path, flipped, job), HasSubstr(name)) << bit;
    }
    EXPECT_EQ(Newest(job), 10);
    EXPECT_THAT(Damage(path, whole, job), IsEmpty());
    EXPECT_EQ(Newest(job), 20);
  }
}

TEST_F(CheckpointStoreTest, SwappedFilesAreFound) {
  const Job job = SmallJob();
  Write(job, 10, 2);
  Write(job, 20, 2);
  const std::string newest = StepDirectory(directory_, 20);
  fs::rename(newest + "/" + SliceFileName(0, 2), newest + "/x");
  fs::rename(newest + "/" + SliceFileName(1, 2), newest + "/" + SliceFileName(0, 2));
  fs::rename(newest + "/x", newest + "/" + SliceFileName(1, 2));
  EXPECT_EQ(Newest(job), 10);
}

TEST_F(CheckpointStoreTest, MissingFileAndDirectoryInItsPlaceAreFound) {
  const Job job = TinyJob();
  Write(job, 10);
  Write(job, 20);
  const std::string file = StepDirectory(directory_, 20) + "/" + SliceFileName(0, 1);
  fs::remove(file);
  EXPECT_EQ(Newest(job), 10);
  fs::create_directory(file);
  EXPECT_EQ(Newest(job), 10);
}

TEST_F(CheckpointStoreTest, AnotherJobIsRefusedWithTheFieldsThatDiffer) {
  Job job = TinyJob();
  Write(job, 10);
  job.optimizer.learning_rate = 0.1;
  job.batch_size = 5;
  const absl::Status refused = store_->FindNewest(job).status();
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(
      std::string(refused.message()),
      AllOf(HasSubstr("step-0000000010"), HasSubstr("optimizer.learning_rate: 0.1 and 0.03"),
            HasSubstr("batch_size: 5 and 4"), HasSubstr("--no_restore")));
}

TEST_F(CheckpointStoreTest, NameLengthAndEvaluationMayChange) {
  Job job = TinyJob();
  Write(job, 10);
  job.name = "longer";
  job.max_steps = 5000;
  job.evaluation = EvaluationSpec{5, 4};
  EXPECT_EQ(Newest(job), 10);
  job.max_steps = 9;
  EXPECT_THAT(std::string(store_->FindNewest(job).status().message()), HasSubstr("max_steps 9"));
}

TEST_F(CheckpointStoreTest, LeftoversOfDeadWritersAreCleared) {
  const Job job = TinyJob();
  Write(job, 10);
  const std::string leftover = StepDirectory(directory_, 10) + "/history.pb.tmp-1-0";
  std::ofstream(leftover) << "half";
  std::ofstream(directory_ + "/cluster.json.tmp-1-0") << "half";
  EXPECT_EQ(Newest(job), 10);
  EXPECT_OK(store_->Prepare());
  EXPECT_FALSE(fs::exists(leftover));
  EXPECT_THAT(Names(directory_), ElementsAre("step-0000000010"));
}

// A shard's process may die while the coordinator lives: the next writer of the step cleans up.
TEST_F(CheckpointStoreTest, LeftoversAreClearedWhenTheStepIsWrittenAgain) {
  const Job job = TinyJob();
  const std::string leftover =
      StepDirectory(directory_, 10) + "/shard-00000-of-00001.safetensors.tmp-1-0";
  fs::create_directories(StepDirectory(directory_, 10));
  std::ofstream(leftover) << "half";
  Write(job, 10);
  EXPECT_FALSE(fs::exists(leftover));
  EXPECT_EQ(Newest(job), 10);
}

// If the directory vanishes while files in it are written, their writers cannot remove them; it may
// come back with them.
TEST_F(CheckpointStoreTest, FailedOnesAreRemovedByTheNextCompleteOne) {
  const Job job = TinyJob();
  Write(job, 10);
  fs::create_directories(StepDirectory(directory_, 20));
  std::ofstream(StepDirectory(directory_, 20) + "/shard-00000-of-00001.safetensors.tmp-1-0") << "h";
  std::ofstream(directory_ + "/cluster.json.tmp-1-0") << "half";
  fs::create_directories(StepDirectory(directory_, 40));  // one that is being written
  Write(job, 30);
  EXPECT_THAT(Names(directory_),
              ElementsAre("step-0000000010", "step-0000000030", "step-0000000040"));
}

// A checkpoint is complete even if older ones cannot be removed.
TEST_F(CheckpointStoreTest, OldOnesThatCannotBeRemovedAreNotAFailure) {
  const Job job = TinyJob();
  Write(job, 10);
  Write(job, 20);
  // A directory with the name of a file is not the servers' own.
  const std::string manifest = StepDirectory(directory_, 10) + "/manifest.json";
  fs::remove(manifest);
  fs::create_directories(manifest + "/in the way");
  Write(job, 30);
  EXPECT_EQ(Newest(job), 30);
  EXPECT_THAT(Names(StepDirectory(directory_, 10)), ElementsAre("manifest.json"));
  fs::remove_all(manifest);
  Write(job, 40);
  EXPECT_THAT(Names(directory_), ElementsAre("step-0000000030", "step-0000000040"));
}

TEST_F(CheckpointStoreTest, SetAsideIsOutOfTheWayAndNotLost) {
  const Job job = TinyJob();
  Write(job, 10);
  Write(job, 20);
  EXPECT_OK(store_->SetAside(10));
  EXPECT_EQ(Newest(job), 10);
  EXPECT_OK(store_->SetAside(-1));
  EXPECT_EQ(Newest(job), -1);
  EXPECT_OK(OpenCheckpoint(directory_ + "/set-aside-1/step-0000000020", job));
  EXPECT_OK(OpenCheckpoint(directory_ + "/set-aside-2/step-0000000010", job));
}

TEST_F(CheckpointStoreTest, GenerationIsRemembered) {
  EXPECT_EQ(store_->ReadGeneration(), 0U);
  EXPECT_OK(store_->WriteGeneration(41, TinyJob()));
  EXPECT_OK(store_->WriteGeneration(42, TinyJob()));
  EXPECT_EQ(store_->ReadGeneration(), 42U);
  std::ofstream(directory_ + "/cluster.json") << "{";
  EXPECT_EQ(store_->ReadGeneration(), 0U);
}

// Also before there is a checkpoint.
TEST_F(CheckpointStoreTest, DirectoryOfAnotherJobIsRefusedWithTheFieldsThatDiffer) {
  Job job = TinyJob();
  EXPECT_OK(store_->CheckOwner(job));
  EXPECT_OK(store_->WriteGeneration(41, job));
  job.max_steps += 1;
  EXPECT_OK(store_->CheckOwner(job));
  job.seed = 99;
  const absl::Status refused = store_->CheckOwner(job);
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kFailedPrecondition,
                                AllOf(HasSubstr(directory_), HasSubstr("seed: 99 and "),
                                      HasSubstr("--no_restore"))));
  std::ofstream(directory_ + "/cluster.json") << "{";
  EXPECT_OK(store_->CheckOwner(job));
}

TEST_F(CheckpointStoreTest, DirectoryThatCannotBeMadeIsNamed) {
  std::ofstream(directory_ + "/file") << "no directory";
  const CheckpointStore store(directory_ + "/file/x", 2, FaultPoints(), MakeSilentLogger());
  EXPECT_THAT(std::string(store.Prepare().message()), HasSubstr("file/x"));
}

// Also those of buffers, which have no state.
TEST_F(CheckpointStoreTest, SlicesAreReadOntoAnyNumberOfShards) {
  Job job = SmallJob();
  job.model.tensors[kLarge].buffer = true;
  job.model.tensors[kScalar].buffer = true;
  for (const int written : {1, 2, 3, 5}) {
    const int64_t step = int64_t{10} * written;
    Write(job, step, written);
    const std::string directory = StepDirectory(directory_, step);
    for (const int shards : {1, 2, 3, 4}) {
      const Partition partition(job.model, shards);
      for (int shard = 0; shard < shards; ++shard) {
        const std::vector<TensorRange>& wanted = partition.ranges_of_shard(shard);
        ASSERT_OK_AND_ASSIGN(const std::vector<SliceContent> read,
                             ReadSlices(directory, written, job.model, StateNames(job), wanted));
        const std::vector<SliceContent> expected = ContentOf(job, wanted);
        ASSERT_EQ(read.size(), expected.size());
        for (size_t i = 0; i < expected.size(); ++i) {
          EXPECT_EQ(*read[i].weights, *expected[i].weights);
          ASSERT_EQ(read[i].state.size(), expected[i].state.size());
          for (size_t array = 0; array < expected[i].state.size(); ++array) {
            EXPECT_EQ(*read[i].state[array], *expected[i].state[array]);
          }
        }
      }
    }
  }
}

TEST_F(CheckpointStoreTest, SliceFilesHoldNoStateOfBuffers) {
  Job job = SmallJob();
  job.model.tensors[kFew].buffer = true;
  Write(job, 10);
  ASSERT_OK_AND_ASSIGN(
      const SafetensorsContent content,
      ReadSafetensors(absl::StrCat(StepDirectory(directory_, 10), "/", SliceFileName(0, 1))));
  std::vector<std::string> names;
  for (const SafetensorsTensor& tensor : content.tensors) names.push_back(tensor.name);
  EXPECT_THAT(names, UnorderedElementsAre("a/weights", "a/weights velocity", "a/biases", "b/scalar",
                                          "b/scalar velocity", "b/weights", "b/weights velocity",
                                          "c/zeros", "c/zeros velocity"));
}

// The same tensor, trained before: its job is another one.
TEST_F(CheckpointStoreTest, ATensorThatBecomesABufferMakesAnotherJob) {
  Job job = SmallJob();
  Write(job, 10);
  job.model.tensors[kFew].buffer = true;
  EXPECT_THAT(std::string(OpenCheckpoint(StepDirectory(directory_, 10), job).status().message()),
              HasSubstr("model.tensors[1].buffer: "));
}

TEST_F(CheckpointStoreTest, SliceFileSaysWhatItLacks) {
  const Job job = SmallJob();
  Write(job, 10, 2);
  const Partition partition(job.model, 1);
  const auto read = ReadSlices(StepDirectory(directory_, 10), 2, job.model, {"second_moment"},
                               partition.ranges_of_shard(0));
  EXPECT_THAT(std::string(read.status().message()),
              AllOf(HasSubstr(SliceFileName(0, 2)), HasSubstr("second_moment"), HasSubstr("none")));
}

}  // namespace
}  // namespace percentdelta
