// SPDX-License-Identifier: Apache-2.0

#include "worker/data/data_sets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"
#include "tests/worker/data/idx_files.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;

class DataSetsTest : public testing::Test {
 protected:
  std::string Path(const std::string& name) const { return directory_.path() + "/" + name; }
  void Write(const std::string& name, const std::string& content) const {
    WriteBytes(Path(name), content);
  }
  std::string Message(const std::string& folder) const {
    return std::string(ReadTrainingSet(folder).status().message());
  }

  // A job of 2 training examples and 1 test example.
  static Job JobOf(const std::string& architecture, bool evaluation) {
    Job job;
    job.model.architecture = architecture;
    job.data = {2, 1};
    if (evaluation) job.evaluation = EvaluationSpec{1, 1};
    return job;
  }

  const std::string images_ = Idx({2, 1, 2}, "abcd");
  const std::string labels_ = Idx({2}, std::string("\x03\x04", 2));
  const TemporaryDirectory directory_;
};

void Clear(const std::string& folder) {
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::filesystem::remove_all(entry.path());
  }
}

struct Layout {
  const char* name;
  std::vector<std::string> images;  // paths of good files
  std::vector<std::string> labels;
  std::vector<std::string> empty;  // paths of empty files
};

TEST_F(DataSetsTest, ReadsTheLayoutsInUse) {
  const std::string i = "train-images-idx3-ubyte";
  const std::string l = "train-labels-idx1-ubyte";
  const std::vector<Layout> layouts = {
      {"the publisher's", {i}, {l}, {}},
      {"compressed", {i + ".gz"}, {l + ".gz"}, {}},
      {"with dots", {"train-images.idx3-ubyte"}, {"train-labels.idx1-ubyte"}, {}},
      {"with dots, compressed", {"train-images.idx3-ubyte.gz"}, {"train-labels.idx1-ubyte.gz"}, {}},
      {"mixed", {i}, {"train-labels.idx1-ubyte.gz"}, {}},
      {"Kaggle's",
       {i + "/" + i, "train-images.idx3-ubyte"},
       {l + "/" + l, "train-labels.idx1-ubyte"},
       {}},
      {"folders only", {i + "/" + i}, {l + "/" + l}, {}},
      {"folders of compressed files", {i + "/x.gz"}, {l + "/x.gz"}, {i + "/.DS_Store"}},
      {"capitals", {"TRAIN-IMAGES-IDX3-UBYTE"}, {"Train-Labels.IDX1-ubyte.GZ"}, {}},
      {"torchvision's", {"MNIST/raw/" + i}, {"MNIST/raw/" + l}, {}},
      {"torchvision's, one above raw", {"raw/" + i}, {"raw/" + l}, {}},
      {"torchvision's of another", {"FashionMNIST/raw/" + i}, {"FashionMNIST/raw/" + l}, {}},
      {"an empty file before a good one", {i + ".gz"}, {l}, {i}},
      {"a full folder before a good file", {"train-images.idx3-ubyte"}, {l}, {i + "/a", i + "/b"}},
      {"a folder with an empty file", {i + ".gz"}, {l}, {i + "/" + i}},
      {"an empty file above torchvision's", {"MNIST/raw/" + i}, {"MNIST/raw/" + l}, {i, l}},
      {"half a pair above torchvision's", {i, "MNIST/raw/" + i}, {"MNIST/raw/" + l}, {}},
  };
  for (const Layout& layout : layouts) {
    SCOPED_TRACE(layout.name);
    const auto compressed = [](const std::string& path) {
      return path.ends_with("gz") || path.ends_with("GZ");
    };
    for (const std::string& path : layout.images) {
      Write(path, compressed(path) ? Gzip(images_) : images_);
    }
    for (const std::string& path : layout.labels) {
      Write(path, compressed(path) ? Gzip(labels_) : labels_);
    }
    for (const std::string& path : layout.empty) Write(path, "");
    for (const char* slash : {"", "/", "//", "/."}) {
      ASSERT_OK_AND_ASSIGN(const Dataset dataset, ReadTrainingSet(directory_.path() + slash));
      EXPECT_EQ(std::string(dataset.pixels.begin(), dataset.pixels.end()), "abcd");
    }
    Clear(directory_.path());
  }
}

TEST_F(DataSetsTest, FollowsLinks) {
  Write("real/train-images-idx3-ubyte", images_);
  Write("real/train-labels-idx1-ubyte", labels_);
  std::filesystem::create_symlink("real", Path("link"));
  EXPECT_OK(ReadTrainingSet(Path("link")));
  EXPECT_OK(ReadTrainingSet(Path("link/")));
}

TEST_F(DataSetsTest, EveryCandidateHasItsReason) {
  Write("train-images-idx3-ubyte", "");
  Write("train-images-idx3-ubyte.gz", Gzip(images_).substr(0, 20));
  Write("train-images.idx3-ubyte/a", "x");
  Write("train-images.idx3-ubyte/b", "x");
  Write("train-images.idx3-ubyte.gz",
        "\xfd"
        "7zXZ");
  Write("train-images-idx3-ubyte.bz2", "BZh91");
  ASSERT_EQ(mkfifo(Path("TRAIN-images-idx3-ubyte").c_str(), 0600), 0);
  Write("train-labels-idx1-ubyte", labels_);
  EXPECT_THAT(Message(directory_.path()),
              AllOf(HasSubstr("the file is empty"), HasSubstr("truncated gzip file"),
                    HasSubstr("is a directory with 2 files"), HasSubstr("xz -d"),
                    HasSubstr("bzip2 -d"), HasSubstr("is a FIFO")));
}

