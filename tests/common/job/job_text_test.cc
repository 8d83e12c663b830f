// SPDX-License-Identifier: Apache-2.0

#include "common/job/job_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "common/job/job_codec.h"
#include "tests/common/job/full_job.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// `text`, which is ASCII, in code units of `bytes` bytes.
std::string Widened(const std::string& text, size_t bytes, bool little_endian) {
  std::string wide;
  for (const char c : text) {
    std::string unit(bytes, '\0');
    unit[little_endian ? 0 : bytes - 1] = c;
    wide += unit;
  }
  return wide;
}

TEST(ParseJobTest, AcceptsTheTextOfAnyEditor) {
  const std::string plain = "# A comment.\n" + JobToText(FullJob());
  for (const std::string& text : {
           plain,
           "\xef\xbb\xbf" + plain,
           Replaced(plain, "\n", "\r\n"),
           "\xef\xbb\xbf" + Replaced(plain, "\n", "\r\n"),
           Replaced(plain, "\n", "\r"),
           plain + "# caf\xe9 in Latin-1",
           plain.substr(0, plain.size() - 1),
       }) {
    const auto job = ParseJob(text, "job.txt");
    ASSERT_OK(job) << text;
    EXPECT_EQ(JobHash(*job), JobHash(FullJob()));
  }
}

TEST(ParseJobTest, ErrorsNameWhatIsNotText) {
  const std::string plain = JobToText(FullJob());
  struct Row {
    std::string text;
    std::string says;
  };
  for (const Row& row : std::vector<Row>{
           {"", "job.txt: expected a job, got an empty text"},
           {" \r\n\t\n", "job.txt: expected a job, got an empty text"},
           {"\xef\xbb\xbf", "job.txt: expected a job, got an empty text"},
           {"\xff\xfe" + Widened(plain, 2, true), "job.txt:1:1: expected UTF-8, got UTF-16"},
           {"\xfe\xff" + Widened(plain, 2, false), "job.txt:1:1: expected UTF-8, got UTF-16"},
           {std::string("\xff\xfe\0\0", 4) + Widened(plain, 4, true),
            "job.txt:1:1: expected UTF-8"},
           {std::string("\0\0\xfe\xff", 4) + Widened(plain, 4, false),
            "job.txt:1:1: expected UTF-8"},
           {Widened(plain, 2, true), "job.txt:1:2: expected UTF-8 text, got a NUL"},
           {Widened(plain, 2, false), "job.txt:1:1: expected UTF-8 text, got a NUL"},
           {std::string("name: 'a'\nb\0c", 13), "job.txt:2:2: expected UTF-8 text, got a NUL"},
           {JobToProto(FullJob()).SerializeAsString(), "job.txt:"},
           {"\x7f"
            "ELF\x02\x01\x01\x01",
            "job.txt:1:"},
           {"\x1f\x8b\x08\x08\x01", "job.txt:1:"},
           {"{\"name\": \"a\"}", "job.txt:1:1: "},
           {std::string(100000, 'a') + ": 1", "job.txt:1:"},
       }) {
    const absl::Status status = ParseJob(row.text, "job.txt").status();
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument));
    const std::string message(status.message());
    EXPECT_THAT(message, AllOf(StartsWith(row.says), HasSubstr("job.proto")));
    EXPECT_LT(message.size(), 800U);
    EXPECT_EQ(message.find('\0'), std::string::npos);
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
}

class JobFileTest : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const { return directory_.path() + "/" + name; }

  const TemporaryDirectory directory_;
};

TEST_F(JobFileTest, ReadsPipesToTheirEnd) {
  const std::string path = Path("pipe");
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  std::thread writer([&] {
    std::ofstream pipe(path);
    pipe << std::string(300000, ' ') << JobToText(FullJob());
  });
  const auto job = LoadJob(path);
  writer.join();
  ASSERT_OK(job);
  EXPECT_EQ(JobHash(*job), JobHash(FullJob()));
}

TEST_F(JobFileTest, ErrorsNameThePathAndTheReason) {
  const std::string job = JobToText(FullJob());
  std::ofstream(Path("closed")) << job;
  std::filesystem::permissions(Path("closed"), std::filesystem::perms::none);
  std::filesystem::create_directory(Path("locked"));
  std::ofstream(Path("locked/job")) << job;
  std::filesystem::permissions(Path("locked"), std::filesystem::perms::none);
  std::filesystem::create_symlink(Path("loop"), Path("loop"));
  std::filesystem::create_symlink(Path("nothing"), Path("dangling"));
  std::ofstream(Path("file")) << job;
  ASSERT_EQ(mkfifo(Path("pipe").c_str(), 0600), 0);
  std::ofstream(Path("large")) << "#";
  std::filesystem::resize_file(Path("large"), uintmax_t{1} << 40);

  using Code = absl::StatusCode;
  struct Row {
    std::string path;
    Code code;
    std::string reason;
  };
  std::vector<Row> table = {
      {Path("nothing"), Code::kNotFound, "No such file or directory"},
      {Path("no\nfile"), Code::kNotFound, "No such file or directory"},
      {Path("dangling"), Code::kNotFound, "No such file or directory"},
      {Path("file/job"), Code::kFailedPrecondition, "Not a directory"},
      {Path("loop"), Code::kUnknown, "Too many levels of symbolic links"},
      {directory_.path(), Code::kFailedPrecondition, "Is a directory"},
      {Path("pipe"), Code::kDeadlineExceeded, "a pipe to which nothing was written"},
      {"/dev/zero", Code::kInvalidArgument, "got a device"},
      {"/dev/null", Code::kInvalidArgument, "got a device"},
      {Path("large"), Code::kInvalidArgument, "at most 16777216 bytes"},
      {Path(std::string(5000, 'a')), Code::kInvalidArgument, "File name too long"},
  };
  if (geteuid() != 0) {  // root may read everything
    table.push_back({Path("closed"), Code::kPermissionDenied, "Permission denied"});
    table.push_back({Path("locked/job"), Code::kPermissionDenied, "Permission denied"});
  }
  for (const Row& row : table) {
    const absl::Status status = ReadJobFile(row.path, absl::Milliseconds(10)).status();
    const std::string message(status.message());
    EXPECT_EQ(status.code(), row.code) << message;
    EXPECT_THAT(message, AllOf(StartsWith("cannot read the job file /"), HasSubstr(row.reason)));
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
  std::filesystem::permissions(Path("locked"), std::filesystem::perms::owner_all);
}

}  // namespace
}  // namespace percentdelta
