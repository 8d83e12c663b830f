// SPDX-License-Identifier: Apache-2.0

#include "common/base/log.h"

#include <unistd.h>

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_split.h"
#include "common/base/log_fields.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace percentdelta {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

template <typename... Args>
std::string Fields(fmt::format_string<Args...> format, Args&&... args) {
  return JsonFields(format, fmt::make_format_args(args...));
}

// What a logger writes to a pipe.
class LogTest : public testing::Test {
 protected:
  LogTest() { EXPECT_EQ(pipe(ends_.data()), 0); }
  ~LogTest() override {
    close(ends_[0]);
    close(ends_[1]);
  }

  std::string Written(const Logger& log) {
    log->flush();
    std::array<char, 65536> text;
    const ssize_t count = read(ends_[0], text.data(), text.size());
    return {text.data(), static_cast<size_t>(count > 0 ? count : 0)};
  }

  int writer() const { return ends_[1]; }

 private:
  std::array<int, 2> ends_ = {};
};

TEST(JsonFieldsTest, KeysComeFromTheFormat) {
  EXPECT_EQ(Fields("stopped"), R"("event":"stopped")");
  EXPECT_EQ(Fields("lease expired lease={} kind={} after={}", 7, "train", "2s"),
            R"("event":"lease expired","lease":7,"kind":"train","after":"2s")");
  EXPECT_EQ(Fields("a reason=\"{}\" ok={} share={:.2f}", "x y", true, 0.123),
            R"("event":"a","reason":"x y","ok":true,"share":0.12)");
  EXPECT_EQ(Fields("{}, refusing limit={}", "out of files", 3),
            R"("event":"out of files, refusing","limit":3)");
  EXPECT_EQ(Fields("moved range=\"{} to {}\"", 1, 2), R"("event":"moved","range":"1 to 2")");
  EXPECT_EQ(Fields("{{}} a={{{}}}", 1), R"("event":"{}","a":"{1}")");
}

TEST(JsonFieldsTest, TextInQuotesHoldsNoKeys) {
  EXPECT_EQ(Fields("a advice=\"give --x or y=1\" z={}", 2),
            R"("event":"a","advice":"give --x or y=1","z":2)");
}

TEST(JsonFieldsTest, ValuesCannotForgeKeysOrLines) {
  const std::string text = Fields("a who=\"{}\" n={}", "x\" n=9\n{\"n\":8} \x1b[2J\xff", 1);
  const auto fields = nlohmann::json::parse("{" + text + "}");
  EXPECT_EQ(fields.size(), 3);
  EXPECT_EQ(fields["n"], 1);
  EXPECT_EQ(fields["who"], "x\" n=9\\n{\"n\":8} \\x1b[2J\\xff");
  EXPECT_EQ(text.find('\n'), std::string::npos);
}

TEST(JsonFieldsTest, NumbersThatJsonLacksAreText) {
  EXPECT_EQ(Fields("a x={} y={}", std::nan(""), HUGE_VAL), R"("event":"a","x":"nan","y":"inf")");
  EXPECT_EQ(Fields("a x={}", "12"), R"("event":"a","x":"12")");
}

TEST_F(LogTest, JsonLinesHaveTheSameKeys) {
  const Logger log = MakeLogger("worker-a\"b\n", writer(), {LogFormat::kJson});
  log->info("joined step={}", 5);
  log->warn("slow {}", "work");
  const std::string text = Written(log);
  const std::vector<std::string> lines = absl::StrSplit(text, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 2) << text;
  const auto first = nlohmann::json::parse(lines[0]);
  EXPECT_THAT(first["time"], testing::MatchesRegex("20..-..-..T..:..:..\\....Z"));
  EXPECT_EQ(first["level"], "info");
  EXPECT_EQ(first["process"], "worker-a\"b\\n");
  EXPECT_EQ(first["event"], "joined");
  EXPECT_EQ(first["step"], 5);
  const auto second = nlohmann::json::parse(lines[1]);
  EXPECT_EQ(second["level"], "warning");
  EXPECT_EQ(second["event"], "slow work");
}

TEST_F(LogTest, DropsLinesBelowItsLevel) {
  const Logger log = MakeLogger("a", writer(), {LogFormat::kText, spdlog::level::warn});
  log->debug("one");
  log->info("two");
  log->warn("three");
  log->error("four");
  const std::string text = Written(log);
  EXPECT_THAT(absl::StrSplit(text, '\n', absl::SkipEmpty()),
              ElementsAre(HasSubstr(" W a three"), HasSubstr(" E a four")));
}

TEST_F(LogTest, NeverWaitsForItsReaderAndCountsWhatItDrops) {
  const int64_t before = DroppedLogLines();
  const Logger log = MakeLogger("a", writer());
  const std::string filler(1000, 'x');
  for (int i = 0; i < 3000; ++i) log->info("filler={}", filler);  // 3 MB without a reader
  EXPECT_GT(DroppedLogLines(), before);
}

}  // namespace
}  // namespace percentdelta
