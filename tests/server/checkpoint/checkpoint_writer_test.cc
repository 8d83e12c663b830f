// SPDX-License-Identifier: Apache-2.0

#include "server/checkpoint/checkpoint_writer.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>
#include <set>
#include <sstream>

#include "absl/synchronization/notification.h"
#include "tests/server/checkpoint/store_fixture.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

namespace fs = std::filesystem;

// Shard 1 of 2, with a tensor of its own.
class CheckpointWriterTest : public CheckpointStoreTest {
 protected:
  CheckpointWriterTest() {
    job_.checkpoint = CheckpointSpec{10, directory_, 2};
    job_.max_steps = 1000;
    log_ = std::make_shared<spdlog::logger>(
        "", std::make_shared<spdlog::sinks::ostream_sink_mt>(said_));
    log_.sink().flush_on(spdlog::level::info);
    NewProcess();
  }

  void NewProcess() {
    writer_.reset();
    writer_.emplace(CheckpointWriter::Options{job_, 1, 2, FaultPoints(), log_, [this] {
                                                absl::MutexLock lock(&mutex_);
                                                ++written_;
                                              }});
  }

  // Writes the part of a step and returns what is reported of it.
  CheckpointPart WriteStep(int64_t step, uint64_t generation) {
    absl::MutexLock lock(&mutex_);
    const int64_t before = written_;
    writer_->Write(
        {generation, step, ContentOf(job_, Partition(job_.model, 2).ranges_of_shard(1))});
    const auto done = [&] { return written_ > before; };
    mutex_.Await(absl::Condition(&done));
    const std::vector<CheckpointPart> parts = writer_->parts();
    writer_->Forget(parts.size());
    return parts.empty() ? CheckpointPart() : parts.back();
  }

  Job job_ = SmallJob();
  std::ostringstream said_;
  Logger log_;
  absl::Mutex mutex_;
  int64_t written_ = 0;
  std::optional<CheckpointWriter> writer_;
};

// A disk of its own, which the coordinator does not prune: two parts stay, also after restarts.
TEST_F(CheckpointWriterTest, PartsThatNeverBecomeCheckpointsDoNotAccumulate) {
  for (uint64_t generation = 5; generation < 8; ++generation) {
    NewProcess();
    writer_->Enter(generation, 0);
    for (int64_t step = 10; step <= 60; step += 10) {
      fs::create_directories(StepDirectory(directory_, step));
      std::ofstream(StepDirectory(directory_, step) + "/shard-00001-of-00002.safetensors.tmp-1-0");
      EXPECT_EQ(WriteStep(step, generation).error, "");
    }
    EXPECT_THAT(Names(directory_), ElementsAre("step-0000000050", "step-0000000060"));
    EXPECT_THAT(Names(StepDirectory(directory_, 60)),
                ElementsAre("shard-00001-of-00002.safetensors"));
  }
}

TEST_F(CheckpointWriterTest, CheckpointsAndOthersFilesStay) {
  Write(job_, 10, 2);
  Write(job_, 20, 2);
  fs::create_directories(StepDirectory(directory_, 5));
  for (const char* name :
       {"notes.txt", "shard-00000-of-00002.safetensors", "shard-00001-of-00002.safetensors.bak"}) {
    std::ofstream(absl::StrCat(StepDirectory(directory_, 5), "/", name)) << "x";
  }
  std::ofstream(StepDirectory(directory_, 5) + "/shard-00001-of-00002.safetensors") << "x";
  writer_->Enter(4, 20);
  EXPECT_EQ(WriteStep(30, 4).error, "");
  EXPECT_EQ(WriteStep(40, 4).error, "");
  EXPECT_EQ(Newest(job_), 20);
  EXPECT_OK(OpenCheckpoint(StepDirectory(directory_, 10), job_));
  EXPECT_THAT(Names(StepDirectory(directory_, 5)),
              ElementsAre("notes.txt", "shard-00000-of-00002.safetensors",
                          "shard-00001-of-00002.safetensors.bak"));
}

// Another shard has created it and is about to write into it.
TEST_F(CheckpointWriterTest, EmptyDirectoryOfTheStepStays) {
  fs::create_directory(StepDirectory(directory_, 10));
  const int directory = open(StepDirectory(directory_, 10).c_str(), O_RDONLY | O_DIRECTORY);
  ASSERT_GE(directory, 0);
  writer_->Enter(4, 0);
  EXPECT_EQ(WriteStep(10, 4).error, "");
  struct stat about {};
  EXPECT_EQ(fstat(directory, &about), 0);
  EXPECT_GT(about.st_nlink, 0U) << "it was removed and made again";
  close(directory);
}

TEST_F(CheckpointWriterTest, LinksAreNotWrittenThrough) {
  const std::string elsewhere = temporary_.path() + "/elsewhere";
  fs::create_directory(elsewhere);
  std::ofstream(elsewhere + "/file") << "precious";
  fs::create_directory_symlink(elsewhere, StepDirectory(directory_, 10));
  fs::create_directory(StepDirectory(directory_, 20));
  fs::create_symlink(elsewhere + "/file",
                     StepDirectory(directory_, 20) + "/shard-00001-of-00002.safetensors");
  writer_->Enter(4, 0);
  for (const int64_t step : {10, 20}) {
    EXPECT_THAT(WriteStep(step, 4).error,
                AllOf(HasSubstr("shard 1: "), HasSubstr(StepDirectory(directory_, step)),
                      HasSubstr("symbolic link")));
  }
  EXPECT_THAT(Names(elsewhere), ElementsAre("file"));
  EXPECT_EQ(fs::file_size(elsewhere + "/file"), 8U);
}

TEST_F(CheckpointWriterTest, SaysThatTheCoordinatorsDirectoryIsAnother) {
  writer_->Enter(4, 0);
  EXPECT_THAT(said_.str(), AllOf(HasSubstr("generation 4"), HasSubstr(directory_),
                                 HasSubstr("must see one directory")));
  said_.str("");
  ASSERT_OK(store_->WriteGeneration(5, job_));
  writer_->Enter(5, 0);
  EXPECT_THAT(said_.str(), IsEmpty());
  writer_->Enter(6, 0);
  EXPECT_THAT(said_.str(), Not(IsEmpty()));
}

}  // namespace
}  // namespace percentdelta
