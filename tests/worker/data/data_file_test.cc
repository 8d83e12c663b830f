// SPDX-License-Identifier: Apache-2.0

#include "worker/data/data_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/base/status_macros.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"
#include "tests/worker/data/idx_files.h"

namespace percentdelta {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Reads the whole content, in pieces.
absl::StatusOr<std::string> ReadWhole(const std::string& path, size_t piece = 1000) {
  ASSIGN_OR_RETURN(const std::unique_ptr<DataFile> file, DataFile::Open(path, nullptr));
  std::string content;
  std::vector<uint8_t> bytes(piece);
  while (true) {
    ASSIGN_OR_RETURN(const size_t got, file->Read(absl::MakeSpan(bytes)));
    content.append(bytes.begin(), bytes.begin() + static_cast<int64_t>(got));
    if (got < piece) return content;
  }
}

class DataFileTest : public testing::Test {
 protected:
  std::string Path(const std::string& name) const { return directory_.path() + "/" + name; }

  std::string Write(const std::string& content) const {
    WriteBytes(Path("file"), content);
    return Path("file");
  }

  const TemporaryDirectory directory_;
};

struct Shape {
  const char* name;
  std::string file;
  std::string content;
};

std::vector<Shape> GoodShapes() {
  const std::string zeros(100000, '\0');
  std::string pattern;
  for (uint32_t i = 0; i < 600000; ++i) pattern += static_cast<char>(i * i >> 7);
  std::string many;
  std::string many_content;
  for (int i = 0; i < 500; ++i) {
    many += Gzip(absl::StrCat("part ", i));
    many_content += absl::StrCat("part ", i);
  }
  return {
      {"plain", "abc", "abc"},
      {"one byte", "\x1f", "\x1f"},
      {"plain, many chunks", pattern, pattern},
      {"one member", Gzip("abc"), "abc"},
      {"one member, many chunks", Gzip(pattern), pattern},
      {"two members", Gzip("abc") + Gzip("def"), "abcdef"},
      {"many members", many, many_content},
      {"members of many chunks", Gzip(pattern) + Gzip(zeros) + Gzip(pattern),
       pattern + zeros + pattern},
      {"an empty member", Gzip(""), ""},
      {"empty members around",
       Gzip("") + Gzip("abc") + Gzip("") + Gzip("") + Gzip("def") + Gzip(""), "abcdef"},
      {"a full header", GzipWithFullHeader("abc"), "abc"},
      {"full headers", GzipWithFullHeader("abc") + GzipWithFullHeader("def"), "abcdef"},
      {"zero bytes after it", Gzip("abc") + std::string(1, '\0'), "abc"},
      {"padded with a block of zero bytes", Gzip("abc") + zeros, "abc"},
      {"more zero bytes than a chunk", Gzip("abc") + std::string(600000, '\0'), "abc"},
      {"zero bytes between members", Gzip("abc") + std::string(512, '\0') + Gzip("def"), "abcdef"},
      {"a compressed gzip file", Gzip(Gzip("abc")), Gzip("abc")},
  };
}

TEST_F(DataFileTest, ReadsWhatZcatAndPythonRead) {
  for (const Shape& shape : GoodShapes()) {
    for (const size_t piece : {size_t{1}, size_t{999}, size_t{1} << 21}) {
      if (piece == 1 && shape.content.size() > 10000) continue;
      SCOPED_TRACE(shape.name);
      ASSERT_OK_AND_ASSIGN(const std::string content, ReadWhole(Write(shape.file), piece));
      EXPECT_TRUE(content == shape.content);
    }
  }
}

std::string Changed(std::string file, size_t from_end, int mask) {
  char& byte = file[file.size() - from_end];
  byte = static_cast<char>(byte ^ mask);
  return file;
}

TEST_F(DataFileTest, RefusesBadGzipFilesAfterAnyGoodBeginning) {
  const std::string good = Gzip("some content, good to the end");
  const std::string full = GzipWithFullHeader("content");
  std::string method = good;
  method[2] = 7;
  const struct {
    const char* name;
    std::string file;
    std::string message;
  } shapes[] = {
      {"a wrong CRC", Changed(good, 8, 1), "incorrect data check"},
      {"a wrong length", Changed(good, 4, 1), "incorrect length check"},
      {"a length of 4 GiB", Changed(good, 1, 0xff), "incorrect length check"},
      {"another method", method, "unknown compression method"},
      {"garbage after it", good + "garbage", "7 trailing bytes after the end of the gzip data"},
      {"a line end after it", good + "\n", "1 trailing bytes"},
      {"garbage after zero bytes", good + std::string(9, '\0') + "xy", "2 trailing bytes"},
      {"half a mark", good + "\x1f", "truncated gzip file"},
      {"half a mark and garbage", good + "\x1fxxxxxxxxxxxxxx", "15 trailing bytes"},
      {"the beginning of a member", good + good.substr(0, 10), "truncated gzip file"},
      {"a member with a wrong CRC", good + Changed(good, 8, 1), "incorrect data check"},
      {"a full header with a wrong CRC", full.substr(0, 12) + "y" + full.substr(13),
       "header crc mismatch"},
  };
  for (const auto& [name, file, message] : shapes) {
    EXPECT_THAT(ReadWhole(Write(file)),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr(Path("file")), HasSubstr(message))))
        << name;
  }
}

