// SPDX-License-Identifier: Apache-2.0

#include "common/base/line_writer.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/log.h"

namespace percentdelta {
namespace {

using ::testing::AnyOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;

constexpr size_t kMaxBytes = 1000;
constexpr absl::Duration kLong = absl::Seconds(60);

std::string Note(int64_t dropped) { return absl::StrCat("dropped ", dropped, "\n"); }

// A pipe that is read only when the test does so.
class Pipe {
 public:
  Pipe() { EXPECT_EQ(pipe2(ends_.data(), O_CLOEXEC), 0); }
  ~Pipe() {
    CloseReader();
    close(ends_[1]);
  }

  int writer() const { return ends_[1]; }

  void CloseReader() {
    if (ends_[0] >= 0) close(ends_[0]);
    ends_[0] = -1;
  }

  // Fills the pipe, so that the next write would block.
  void Fill() const {
    fcntl(writer(), F_SETFL, O_NONBLOCK);
    const std::string filler(512, '.');
    while (write(writer(), filler.data(), filler.size()) > 0) continue;
    fcntl(writer(), F_SETFL, 0);
  }

  // Reads until the text ends with `end` or `other`.
  std::string ReadUntil(const std::string& end, const std::string& other = "(never)") const {
    std::string text;
    std::array<char, 512> part;
    while (!absl::EndsWith(text, end) && !absl::EndsWith(text, other)) {
      const ssize_t count = read(ends_[0], part.data(), part.size());
      if (count <= 0) break;
      text.append(part.data(), static_cast<size_t>(count));
    }
    return text;
  }

 private:
  std::array<int, 2> ends_ = {-1, -1};
};

class LineWriterTest : public ::testing::Test {
 protected:
  LineWriterTest() { signal(SIGPIPE, SIG_IGN); }
};

TEST_F(LineWriterTest, WritesLinesInTheirOrder) {
  const Pipe pipe;
  LineWriter writer(pipe.writer(), kMaxBytes, Note);
  std::string expected;
  for (int i = 0; i < 20; ++i) {
    expected += absl::StrCat("line ", i, "\n");
    writer.Write(absl::StrCat("line ", i, "\n"));
  }
  EXPECT_TRUE(writer.Flush(kLong));
  EXPECT_EQ(pipe.ReadUntil("line 19\n"), expected);
}

// Writers do not wait for a reader that has stopped. When it reads again, it gets the number of
// lines that it missed.
TEST_F(LineWriterTest, AReaderThatStopsBlocksNoWriter) {
  const Pipe pipe;
  pipe.Fill();
  LineWriter writer(pipe.writer(), kMaxBytes, Note);
  const std::string line = std::string(99, 'x') + "\n";
  for (int i = 0; i < 50; ++i) writer.Write(line);
  EXPECT_FALSE(writer.Flush(absl::ZeroDuration()));
  // The thread may have taken the first line before the others were queued.
  const std::string text = pipe.ReadUntil("0\n", "9\n");
  EXPECT_THAT(text, AnyOf(EndsWith(line + "dropped 39\n"), EndsWith(line + "dropped 40\n")));
  writer.Write("again\n");
  EXPECT_EQ(pipe.ReadUntil("again\n"), "again\n");
}

TEST_F(LineWriterTest, EndsWithoutAReader) {
  const Pipe pipe;
  pipe.Fill();
  LineWriter writer(pipe.writer(), kMaxBytes, Note);
  writer.Write("never read\n");
}

TEST_F(LineWriterTest, DescriptorsThatCannotBeWritten) {
  Pipe pipe;
  pipe.CloseReader();
  const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
  for (const int descriptor : {pipe.writer(), full, 1 << 20}) {
    SCOPED_TRACE(descriptor);
    LineWriter writer(descriptor, kMaxBytes, Note);
    for (int i = 0; i < 100; ++i) writer.Write("lost\n");
    EXPECT_TRUE(writer.Flush(kLong));
  }
  close(full);
}

// Every message is exactly one line, whatever it contains.
TEST_F(LineWriterTest, LogLinesCannotBeForged) {
  const struct {
    std::string message;
    std::string logged;
  } cases[] = {{"plain key=value", " I server-0 plain key=value\n"},
               {"a\n2026-01-01T00:00:00.000Z E server-0 forged", "\\n2026-01-01T00"},
               {"a\r\nb", " a\\r\\nb\n"},
               {"\x1b[2J\x1b]0;title\x07", " \\x1b[2J\\x1b]0;title\\x07\n"},
               {"\xc2\x9b"
                "31m",
                "\\xc2\\x9b31m\n"},
               {std::string("nul\0end", 7), " nul\\x00end\n"},
               {"bad \xff utf-8", " bad \\xff utf-8\n"},
               {"grüße", " grüße\n"}};
  for (const auto& [message, logged] : cases) {
    const Pipe pipe;
    const Logger log = MakeLogger("server-0", pipe.writer());
    log->info("{}", message);
    log->info("last");
    const std::string text = pipe.ReadUntil(" last\n");
    EXPECT_THAT(text, HasSubstr(logged));
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2) << text;
  }
}

TEST_F(LineWriterTest, EscapesTheLoggersName) {
  const Pipe pipe;
  const Logger log = MakeLogger("worker-a\nb", pipe.writer());
  log->info("hello");
  EXPECT_THAT(pipe.ReadUntil("hello\n"), HasSubstr(" I worker-a\\nb hello\n"));
}

}  // namespace
}  // namespace percentdelta
