// SPDX-License-Identifier: Apache-2.0

// What shard 0 makes of the directory when it starts, and that files that are not the servers' own
// are left alone from there to the end of a training.

#include "server/checkpoint/checkpoint_start.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <unistd.h>

#include <functional>
#include <map>
#include <sstream>

#include "common/base/durable_file.h"
#include "tests/server/checkpoint/store_fixture.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

namespace fs = std::filesystem;

class CheckpointStartTest : public CheckpointStoreTest {
 protected:
  CheckpointStartTest() {
    job_.checkpoint = CheckpointSpec{10, directory_, 2};
    log_ = std::make_shared<spdlog::logger>(
        "", std::make_shared<spdlog::sinks::ostream_sink_mt>(said_));
    log_.sink().flush_on(spdlog::level::info);
    store_ = std::make_unique<CheckpointStore>(directory_, 2, FaultPoints(), log_);
  }

  absl::StatusOr<std::string> Start(const std::string& restore = "", bool no_restore = false) {
    return PrepareCheckpoints(job_, {restore, no_restore}, FaultPoints(), log_);
  }

  std::string Refusal(const std::string& restore = "") {
    const absl::StatusOr<std::string> start = Start(restore);
    EXPECT_THAT(start, Not(IsOk()));
    EXPECT_FALSE(absl::IsInvalidArgument(start.status())) << "the exit code would be 2";
    return std::string(start.status().message());
  }

  // Every path below `directory`, with the content of a file or the target of a link.
  static std::map<std::string, std::string> Everything(const std::string& directory) {
    std::map<std::string, std::string> found;
    for (const auto& entry : fs::recursive_directory_iterator(directory)) {
      std::string& content = found[entry.path().string()];
      if (entry.is_symlink()) {
        content = fs::read_symlink(entry.path()).string();
      } else if (entry.is_regular_file()) {
        content = *ReadWholeFile(entry.path().string(), 1 << 20);
      }
    }
    return found;
  }

  void Put(const std::string& name, const std::string& text = "precious") const {
    const fs::path path = fs::path(directory_) / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }

  void DamageStep(int64_t step) const {
    Put(StepDirectory("", step).substr(1) + "/history.pb", "damaged");
  }

  Job job_ = TinyJob();
  std::ostringstream said_;
  Logger log_;
};

// All kinds of foreign files at once, through start, checkpoints, pruning and setting aside.
TEST_F(CheckpointStartTest, ForeignFilesAreLeftAlone) {
  const std::string elsewhere = temporary_.path() + "/elsewhere";
  fs::create_directories(elsewhere);
  std::ofstream(elsewhere + "/manifest.json") << "precious";
  std::ofstream(elsewhere + "/history.pb.tmp-1-0") << "precious";
  for (const char* name :
       {"step-5/manifest.json", "step-8/sub/file", "step--3/manifest.json", "thesis.tmp-draft.doc",
        "thesis.tmp-1-0", "step-00000000005/history.pb", "step-99999999999999999999/manifest.json",
        "step-0000000003.bak/manifest.json", "set-aside-x/y", "set-aside-1/step-0000000001/z",
        "step-0000000015/notes.txt", "step-0000000015/sub/manifest.json",
        "step-0000000015/thesis.tmp-draft.doc", "step-0000000020.txt", "manifest.json",
        "history.pb", "shard-00000-of-00001.safetensors", "history.pb.tmp-1-0"}) {
    Put(name);
  }
  Put("step-0000000006");  // a file
  fs::create_directory_symlink(elsewhere, directory_ + "/step-0000000050");
  fs::create_directory_symlink(elsewhere, directory_ + "/step-0000000007");
  fs::create_directory_symlink(elsewhere, directory_ + "/set-aside-2");
  fs::create_symlink(elsewhere + "/manifest.json", directory_ + "/step-0000000015/history.pb");
  fs::create_symlink(elsewhere + "/manifest.json", directory_ + "/cluster.json.tmp-1-0");
  fs::create_symlink("nowhere", directory_ + "/step-0000000009");
  const auto before = Everything(temporary_.path());

  ASSERT_OK(Start());
  EXPECT_THAT(said_.str(), AllOf(HasSubstr("holds other files"), HasSubstr("more")));
  EXPECT_EQ(Everything(temporary_.path()), before);
  for (const int64_t step : {10, 20, 30, 40}) Write(job_, step);
  EXPECT_FALSE(fs::exists(StepDirectory(directory_, 20)));
  auto after = Everything(temporary_.path());
  for (const auto& [path, content] : before) EXPECT_EQ(after[path], content) << path;
  EXPECT_EQ(Newest(job_), 40);

  ASSERT_OK(Start("", /*no_restore=*/true));
  EXPECT_EQ(Newest(job_), -1);
  EXPECT_TRUE(fs::exists(StepDirectory(directory_ + "/set-aside-3", 40)));
  after = Everything(temporary_.path());
  for (const auto& [path, content] : before) {
    // Files in a directory of a step move with it.
    if (path.find("/step-0000000015") != std::string::npos) continue;
    EXPECT_EQ(after[path], content) << path;
  }
}

