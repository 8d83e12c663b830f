// SPDX-License-Identifier: Apache-2.0

#include "common/base/text.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

TEST(EscapeForLogTest, Table) {
  const struct {
    std::string text;
    size_t max_bytes;
    std::string escaped;
  } rows[] = {
      {"", 10, ""},
      {"plain text", 10, "plain text"},
      {"plain text.", 10, "plain t..."},
      {"a\nb\r\tc", 100, "a\\nb\\r\\tc"},
      {"\x1b[31mred", 100, "\\x1b[31mred"},
      {std::string("a\0b", 3), 100, "a\\x00b"},
      {"\x7f", 100, "\\x7f"},
      {"Grüße, 世界, 🙂", 100, "Grüße, 世界, 🙂"},
      {"\xc3(", 100, "\\xc3("},                           // cut short
      {"\xc0\xaf", 100, "\\xc0\\xaf"},                    // overlong
      {"\xe0\x80\xaf", 100, "\\xe0\\x80\\xaf"},           // overlong
      {"\xed\xa0\x80", 100, "\\xed\\xa0\\x80"},           // a surrogate
      {"\xf4\x90\x80\x80", 100, "\\xf4\\x90\\x80\\x80"},  // beyond Unicode
      {"\xc2\x9b"
       "31m",
       100,
       "\\xc2\\x9b"
       "31m"},  // a C1 control character: CSI
      {"\xff\xfe", 100, "\\xff\\xfe"},
      {"ü", 1, "."},
      {"\n\n\n", 5, "\\n..."},  // escapes are not cut
      {"ab世界", 7, "ab..."},   // nor are characters
      {"abc", 0, ""},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(EscapeForLog(row.text, row.max_bytes), row.escaped);
    EXPECT_LE(EscapeForLog(row.text, row.max_bytes).size(), row.max_bytes);
  }
  EXPECT_EQ(EscapeForLog(std::string(1 << 20, 'x'), 1000).size(), 1000U);
}

TEST(CheckNameTest, Table) {
  for (const std::string name : {"", "worker-1", "host name", "Zürich", "a.b:c/d"}) {
    EXPECT_OK(CheckName("worker", name)) << name;
  }
  EXPECT_OK(CheckName("worker", std::string(kMaxNameBytes, 'x')));
  for (const std::string& name :
       {std::string("a\nb"), std::string("\x1b[2J"), std::string("\xff"), std::string("a\0b", 3),
        std::string("\xc2\x85"), std::string(kMaxNameBytes + 1, 'x'), std::string(1 << 20, 'x')}) {
    const absl::Status status = CheckName("worker", name);
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_LT(status.message().size(), 700U);
    EXPECT_EQ(status.message().find('\n'), std::string::npos);
  }
}

TEST(CheckPrintableAsciiTest, Table) {
  for (const std::string text : {"", "fma-2", "torch-2.1 cpu threads=1 avx2", "~!\"#$%&'()*\\"}) {
    EXPECT_OK(CheckPrintableAscii("arithmetic", text, 32)) << text;
  }
  EXPECT_OK(CheckPrintableAscii("arithmetic", std::string(32, 'x'), 32));
  const std::vector<std::pair<std::string, std::string>> cases = {
      {std::string(33, 'x'), "arithmetic: expected at most 32 bytes, got 33"},
      {"a\tb", "arithmetic: expected printable ASCII, got \"a\\tb\""},
      {"Zürich", "arithmetic: expected printable ASCII, got \"Zürich\""},
      {"\x7f", "arithmetic: expected printable ASCII, got \"\\x7f\""}};
  for (const auto& [text, message] : cases) {
    const absl::Status status = CheckPrintableAscii("arithmetic", text, 32);
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_EQ(status.message(), message);
  }
}

TEST(IsKeyTest, Table) {
  for (const char* name : {"", "a", "conv1/weights", "a,b", "!'~"})
    EXPECT_TRUE(IsKey(name)) << name;
  for (const char* name : {" ", "a b", "a\"b", "a\\b", "ü", "\n", "\x7f"}) {
    EXPECT_FALSE(IsKey(name)) << name;
  }
}

}  // namespace
}  // namespace percentdelta