TEST_F(DataSetsTest, NotesSkippedFiles) {
  Write("train-images-idx3-ubyte", "");
  Write("train-images.idx3-ubyte", images_);
  Write("train-labels-idx1-ubyte", labels_);
  std::string notes;
  ReadOptions options;
  options.note = [&notes](const std::string& line) { absl::StrAppend(&notes, line, "\n"); };
  ASSERT_OK(ReadTrainingSet(directory_.path(), options));
  EXPECT_THAT(notes, AllOf(HasSubstr("skipped \"" + Path("train-images-idx3-ubyte") +
                                     "\": the file is empty"),
                           HasSubstr("read \"" + Path("train-images.idx3-ubyte"))));
}

TEST_F(DataSetsTest, MessagesAreThoseOfErrno) {
  Write("file", "x");
  std::filesystem::create_symlink("loop", Path("loop"));
  ASSERT_EQ(mkfifo(Path("fifo").c_str(), 0600), 0);
  const struct {
    std::string folder;
    std::string message;
  } folders[] = {
      {Path("nowhere"), "nowhere\": No such file or directory"},
      {"", "\"\": No such file or directory"},
      {Path("file"), "file\": Not a directory: it is a regular file"},
      {Path("file/below"), "below\": Not a directory"},
      {Path("fifo"), "fifo\": Not a directory: it is a FIFO"},
      {"/dev/zero", "\"/dev/zero\": Not a directory: it is a character device"},
      {Path("loop"), "loop\": Too many levels of symbolic links"},
      {Path(std::string(300, 'x')), "\": File name too long"},
      {directory_.path(),
       "train-images-idx3-ubyte\": No such file or directory (nor "
       "train-images-idx3-ubyte.gz, train-images.idx3-ubyte"},
  };
  for (const auto& [folder, message] : folders) EXPECT_THAT(Message(folder), HasSubstr(message));
  Write("train-images-idx3-ubyte", images_);
  EXPECT_THAT(Message(directory_.path()),
              HasSubstr("train-labels-idx1-ubyte\": No such file or directory"));
}

TEST_F(DataSetsTest, FoldersThatMayNotBeEntered) {
  if (geteuid() == 0) GTEST_SKIP() << "root may";
  std::filesystem::create_directories(Path("locked/data"));
  chmod(Path("locked").c_str(), 0);
  EXPECT_THAT(Message(Path("locked/data")), HasSubstr("data\": Permission denied"));
  EXPECT_THAT(Message(Path("locked")), HasSubstr("locked\": Permission denied"));
  chmod(Path("locked").c_str(), 0700);
}

TEST_F(DataSetsTest, ErrorsEndWithTheAdvice) {
  Write("train-images-idx3-ubyte", Idx({3, 1, 2}, "abcdef"));  // not the number of the job
  Write("train-labels-idx1-ubyte", Idx({3}, std::string(3, '\x01')));
  ReadOptions options;
  options.advice = "deploy/make-data ratings";
  for (const std::string& folder : {Path("nowhere"), directory_.path()}) {
    const absl::StatusOr<DataSets> sets = LoadDataSets(folder, JobOf("mnist_cnn", true), options);
    EXPECT_THAT(std::string(sets.status().message()), EndsWith(": deploy/make-data ratings"));
  }
}

TEST_F(DataSetsTest, TestFilesAreNeededOnlyForAnEvaluation) {
  Write("train-images-idx3-ubyte", images_);
  Write("train-labels-idx1-ubyte", labels_);
  ASSERT_OK_AND_ASSIGN(const DataSets sets,
                       LoadDataSets(directory_.path(), JobOf("mnist_cnn", false), {}));
  EXPECT_EQ(sets.test, nullptr);
  EXPECT_EQ(sets.fingerprint, DataFingerprint(*sets.training, nullptr));
  EXPECT_THAT(
      LoadDataSets(directory_.path(), JobOf("mnist_cnn", true), {}),
      StatusIs(absl::StatusCode::kNotFound, HasSubstr("t10k-images-idx3-ubyte\": No such file")));

  Write("t10k-images-idx3-ubyte", Idx({1, 1, 2}, "ef"));
  Write("t10k-labels-idx1-ubyte", Idx({1}, "\x05"));
  ASSERT_OK_AND_ASSIGN(const DataSets both,
                       LoadDataSets(directory_.path(), JobOf("mnist_cnn", true), {}));
  EXPECT_EQ(both.fingerprint, DataFingerprint(*both.training, both.test.get()));
}

TEST_F(DataSetsTest, IsCancelled) {
  Write("train-images-idx3-ubyte", images_);
  Write("train-images.idx3-ubyte", images_);
  Write("train-labels-idx1-ubyte", labels_);
  ReadOptions options;
  for (int allowed = 0; allowed < 5; ++allowed) {
    int calls = 0;
    options.cancelled = [&] { return ++calls > allowed; };
    EXPECT_THAT(LoadDataSets(directory_.path(), JobOf("mnist_cnn", false), options),
                StatusIs(absl::StatusCode::kCancelled));
    EXPECT_EQ(calls, allowed + 1);
  }
}

}  // namespace
}  // namespace percentdelta