// By which a server decides whether it needs the file of initial weights.
TEST_F(CheckpointStartTest, ExpectsACheckpoint) {
  const auto expects = [&](const std::string& restore = "", bool no_restore = false) {
    return ExpectsCheckpoint(job_, {restore, no_restore});
  };
  EXPECT_FALSE(expects());
  EXPECT_TRUE(expects("/somewhere"));
  fs::create_directories(StepDirectory(directory_, 5));  // not complete
  EXPECT_FALSE(expects());
  Write(job_, 10);
  EXPECT_TRUE(expects());
  EXPECT_FALSE(expects("", /*no_restore=*/true));
  job_.checkpoint->directory += "/none";
  EXPECT_FALSE(expects());
  job_.checkpoint.reset();
  EXPECT_FALSE(expects());
}

TEST_F(CheckpointStartTest, OldCheckpointWithForeignFilesRetainsThemAndIsLoggedOnce) {
  Write(job_, 10);
  Put("step-0000000010/notes.txt");
  for (const int64_t step : {20, 30, 40}) Write(job_, step);
  EXPECT_THAT(Names(StepDirectory(directory_, 10)), testing::ElementsAre("notes.txt"));
  const std::string said = said_.str();
  const size_t first = said.find("stays because it holds other files");
  EXPECT_NE(first, std::string::npos);
  EXPECT_EQ(said.find("stays because it holds other files", first + 1), std::string::npos);
}

// A link leads to another checkpoint or file, which must not be written through it.
TEST_F(CheckpointStartTest, NothingIsWrittenThroughALink) {
  const std::string elsewhere = temporary_.path() + "/elsewhere";
  std::ofstream(elsewhere) << "precious";
  for (const char* name : {"manifest.json", "history.pb"}) {
    const std::string step = StepDirectory(directory_, 10);
    fs::create_directories(step);
    fs::create_symlink(elsewhere, absl::StrCat(step, "/", name));
    Manifest manifest;
    manifest.step = 10;
    manifest.shards = 1;
    const absl::Status status = store_->Complete(manifest, {}, History(), 0);
    EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(name), HasSubstr("symbolic link")));
    EXPECT_EQ(*ReadWholeFile(elsewhere, 100), "precious");
    fs::remove_all(step);
  }
}

TEST_F(CheckpointStartTest, ClusterFileThatServersDidNotWriteIsRefusedAndStays) {
  const std::string path = directory_ + "/cluster.json";
  const std::string elsewhere = temporary_.path() + "/elsewhere";
  std::ofstream(elsewhere) << "{\"generation\": 1}";
  const std::vector<std::function<void()>> cases = {
      [&] { fs::create_directory(path); },
      [&] { fs::create_symlink(elsewhere, path); },
      [&] { fs::create_symlink("nowhere", path); },
      [&] { std::ofstream(path) << "{\"nodes\": [\"a\", \"b\"]}"; },
      [&] { std::ofstream(path) << "precious"; },
      [&] { std::ofstream(path) << ""; },
      [&] { std::ofstream(path) << "[1]"; },
  };
  for (size_t i = 0; i < cases.size(); ++i) {
    cases[i]();
    const auto before = Everything(directory_);
    EXPECT_THAT(Refusal(), AllOf(HasSubstr(path), HasSubstr("move it away"))) << i;
    EXPECT_EQ(Everything(directory_), before) << i;
    fs::remove(path);
  }
  EXPECT_OK(store_->WriteGeneration(7, job_));
  EXPECT_OK(Start());
}