TEST_F(DataFileTest, RefusesAGzipFileThatIsCutAnywhere) {
  const std::string file = Gzip("abc") + GzipWithFullHeader("def");
  const size_t border = Gzip("abc").size();
  for (size_t size = 2; size < file.size(); ++size) {
    const absl::StatusOr<std::string> content = ReadWhole(Write(file.substr(0, size)));
    if (size == border) {
      EXPECT_OK(content);
      continue;
    }
    EXPECT_THAT(content,
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("truncated gzip file")))
        << size;
  }
}

TEST_F(DataFileTest, RefusesOtherThanRegularFilesAtOnce) {
  const std::string fifo = Path("fifo");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  const std::string local = Path("socket");
  const int descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, local.c_str(), sizeof(address.sun_path) - 1);
  ASSERT_EQ(bind(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  std::filesystem::create_symlink(fifo, Path("link"));
  WriteBytes(Path("empty"), "");
  const struct {
    std::string path;
    const char* message;
  } kinds[] = {{fifo, "is a FIFO, expected a regular file"},
               {Path("link"), "is a FIFO"},
               {local, "is a socket"},
               {"/dev/zero", "is a character device"},
               {"/dev/null", "is a character device"},
               {directory_.path(), "is a directory"},
               {Path("empty"), "the file is empty"},
               {"/proc/self/mem", "the file is empty"}};
  for (const auto& [path, message] : kinds) {
    EXPECT_THAT(ReadWhole(path), StatusIs(absl::StatusCode::kInvalidArgument,
                                          AllOf(HasSubstr(path), HasSubstr(message))));
  }
  close(descriptor);
}

TEST_F(DataFileTest, ErrorsAreThoseOfErrno) {
  std::filesystem::create_symlink("loop", Path("loop"));
  WriteBytes(Path("file"), "x");
  const struct {
    std::string path;
    int error;
    absl::StatusCode code;
  } paths[] = {{Path("absent"), ENOENT, absl::StatusCode::kNotFound},
               {Path("file/x"), ENOTDIR, absl::StatusCode::kFailedPrecondition},
               {Path("loop"), ELOOP, absl::StatusCode::kFailedPrecondition},
               {Path(std::string(300, 'x')), ENAMETOOLONG, absl::StatusCode::kFailedPrecondition},
               {"", ENOENT, absl::StatusCode::kNotFound}};
  for (const auto& [path, error, code] : paths) {
    EXPECT_THAT(ReadWhole(path),
                StatusIs(code, absl::StrCat("\"", path, "\": ", std::strerror(error))));
  }
  EXPECT_THAT(ErrnoStatus("x", EACCES), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(ErrnoStatus("x", EIO),
              StatusIs(absl::StatusCode::kFailedPrecondition, "\"x\": Input/output error"));
}

TEST_F(DataFileTest, IsCancelledBetweenPieces) {
  for (const std::string& content :
       {std::string(1 << 22, 'x'), Gzip("a") + std::string(1 << 22, '\0')}) {
    int calls = 0;
    ASSERT_OK_AND_ASSIGN(const auto file,
                         DataFile::Open(Write(content), [&calls] { return ++calls > 2; }));
    std::vector<uint8_t> bytes(content.size());
    EXPECT_THAT(file->Read(absl::MakeSpan(bytes)), StatusIs(absl::StatusCode::kCancelled));
    EXPECT_EQ(calls, 3);
  }
}

TEST(ForeignFormatTest, IsNamedWithTheCommandThatUndoesIt) {
  const struct {
    std::string begin;
    const char* expected;
  } formats[] = {{"\xfd"
                  "7zXZ",
                  "xz -d"},
                 {"BZh9", "bzip2 -d"},
                 {"\x1f\x9d\x90", "gzip -d"},
                 {"\x28\xb5\x2f\xfd", "zstd -d"},
                 {"PK\x03\x04", "unzip"},
                 {"<!DOCTYPE", "the download failed"},
                 {"version https://git-lfs", "git lfs pull"}};
  for (const auto& [begin, expected] : formats) {
    const std::vector<uint8_t> bytes(begin.begin(), begin.end());
    EXPECT_THAT(ForeignFormat(bytes), HasSubstr(expected));
  }
  EXPECT_EQ(ForeignFormat(std::vector<uint8_t>{0, 0, 8, 3}), "");
  EXPECT_EQ(ForeignFormat({}), "");
}

}  // namespace
}  // namespace percentdelta
