// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/refusal_log.h"

#include <spdlog/sinks/ostream_sink.h>

#include <algorithm>
#include <memory>
#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace percentdelta {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Hand : public Clock {
 public:
  absl::Duration Now() const override { return now; }
  absl::Duration now;
};

class RefusalLogTest : public testing::Test {
 protected:
  int lines() const {
    const std::string text = out_.str();
    return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
  }

  std::ostringstream out_;
  Hand clock_;
  RefusalLog log_{
      std::make_shared<spdlog::logger>("", std::make_shared<spdlog::sinks::ostream_sink_mt>(out_)),
      clock_};
};

TEST_F(RefusalLogTest, SaysWhoAndWhyOnOneShortLine) {
  log_.Write("/a/B", "spiffe://x\ny", absl::PermissionDeniedError(std::string(10000, 'z')));
  EXPECT_EQ(lines(), 1);
  EXPECT_LT(out_.str().size(), 1000);
  EXPECT_THAT(out_.str(), AllOf(HasSubstr("code=PERMISSION_DENIED rpc=/a/B"),
                                HasSubstr("caller=\"spiffe://x\\ny\" reason=\"zzz")));
  log_.Write("/a/B", "", absl::UnauthenticatedError("no certificate"));
  EXPECT_THAT(out_.str(), HasSubstr("code=UNAUTHENTICATED rpc=/a/B caller=\"unknown\""));
}

TEST_F(RefusalLogTest, CountsWhatWouldBeTooMuch) {
  const absl::Status status = absl::UnauthenticatedError("x");
  for (int i = 0; i < 1000; ++i) log_.Write("/a/B", "c", status);
  EXPECT_EQ(lines(), RefusalLog::kMaxLinesPerSecond);
  EXPECT_THAT(out_.str(), Not(HasSubstr("suppressed=990")));
  clock_.now += absl::Seconds(1);
  log_.Write("/a/B", "c", status);
  EXPECT_EQ(lines(), RefusalLog::kMaxLinesPerSecond + 1);
  EXPECT_THAT(out_.str(), HasSubstr("suppressed=990"));
}

}  // namespace
}  // namespace percentdelta