// The training must not fall back to step 0.
TEST_F(CheckpointStartTest, AllDamagedIsRefusedNamingEach) {
  for (const int64_t step : {10, 20}) Write(job_, step);
  DamageStep(20);
  EXPECT_OK(Start());
  EXPECT_THAT(said_.str(), HasSubstr("checkpoint is damaged, passed over"));
  EXPECT_EQ(Newest(job_), 10);
  DamageStep(10);
  const std::string refusal = Refusal();
  EXPECT_THAT(refusal, AllOf(HasSubstr("step-0000000020/history.pb: expected"),
                             HasSubstr("step-0000000010/history.pb: expected"),
                             HasSubstr("--no_restore"), HasSubstr("--restore=")));
  EXPECT_THAT(Refusal(directory_), HasSubstr("step-0000000020/history.pb: expected"));
  ASSERT_OK(Start("", /*no_restore=*/true));
  EXPECT_EQ(Newest(job_), -1);
  EXPECT_OK(Start());
  EXPECT_TRUE(fs::exists(StepDirectory(directory_ + "/set-aside-1", 20)));
}

TEST_F(CheckpointStartTest, EveryKindOfDamageCountsAsDamage) {
  const std::string step = StepDirectory(directory_, 10);
  const std::string slice = step + "/" + SliceFileName(0, 1);
  const std::string manifest = step + "/manifest.json";
  const std::vector<std::function<void()>> cases = {
      [&] { std::ofstream(manifest) << ""; },
      [&] { std::ofstream(manifest) << "{}"; },
      [&] {
        fs::remove(manifest);
        fs::create_directory(manifest);
      },
      [&] { fs::remove(slice); },
      [&] { fs::resize_file(slice, 10); },
      [&] { fs::remove(step + "/history.pb"); },
      [&] { fs::rename(step, StepDirectory(directory_, 30)); },
  };
  for (size_t i = 0; i < cases.size(); ++i) {
    Write(job_, 10);
    cases[i]();
    EXPECT_THAT(Refusal(), HasSubstr("every checkpoint")) << i;
    for (const std::string& name : Names(directory_)) fs::remove_all(directory_ + "/" + name);
  }
}

TEST_F(CheckpointStartTest, UnfinishedWritingIsNotDamage) {
  fs::create_directories(StepDirectory(directory_, 10));
  Put("step-0000000020/shard-00000-of-00001.safetensors", "half");
  Put("step-0000000020/history.pb", "half");
  Put("step-0000000020/manifest.json.tmp-1-0", "half");
  EXPECT_OK(Start());
  EXPECT_EQ(Newest(job_), -1);
}

// The checkpoint was moved: falling back to step 0 is as wrong as it is next to a damaged one.
TEST_F(CheckpointStartTest, LinkToACheckpointIsNotFollowedAndNotIgnored) {
  Write(job_, 10);
  const std::string elsewhere = temporary_.path() + "/elsewhere";
  fs::rename(StepDirectory(directory_, 10), elsewhere);
  fs::create_directory_symlink(elsewhere, StepDirectory(directory_, 10));
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("step-0000000010 is a symbolic link"),
                               HasSubstr("--restore="), HasSubstr("--no_restore")));
  EXPECT_OK(Start("", /*no_restore=*/true));
  EXPECT_THAT(Start(StepDirectory(directory_, 10)), IsOkAndHolds(StepDirectory(directory_, 10)));
  Write(job_, 20);
  EXPECT_OK(Start());
  EXPECT_EQ(Newest(job_), 20);
}

