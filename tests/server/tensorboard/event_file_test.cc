// SPDX-License-Identifier: Apache-2.0

#include "server/tensorboard/event_file.h"

#include <signal.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "common/base/durable_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace percentdelta {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// RFC 3720, B.4.
TEST(Crc32cTest, PublishedVectors) {
  std::string ascending(32, '\0');
  std::iota(ascending.begin(), ascending.end(), '\0');
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aa);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43);
  EXPECT_EQ(Crc32c(ascending), 0x46dd794e);
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283);
}

class EventFileTest : public testing::Test {
 protected:
  static tensorboard::Event EventOf(int64_t step) {
    tensorboard::Event event;
    event.set_step(step);
    event.mutable_summary()->add_value()->set_tag("loss");
    return event;
  }

  static std::vector<int64_t> StepsIn(const std::string& path) {
    std::vector<int64_t> steps;
    EXPECT_TRUE(ReadEvents(path, [&](const tensorboard::Event& event) {
                  steps.push_back(event.step());
                }).ok());
    return steps;
  }

  std::string Write(const std::vector<int64_t>& steps, absl::Time now = absl::FromUnixSeconds(9)) {
    absl::StatusOr<EventFile> file = EventFile::Create(directory(), now);
    EXPECT_TRUE(file.ok()) << file.status();
    for (const int64_t step : steps) file->Add(EventOf(step));
    EXPECT_TRUE(file->Flush(/*durably=*/true).ok());
    EXPECT_FALSE(file->pending());
    return file->path();
  }

  std::string directory() const { return temporary_.path() + "/a/b"; }

 private:
  const TemporaryDirectory temporary_;
};

TEST_F(EventFileTest, ReadsWhatItWrote) { EXPECT_THAT(StepsIn(Write({3, 4})), ElementsAre(3, 4)); }

// Whatever byte a crash or a disk loses: the events before it are read, and nothing else.
TEST_F(EventFileTest, StopsAtWhatIsCutOffOrDamaged) {
  const std::string path = Write({1, 2});
  const std::string bytes = *ReadWholeFile(path, 1000);
  const size_t half = bytes.size() / 2;
  for (size_t end = half; end < bytes.size(); ++end) {
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<int64_t>(end));
    EXPECT_THAT(StepsIn(path), ElementsAre(1)) << end;
    std::string damaged = bytes;
    damaged[end] = static_cast<char>(damaged[end] ^ 4);
    std::ofstream(path, std::ios::binary).write(damaged.data(), static_cast<int64_t>(bytes.size()));
    EXPECT_THAT(StepsIn(path), ElementsAre(1)) << end;
  }
  std::ofstream(path, std::ios::binary).write("\xff\xff\xff\xff\xff\xff\xff\xff", 8);
  EXPECT_THAT(StepsIn(path), IsEmpty());
}

TEST_F(EventFileTest, FilesAreReadInTheOrderOfWriting) {
  std::vector<std::string> written;
  for (const int seconds : {100, 100, 50, 50, 101}) {  // the clock goes back, too
    written.push_back(Write({seconds}, absl::FromUnixSeconds(seconds)));
  }
  std::ofstream(directory() + "/events.out.tfevents.5.other") << "x";
  EXPECT_EQ(*FindEventFiles(directory()), written);
}

TEST_F(EventFileTest, NoDirectoryHasNoFiles) {
  EXPECT_THAT(*FindEventFiles(directory()), IsEmpty());
  std::filesystem::create_directories(directory());
  std::ofstream(directory() + "/file") << "x";
  EXPECT_FALSE(EventFile::Create(directory() + "/file", absl::Now()).ok());
}

// A limit of the file's size stands for a full disk.
TEST_F(EventFileTest, AFullDiskLeavesWholeRecords) {
  signal(SIGXFSZ, SIG_IGN);
  absl::StatusOr<EventFile> file = EventFile::Create(directory(), absl::FromUnixSeconds(10));
  ASSERT_TRUE(file.ok());
  file->Add(EventOf(1));
  ASSERT_TRUE(file->Flush().ok());
  rlimit before = {};
  getrlimit(RLIMIT_FSIZE, &before);
  rlimit full = before;
  full.rlim_cur = std::filesystem::file_size(file->path()) + 5;
  setrlimit(RLIMIT_FSIZE, &full);
  file->Add(EventOf(2));
  EXPECT_FALSE(file->Flush().ok());
  EXPECT_TRUE(file->pending());
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_THAT(StepsIn(file->path()), ElementsAre(1));
  EXPECT_EQ(std::filesystem::file_size(file->path()), full.rlim_cur - 5);
  file->Add(EventOf(3));
  EXPECT_TRUE(file->Flush().ok());
  EXPECT_THAT(StepsIn(file->path()), ElementsAre(1, 2, 3));
}

}  // namespace
}  // namespace percentdelta