TEST_F(CheckpointStartTest, RestoreSaysWhatIsThereInstead) {
  Write(job_, 10);
  const std::string file = directory_ + "/step-0000000010/manifest.json";
  const std::string empty = temporary_.path() + "/empty";
  fs::create_directory(empty);
  fs::create_symlink("nowhere", temporary_.path() + "/dangling");
  fs::copy(StepDirectory(directory_, 10), temporary_.path() + "/damaged");
  std::ofstream(temporary_.path() + "/damaged/history.pb") << "damaged";
  const struct {
    std::string path;
    std::string reason;
  } cases[] = {{temporary_.path() + "/none", "No such file or directory"},
               {temporary_.path() + "/dangling", "No such file or directory"},
               {file, "got the file"},
               {file + "/x", "Not a directory"},
               {empty, "expected a checkpoint"},
               {temporary_.path() + "/damaged", "history.pb: expected"},
               {temporary_.path() + "/" + std::string(300, 'x'), "File name too long"}};
  for (const auto& [path, reason] : cases) {
    EXPECT_THAT(Refusal(path), AllOf(HasSubstr("--restore: "), HasSubstr(path), HasSubstr(reason)));
    EXPECT_EQ(Newest(job_), 10) << path;  // nothing was set aside
  }
  fs::create_directory_symlink(StepDirectory(directory_, 10), temporary_.path() + "/link");
  EXPECT_THAT(Start(temporary_.path() + "/link"), IsOkAndHolds(temporary_.path() + "/link"));
  job_.seed = 99;
  EXPECT_THAT(Refusal(temporary_.path() + "/damaged"), HasSubstr("seed: 99 and "));
}

TEST_F(CheckpointStartTest, UnusableDirectoryIsRefusedWithTheReason) {
  Put("file");
  fs::create_symlink("nowhere", directory_ + "/dangling");
  const struct {
    std::string path;
    std::string reason;
  } cases[] = {{directory_ + "/file", "Not a directory"},
               {directory_ + "/file/x", "Not a directory"},
               {directory_ + "/dangling", ""},
               {directory_ + "/" + std::string(300, 'x'), "File name too long"},
               {"/proc/self/none", ""},
               {"", ""}};
  for (const auto& [path, reason] : cases) {
    job_.checkpoint->directory = path;
    EXPECT_THAT(Refusal(), AllOf(HasSubstr(path), HasSubstr(reason), Not(IsEmpty())));
  }
  if (geteuid() == 0) return;  // root may write everywhere
  job_.checkpoint->directory = directory_ + "/locked";
  fs::create_directory(job_.checkpoint->directory);
  fs::permissions(job_.checkpoint->directory, fs::perms::owner_read | fs::perms::owner_exec);
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("locked"), HasSubstr("Permission denied")));
}

// The coordinator completes a checkpoint only with the files that were reported, if it sees them.
TEST_F(CheckpointStartTest, OnlyReportedFilesBecomeACheckpoint) {
  Write(job_, 10);
  const std::string step = StepDirectory(directory_, 10);
  const std::string name = SliceFileName(0, 1);
  const std::string whole = *ReadWholeFile(step + "/" + name, 1 << 20);
  Manifest manifest = OpenCheckpoint(step, job_)->manifest;
  const FileEntry reported = manifest.files[0];
  fs::remove(step + "/manifest.json");
  const std::vector<std::function<void()>> cases = {
      [&] { fs::remove(step + "/" + name); },
      [&] { fs::resize_file(step + "/" + name, whole.size() - 1); },
      [&] { fs::resize_file(step + "/" + name, 0); },
      [&] { std::ofstream(step + "/" + name, std::ios::binary) << std::string(whole.size(), 'x'); },
      [&] {
        fs::remove(step + "/" + name);
        fs::create_directory(step + "/" + name);
      },
      [&] { manifest.generation += 1; },  // a file of an earlier one, say of a copied directory
      [&] { fs::remove_all(step); }};
  for (size_t i = 0; i < cases.size(); ++i) {
    const uint64_t generation = manifest.generation;
    cases[i]();
    const absl::Status status = store_->Complete(manifest, {reported}, History(), 0);
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kNotFound,
                                 AllOf(HasSubstr("shard 0 wrote " + name), HasSubstr(step),
                                       HasSubstr("all servers must see one directory"))))
        << i;
    EXPECT_FALSE(fs::exists(step + "/manifest.json")) << i;
    manifest.generation = generation;
    fs::remove_all(fs::path(step) / name);
    fs::create_directories(step);
    std::ofstream(fs::path(step) / name, std::ios::binary) << whole;
  }
  const FileEntry outside = {"../../elsewhere", reported.bytes, reported.sha256};
  EXPECT_THAT(store_->Complete(manifest, {outside}, History(), 0), Not(IsOk()));
  EXPECT_OK(store_->Complete(manifest, {reported}, History(), 0));
}

}  // namespace
}  // namespace percentdelta
